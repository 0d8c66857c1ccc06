"""Thermometer code with equally spaced thresholds."""

from __future__ import annotations

from torch import Tensor

from difflut.encoders.base_encoder import BaseEncoder
from difflut.encoders.levels import inner_edges
from difflut.registry import register_encoder


@register_encoder("thermometer")
class ThermometerEncoder(BaseEncoder):
    """A bit per threshold; thresholds evenly spaced from minimum to maximum.

    Threshold k of b is min + k * (max - min) / (b + 1), for k = 1..b. Parameters as in `BaseEncoder`.
    """

    def compute_thresholds(self, values: Tensor) -> Tensor:
        return inner_edges(values.amin(0), values.amax(0), self.num_bits + 1)
