"""Thermometer code with thresholds at the quantiles of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders.base_encoder import BaseEncoder
from difflut.registry import register_encoder


@register_encoder("distributive_thermometer")
class DistributiveThermometerEncoder(BaseEncoder):
    """A bit per threshold; thresholds at the quantiles of the data.

    Threshold k of b is the sorted value number int(N * k / (b + 1)), for k = 1..b and N samples.

    The encoding of Bacellar et al., Distributive Thermometer (ESANN 2022). Features with many equal values get equal
    thresholds, hence equal bits. Parameters as in `BaseEncoder`.
    """

    def compute_thresholds(self, values: Tensor) -> Tensor:
        ranks = torch.arange(1, self.num_bits + 1) * values.shape[0] // (self.num_bits + 1)
        return values.sort(dim=0).values[ranks].t()
