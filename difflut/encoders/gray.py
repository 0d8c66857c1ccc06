"""Gray code of equally wide levels."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders.coded_encoder import DenseEncoder
from difflut.encoders.levels import binary_words, inner_edges
from difflut.registry import register_encoder


@register_encoder("gray")
class GrayEncoder(DenseEncoder):
    """The level's number in Gray code; levels as in binary.

    Reflected Gray code, most significant bit first, of 2**b equally wide levels from min to max.

    Level q has the word q ^ (q >> 1), so neighbouring levels differ in one bit. The levels are those of
    `BinaryEncoder`. `num_bits` is 1 to 10; further parameters as in `BaseEncoder`.
    """

    def compute_thresholds(self, values: Tensor) -> Tensor:
        return inner_edges(values.amin(0), values.amax(0), self.num_thresholds + 1)

    def code_table(self) -> Tensor:
        levels = torch.arange(self.num_thresholds + 1)
        return binary_words(levels ^ (levels >> 1), self.num_bits)
