"""Encoders whose bits are more than comparisons: the level of a feature, written in a code."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from difflut.encoders.base_encoder import MAX_THRESHOLDS, BaseEncoder


class CodedEncoder(BaseEncoder):
    """Looks the level of every feature up in the `code_table` of the subclass.

    Level k is the interval above threshold k and up to threshold k + 1, its upper end included. Values outside the
    range of the training data belong to the first or the last level. Equal thresholds, as constant features have
    them, leave the levels between them empty. Parameters as in `BaseEncoder`.
    """

    _codes: Tensor

    def __init__(
        self, num_bits: int = 8, flatten: bool = True, feature_wise: bool = True, auto_fit: bool = True
    ) -> None:
        super().__init__(num_bits, flatten, feature_wise, auto_fit)
        # (num_bits, levels) of zeros and ones. It follows from num_bits, so it is no state.
        self.register_buffer("_codes", self.code_table().t().to(torch.float32).contiguous(), persistent=False)

    @abstractmethod
    def code_table(self) -> Tensor: ...

    def code_bits(self, values: Tensor) -> Tensor:
        # Counting thresholds by bisection is exact as comparing with each one, and needs no memory for the answers.
        dtype = torch.promote_types(values.dtype, self.thresholds.dtype)
        levels = torch.searchsorted(self.thresholds.to(dtype), values.to(dtype).contiguous())
        features, batch = levels.shape
        codes = self._codes.expand(features, -1, -1)
        return codes.gather(2, levels.unsqueeze(1).expand(features, self.num_bits, batch))


class DenseEncoder(CodedEncoder):
    """A code that uses every word of `num_bits` bits for a level of its own: 2**num_bits - 1 thresholds per feature."""

    max_num_bits: ClassVar[int] = (MAX_THRESHOLDS + 1).bit_length() - 1

    @staticmethod
    def count_thresholds(num_bits: int) -> int:
        return (1 << num_bits) - 1
