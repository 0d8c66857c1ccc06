"""One bit per level."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from difflut.encoders.coded_encoder import CodedEncoder
from difflut.encoders.levels import inner_edges
from difflut.registry import register_encoder


@register_encoder("onehot")
class OneHotEncoder(CodedEncoder):
    """A bit per level, one of them set; levels are equally wide from minimum to maximum.

    Bit k is [x is in level k], lowest level first, of b equally wide levels from min to max.

    Exactly one bit of a feature is 1. `num_bits` is 2 to 1024; further parameters as in `BaseEncoder`.
    """

    min_num_bits: ClassVar[int] = 2

    @staticmethod
    def count_thresholds(num_bits: int) -> int:
        return num_bits - 1

    def compute_thresholds(self, values: Tensor) -> Tensor:
        return inner_edges(values.amin(0), values.amax(0), self.num_bits)

    def code_table(self) -> Tensor:
        return torch.eye(self.num_bits, dtype=torch.bool)
