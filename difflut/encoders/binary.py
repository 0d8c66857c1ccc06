"""Binary code of equally wide levels."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders.coded_encoder import DenseEncoder
from difflut.encoders.levels import binary_words, inner_edges
from difflut.registry import register_encoder


@register_encoder("binary")
class BinaryEncoder(DenseEncoder):
    """The level's number in binary; levels are equally wide from minimum to maximum.

    There are 2**b levels, and the most significant bit comes first. The last level is as wide as the others: scaling to
    2**b - 1 and rounding down, as is often done, would leave it to the maximum alone. `num_bits` is 1 to 10; further
    parameters as in `BaseEncoder`.
    """

    def compute_thresholds(self, values: Tensor) -> Tensor:
        return inner_edges(values.amin(0), values.amax(0), self.num_thresholds + 1)

    def code_table(self) -> Tensor:
        return binary_words(torch.arange(self.num_thresholds + 1), self.num_bits)
