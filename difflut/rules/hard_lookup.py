"""Hard table lookups: real-valued entries read at thresholded pins, with three kinds of input gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from difflut.rules.addressing import compute_addresses, read_table
from difflut.rules.multilinear import multilinear
from difflut.rules.straight_through import straight_through
from difflut.rules.walsh import walsh_transform

BETA = 1 / 3  # weight lost per differing pin, 0.25 / 0.75


def hard_lookup(table: Tensor, pins: Tensor) -> Tensor:
    """Read each node's table at its thresholded pins; real-valued entries come out.

    The gradient with respect to pin j is the extended finite difference of Bacellar et al., Differentiable Weightless
    Neural Networks (ICML 2024), section 3: with a the address of the sample,

        dy/dx_j = alpha * sum_k s_j(k) * table[k] * BETA ** H_j(k, a),    alpha = 0.5 * 0.75 ** (n - 1)

    where s_j(k) is +1 if bit j of k is set, else -1, and H_j is the Hamming distance outside bit j. The table gradient
    goes to the addressed entry alone. Both backward formulas are differentiable again.

    Parameters
    ----------
    table : (num_nodes, outputs, 2**n) real.
    pins : (num_nodes, n, batch) real, thresholded at >= 0.5.

    Returns
    -------
    (num_nodes, outputs, batch)
    """
    result: Tensor = _HardLookup.apply(table, pins, _spread_geometrically)  # type: ignore[no-untyped-call]
    return result


def hard_lookup_harmonic(table: Tensor, pins: Tensor) -> Tensor:
    """As `hard_lookup`, but far entries weigh more: dy/dx_j = sum_k s_j(k) * table[k] / (H_j(k, a) + 1)."""
    result: Tensor = _HardLookup.apply(table, pins, _spread_harmonically)  # type: ignore[no-untyped-call]
    return result


def hard_lookup_expected(table: Tensor, pins: Tensor) -> Tensor:
    """As `hard_lookup`, with the gradients of `multilinear` at the real-valued pins, for the table and for the pins.

    The gradient with respect to pin j is the expected difference of the table across bit j, for pins in [0, 1]; at
    the corners it is the plain finite difference.
    """
    entries = read_table(table.detach(), compute_addresses(pins))
    return straight_through(entries, multilinear(table, pins))


class _HardLookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, pins: Tensor, spread: Callable[[Tensor, int], Tensor]) -> Tensor:
        address = compute_addresses(pins)
        ctx.save_for_backward(table, address)
        ctx.n = pins.shape[1]
        ctx.spread = spread
        return read_table(table, address)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        table, address = ctx.saved_tensors
        grad_table = _scatter_to_entries(grad, address, table.shape[2]) if ctx.needs_input_grad[0] else None
        grad_pins = None
        if ctx.needs_input_grad[1]:
            grad_pins = _differences(grad, ctx.spread(table, ctx.n), address, ctx.n)
        return grad_table, grad_pins, None


def _scatter_to_entries(grad: Tensor, address: Tensor, entries: int) -> Tensor:
    index = address.unsqueeze(1).expand_as(grad)
    return grad.new_zeros(*grad.shape[:2], entries).scatter_add(2, index, grad)


def _differences(grad: Tensor, spread: Tensor, address: Tensor, n: int) -> Tensor:
    """Return the pin gradient (num_nodes, n, batch).

    It depends on the sample only through its address, so it is tabulated once per step for all addresses: as the
    difference, across bit j, of a table `spread` in which every entry has been spread over all others. If an entry at
    Hamming distance h, bit j included, has weight u(h) there, it has weight u(H) - u(H + 1) in the difference, where
    H excludes bit j, with the sign of its own bit j.
    """
    columns = []
    for j in range(n):
        pairs = _split_bit(spread, j, n)
        difference = pairs[:, :, :, 1:] - pairs[:, :, :, :1]
        by_address = difference.expand_as(pairs).reshape_as(spread)
        columns.append((grad * read_table(by_address, address)).sum(1))
    return torch.stack(columns, dim=1)


def _spread_geometrically(table: Tensor, n: int) -> Tensor:
    """Weights u(h) = alpha / (1 - BETA) * BETA**h: [[1, BETA], [BETA, 1]] along every address bit, in n stages."""
    for j in range(n):
        pairs = _split_bit(table, j, n)
        table = (pairs + BETA * pairs.flip(3)).reshape_as(table)
    alpha = 0.5 * 0.75 ** (n - 1)
    return table * (alpha / (1 - BETA))


def _spread_harmonically(table: Tensor, n: int) -> Tensor:
    """Weights u(h) = -(1 + 1/2 + ... + 1/h): a convolution over XOR, which is diagonal after a Walsh transform."""
    steps = [0.0, *(-1 / distance for distance in range(1, n + 1))]
    weights = torch.tensor(steps, dtype=torch.float64, device=table.device).cumsum(0)
    diagonal = walsh_transform(weights[_count_ones(n, table.device)])
    diagonal[0] = 0  # acts on the table's mean alone, which no difference sees; without it, sums stay small
    return walsh_transform(walsh_transform(table) * (diagonal / 2**n).to(table.dtype))


def _count_ones(n: int, device: torch.device) -> Tensor:
    """Return int64 (2**n,): the number of set bits of every address."""
    address = torch.arange(2**n, device=device)
    return sum(((address >> j & 1) for j in range(1, n)), start=address & 1)


def _split_bit(table: Tensor, j: int, n: int) -> Tensor:
    """View (num_nodes, outputs, 2**n) so that axis 3 is address bit j."""
    return table.reshape(*table.shape[:2], 2 ** (n - 1 - j), 2, 2**j)
