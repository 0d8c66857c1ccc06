"""Binary code of equally wide levels."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.encoders.coded_encoder import DenseEncoder
from difflut.encoders.levels import binary_words, inner_edges
from difflut.registry import register_encoder


@register_encoder("binary")
class BinaryEncoder(DenseEncoder):
    """The number of the level in binary, most significant bit first, of 2**b equally wide levels from min to max.

    All levels are equally wide, the last one too: scaling to 2**b - 1 and rounding down, as is often done, would leave
    it to the maximum alone. `num_bits` is 1 to 10; further parameters as in `BaseEncoder`.
    """

    def compute_thresholds(self, values: Tensor) -> Tensor:
        return inner_edges(values.amin(0), values.amax(0), self.num_thresholds + 1)

    def code_table(self) -> Tensor:
        return binary_words(torch.arange(self.num_thresholds + 1), self.num_bits)
