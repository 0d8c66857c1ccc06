"""Random numbers that depend on a seed and on nothing else."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_SEED_BITS = 32  # torch's CPU generator ignores the others


def make_generator(seed: int) -> torch.Generator:
    """Return a CPU generator for a seed of any size, so that different seeds give different numbers.

    Seeds below 2**32 are torch's own; torch would drop the upper bits of a larger one, so that is hashed.
    """
    if seed >> _SEED_BITS:
        seed = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[: _SEED_BITS // 8], "big")
    return torch.Generator().manual_seed(seed)


def draw_counted(counter: Tensor, like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uniform numbers in [0, 1) of the shape and on the device of `like`, and count the draw.

    They are a function of `counter` (int64, 0-d) alone, on a CPU of its lower 32 bits alone; see `start_of_process`.
    """
    generator = torch.Generator(like.device).manual_seed(int(counter))
    counter += 1
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=dtype)


def start_of_process(rank: int) -> int:
    """Return what to add to a counter of draws in process `rank`, so that no two processes draw the same numbers.

    Multiples of 2**32 / golden ratio lie far apart in the 32 bits that count: 2**32 / (3 * processes) or more.
    """
    return rank * 0x9E3779B1 & 0xFFFFFFFF
