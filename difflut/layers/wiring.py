"""Random wiring that spreads over all inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DrawRows = Callable[[int, int, int, torch.Generator], Tensor]
"""`draw_covering_rows` or `draw_distinct_rows`."""


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


def deal_groups(inputs: int, groups: int, nodes: int, generator: torch.Generator) -> Tensor:
    """Deal nodes to groups of inputs so that every group gets equally many, give or take one.

    Returns
    -------
    int64 (nodes,)

    Raises
    ------
    ValueError : the inputs cannot be divided into that many equal groups.
    """
    if type(groups) is not int or groups < 1 or inputs % groups:
        raise ValueError(f"input_groups is {groups!r}; it must be a positive integer that divides the {inputs} inputs.")
    if groups == 1:
        return torch.zeros(nodes, dtype=torch.int64)
    return draw_covering_rows(groups, nodes, 1, generator).squeeze(1)


def draw_grouped_rows(
    draw_rows: DrawRows, group_of_row: Tensor, group_size: int, width: int, generator: torch.Generator
) -> Tensor:
    """Draw rows of `width` input indices, each from its own group of `group_size` consecutive inputs.

    The rows of one group are drawn one after another, so that they cover the group as `draw_rows` covers inputs.

    Returns
    -------
    int64 (rows, width)
    """
    rows = draw_rows(group_size, len(group_of_row), width, generator)
    wiring = torch.empty_like(rows)
    wiring[group_of_row.argsort(stable=True)] = rows
    return wiring + group_size * group_of_row.unsqueeze(1)
