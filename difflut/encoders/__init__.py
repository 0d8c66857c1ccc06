"""Encoders: features to bits, by comparison with sorted threshold constants."""

from difflut.encoders.base_encoder import BaseEncoder
from difflut.encoders.distributive_thermometer import DistributiveThermometerEncoder
from difflut.encoders.thermometer import ThermometerEncoder

__all__ = ["BaseEncoder", "DistributiveThermometerEncoder", "ThermometerEncoder"]
