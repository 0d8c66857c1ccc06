"""Walsh-Hadamard transform of tables."""

from __future__ import annotations

import torch
from torch import Tensor


def walsh_transform(table: Tensor) -> Tensor:
    """Return sum_k table[..., k] * (-1)**|k & a| for every address a of the last axis, which is 2**n long.

    n butterfly stages, which add in one fixed order: equal tables give equal bits on every machine. Applied twice, it
    multiplies by 2**n. Plain autograd, any order of derivative.
    """
    shape = table.shape
    stride = 1
    while stride < shape[-1]:
        low, high = table.reshape(*shape[:-1], -1, 2, stride).unbind(-2)
        table = torch.stack((low + high, low - high), dim=-2).reshape(shape)
        stride *= 2
    return table
