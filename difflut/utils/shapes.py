"""Shapes of batches."""

from __future__ import annotations

import math

from torch import Tensor


def flatten_samples(x: Tensor) -> Tensor:
    """Return (batch, features) for samples of any rank, (batch, ...); also for a batch of none."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))
