"""What encoders have in common: dividing a range into levels, and numbering levels in binary."""

from __future__ import annotations

import torch
from torch import Tensor


def inner_edges(low: Tensor, high: Tensor, parts: int) -> Tensor:
    """Return float64 (features, parts - 1): what divides [low, high], float64 (features,), into equal parts."""
    steps = torch.arange(1, parts, dtype=torch.float64)
    return low.unsqueeze(1) + steps * (high - low).unsqueeze(1) / parts


def binary_words(numbers: Tensor, num_bits: int) -> Tensor:
    """Return bool (len(numbers), num_bits): non-negative int64 numbers in binary, most significant bit first."""
    places = torch.arange(num_bits - 1, -1, -1)
    return (numbers.unsqueeze(1) >> places & 1).to(torch.bool)
