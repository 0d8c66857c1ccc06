"""Encoders: features to bits, by comparison with sorted threshold constants and fixed logic behind them."""

from difflut.encoders.base_encoder import BaseEncoder
from difflut.encoders.binary import BinaryEncoder
from difflut.encoders.coded_encoder import CodedEncoder, DenseEncoder
from difflut.encoders.distributive_thermometer import DistributiveThermometerEncoder
from difflut.encoders.gaussian_thermometer import GaussianThermometerEncoder
from difflut.encoders.gray import GrayEncoder
from difflut.encoders.logarithmic import LogarithmicEncoder
from difflut.encoders.onehot import OneHotEncoder
from difflut.encoders.sign_magnitude import SignMagnitudeEncoder
from difflut.encoders.thermometer import ThermometerEncoder

__all__ = [
    "BaseEncoder",
    "BinaryEncoder",
    "CodedEncoder",
    "DenseEncoder",
    "DistributiveThermometerEncoder",
    "GaussianThermometerEncoder",
    "GrayEncoder",
    "LogarithmicEncoder",
    "OneHotEncoder",
    "SignMagnitudeEncoder",
    "ThermometerEncoder",
]
