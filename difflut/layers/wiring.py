"""Random wiring that spreads over all inputs."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_covering_rows(inputs: int, rows: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw `rows` times `width` input indices so that every input is used equally often, give or take one.

    Within a row all indices differ whenever ``width <= inputs``.

    Permutations of the inputs are laid end to end and cut into rows. A row that straddles two permutations could
    meet an input twice, so the second permutation is reordered to begin with inputs that the row does not have yet.

    Returns
    -------
    int64 (rows, width)
    """
    slots = rows * width
    pieces: list[Tensor] = []
    filled = 0
    while filled < slots:
        permutation = torch.randperm(inputs, generator=generator)
        begun = filled % width
        if begun and width <= inputs:
            permutation = _begin_with_others(permutation, pieces[-1][-begun:], width - begun)
        pieces.append(permutation)
        filled += inputs
    return torch.cat(pieces)[:slots].view(rows, width)


def _begin_with_others(permutation: Tensor, taken: Tensor, count: int) -> Tensor:
    """Move the first `count` entries that are not in `taken` to the front, keeping all other order."""
    free = torch.isin(permutation, taken, invert=True)
    front = free & (free.cumsum(0) <= count)
    return torch.cat([permutation[front], permutation[~front]])


def draw_distinct_rows(inputs: int, rows: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw each row on its own: int64 (rows, width), distinct within a row as long as the inputs suffice."""
    pieces = [torch.randperm(inputs, generator=generator).repeat(-(-width // inputs))[:width] for _ in range(rows)]
    return torch.stack(pieces)
