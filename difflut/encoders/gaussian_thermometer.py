"""Thermometer code with thresholds at the quantiles of a normal distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders.base_encoder import BaseEncoder
from difflut.registry import register_encoder


@register_encoder("gaussian_thermometer")
class GaussianThermometerEncoder(BaseEncoder):
    """A bit per threshold; thresholds at the quantiles of a normal distribution.

    Threshold k of b is mean + std * Phi^-1(k / (b + 1)), for k = 1..b, with Phi the normal distribution function.

    The standard deviation is the unbiased one, and zero for a single sample. Parameters as in `BaseEncoder`.
    """

    def compute_thresholds(self, values: Tensor) -> Tensor:
        deviation = values.std(0, correction=1) if values.shape[0] > 1 else torch.zeros_like(values[0])
        shares = torch.arange(1, self.num_bits + 1, dtype=torch.float64) / (self.num_bits + 1)
        quantiles: Tensor = torch.special.ndtri(shares)
        return values.mean(0).unsqueeze(1) + deviation.unsqueeze(1) * quantiles
