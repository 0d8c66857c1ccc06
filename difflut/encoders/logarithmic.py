"""Binary code of levels that are equally wide on a logarithmic scale."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders.coded_encoder import DenseEncoder
from difflut.encoders.levels import binary_words
from difflut.registry import register_encoder


@register_encoder("logarithmic")
class LogarithmicEncoder(DenseEncoder):
    """The level's number in binary; levels are equally wide in the logarithm.

    The number of the level in binary, most significant bit first, of 2**b equally wide levels of log(x + offset).

    The offset is zero where all training values are positive, else 1 - min, which makes the smallest one 1. The levels
    reach from the smallest to the largest training value, and values below the smallest belong to the first level, so
    a logarithm of nothing positive is never asked for. The base of the logarithm cancels out.
    `num_bits` is 1 to 10; further parameters as in `BaseEncoder`.
    """

    def compute_thresholds(self, values: Tensor) -> Tensor:
        smallest, largest = values.amin(0).unsqueeze(1), values.amax(0).unsqueeze(1)
        start = torch.where(smallest > 0, smallest, 1.0)  # the smallest value plus the offset
        levels = self.num_thresholds + 1
        fractions = torch.arange(1, levels, dtype=torch.float64) / levels
        shifted = start * ((largest - smallest + start) / start) ** fractions
        # A power may be rounded to the wrong side of its neighbour's.
        return (shifted - start + smallest).cummax(1).values

    def code_table(self) -> Tensor:
        return binary_words(torch.arange(self.num_thresholds + 1), self.num_bits)
