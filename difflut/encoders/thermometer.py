"""Thermometer code with equally spaced thresholds."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders.base_encoder import BaseEncoder
from difflut.registry import register_encoder


@register_encoder("thermometer")
class ThermometerEncoder(BaseEncoder):
    """Threshold k of b is min + k * (max - min) / (b + 1), for k = 1..b. Parameters as in `BaseEncoder`."""

    def compute_thresholds(self, values: Tensor) -> Tensor:
        smallest, largest = values.amin(0).unsqueeze(1), values.amax(0).unsqueeze(1)
        steps = torch.arange(1, self.num_bits + 1, dtype=torch.float64)
        return smallest + steps * (largest - smallest) / (self.num_bits + 1)
