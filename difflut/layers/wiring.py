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


def list_groups(inputs: int, input_groups: int | Tensor) -> Tensor:
    """Return the inputs of every group, int64 (groups, inputs per group).

    Parameters
    ----------
    inputs : how many there are.
    input_groups : number of equal groups of consecutive inputs, or the groups themselves.

    Raises
    ------
    ValueError : the inputs cannot be divided into that many equal groups, or the groups name other inputs.
    """
    if isinstance(input_groups, Tensor):
        if input_groups.dim() != 2 or input_groups.dtype != torch.int64 or input_groups.numel() == 0:
            raise ValueError("input_groups must be int64 (groups, inputs per group).")
        if int(input_groups.min()) < 0 or int(input_groups.max()) >= inputs:
            raise ValueError(f"input_groups names an input beyond 0 to {inputs - 1}.")
        return input_groups
    if type(input_groups) is not int or input_groups < 1 or inputs % input_groups:
        raise ValueError(
            f"input_groups is {input_groups!r}; it must be a positive integer that divides the {inputs} inputs."
        )
    return torch.arange(inputs).view(input_groups, -1)


def deal_groups(groups: int, nodes: int, generator: torch.Generator) -> Tensor:
    """Deal nodes to groups of inputs so that every group gets equally many, give or take one: int64 (nodes,)."""
    if groups == 1:
        return torch.zeros(nodes, dtype=torch.int64)
    return draw_covering_rows(groups, nodes, 1, generator).squeeze(1)


def draw_grouped_rows(
    draw_rows: DrawRows, group_of_row: Tensor, groups: Tensor, width: int, generator: torch.Generator
) -> Tensor:
    """Draw rows of `width` input indices, each from its own one of the `groups` (groups, inputs per group).

    The rows of one group are drawn one after another, so that they cover the group as `draw_rows` covers inputs.

    Returns
    -------
    int64 (rows, width)
    """
    rows = draw_rows(groups.shape[1], len(group_of_row), width, generator)
    places = torch.empty_like(rows)
    places[group_of_row.argsort(stable=True)] = rows
    return groups[group_of_row.unsqueeze(1), places]
