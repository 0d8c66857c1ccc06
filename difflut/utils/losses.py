"""Sums of what is added to a training loss."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def add_losses(losses: Iterable[Tensor]) -> Tensor:
    """Return the sum of 0-d tensors, which has their type, not the default type of the program; 0 if there are none."""
    parts = list(losses)
    return sum(parts[1:], start=parts[0]) if parts else torch.zeros(())
