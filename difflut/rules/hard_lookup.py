"""Hard table lookups: real-valued entries read at thresholded pins, with three kinds of input gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from difflut.rules.addressing import compute_addresses, read_table
from difflut.rules.fused import TableRule, apply_rule
from difflut.rules.multilinear import multilinear_twin
from difflut.rules.pins import Pins
from difflut.rules.straight_through import straight_through
from difflut.rules.walsh import walsh_transform

BETA = 1 / 3  # weight lost per differing pin, 0.25 / 0.75


def look_up(table: Tensor, pins: Pins) -> Tensor:
    """Return float32 (num_nodes, outputs, batch): the bits of bool tables at the thresholded pins; no gradient."""
    with torch.no_grad():
        return apply_rule(_GEOMETRIC, table.to(torch.float32), pins, may_round=False)


def hard_lookup(table: Tensor, pins: Pins) -> Tensor:
    """Read each node's table at its thresholded pins; real-valued entries come out.

    The gradient with respect to pin j is the extended finite difference of Bacellar et al., Differentiable Weightless
    Neural Networks (ICML 2024), section 3: with a the address of the sample,

        dy/dx_j = alpha * sum_k s_j(k) * table[k] * BETA ** H_j(k, a),    alpha = 0.5 * 0.75 ** (n - 1)

    where s_j(k) is +1 if bit j of k is set, else -1, and H_j is the Hamming distance outside bit j. The table gradient
    goes to the addressed entry alone. Both backward formulas are differentiable again.

    Parameters
    ----------
    table : (num_nodes, outputs, 2**n) real.
    pins : (num_nodes, n, batch) real, thresholded at >= 0.5, or how they are wired.

    Returns
    -------
    (num_nodes, outputs, batch)
    """
    return apply_rule(_GEOMETRIC, table, pins)


def hard_lookup_harmonic(table: Tensor, pins: Pins) -> Tensor:
    """As `hard_lookup`, but far entries weigh more: dy/dx_j = sum_k s_j(k) * table[k] / (H_j(k, a) + 1)."""
    return apply_rule(_HARMONIC, table, pins)


def hard_lookup_expected(table: Tensor, pins: Pins) -> Tensor:
    """As `hard_lookup`, with the gradients of `multilinear` at the real-valued pins, for the table and for the pins.

    The gradient with respect to pin j is the expected difference of the table across bit j, for pins in [0, 1]; at
    the corners it is the plain finite difference.
    """
    return apply_rule(_EXPECTED, table, pins)


class _HardLookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, pins: Tensor, diagonal: Callable[[int], Tensor]) -> Tensor:
        address = compute_addresses(pins)
        ctx.save_for_backward(table, address)
        ctx.n = pins.shape[1]
        ctx.diagonal = diagonal
        return read_table(table, address)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        table, address = ctx.saved_tensors
        grad_table = _scatter_to_entries(grad, address, table.shape[2]) if ctx.needs_input_grad[0] else None
        grad_pins = None
        if ctx.needs_input_grad[1]:
            spread = walsh_transform(walsh_transform(table) * ctx.diagonal(ctx.n).to(table))
            grad_pins = _differences(grad, spread, address, ctx.n)
        return grad_table, grad_pins, None


def _scatter_to_entries(grad: Tensor, address: Tensor, entries: int) -> Tensor:
    index = address.unsqueeze(1).expand_as(grad)
    return grad.new_zeros(*grad.shape[:2], entries).scatter_add(2, index, grad)


def _differences(grad: Tensor, spread: Tensor, address: Tensor, n: int) -> Tensor:
    """Return the pin gradient (num_nodes, n, batch).

    It depends on the sample only through its address, so it is tabulated once per step for all addresses: as the
    difference, across bit j, of a table `spread` in which every entry has been spread over all others. If an entry at
    Hamming distance h, bit j included, has weight u(h) there, it has weight u(H) - u(H + 1) in the difference, where
    H excludes bit j, with the sign of its own bit j. Spreading is a convolution over XOR, which is diagonal after a
    Walsh transform.
    """
    columns = []
    for j in range(n):
        pairs = _split_bit(spread, j, n)
        difference = pairs[:, :, :, 1:] - pairs[:, :, :, :1]
        by_address = difference.expand_as(pairs).reshape_as(spread)
        columns.append((grad * read_table(by_address, address)).sum(1))
    return torch.stack(columns, dim=1)


def _geometric_diagonal(n: int) -> Tensor:
    """Spreads with weights u(h) = alpha / (1 - BETA) * BETA**h: [[1, BETA], [BETA, 1]] along every address bit."""
    alpha = 0.5 * 0.75 ** (n - 1)
    scale = alpha / (1 - BETA) / (1 << n)
    by_ones = [scale * (1 - BETA) ** ones * (1 + BETA) ** (n - ones) for ones in range(n + 1)]
    return torch.tensor([by_ones[address.bit_count()] for address in range(1 << n)], dtype=torch.float64)


def _harmonic_diagonal(n: int) -> Tensor:
    """Spreads with weights u(h) = -(1 + 1/2 + ... + 1/h)."""
    steps = [0.0, *(-1 / distance for distance in range(1, n + 1))]
    weights = torch.tensor(steps, dtype=torch.float64).cumsum(0)
    diagonal = walsh_transform(weights[_count_ones(n)]) / (1 << n)
    diagonal[0] = 0  # acts on the table's mean alone, which no difference sees; without it, sums stay small
    return diagonal


def _count_ones(n: int) -> Tensor:
    """Return int64 (2**n,): the number of set bits of every address."""
    address = torch.arange(2**n)
    return sum(((address >> j & 1) for j in range(1, n)), start=address & 1)


def _split_bit(table: Tensor, j: int, n: int) -> Tensor:
    """View (num_nodes, outputs, 2**n) so that axis 3 is address bit j."""
    return table.reshape(*table.shape[:2], 2 ** (n - 1 - j), 2, 2**j)


def _geometric_twin(table: Tensor, pins: Tensor) -> Tensor:
    result: Tensor = _HardLookup.apply(table, pins, _geometric_diagonal)  # type: ignore[no-untyped-call]
    return result


def _harmonic_twin(table: Tensor, pins: Tensor) -> Tensor:
    result: Tensor = _HardLookup.apply(table, pins, _harmonic_diagonal)  # type: ignore[no-untyped-call]
    return result


def _expected_twin(table: Tensor, pins: Tensor) -> Tensor:
    entries = read_table(table.detach(), compute_addresses(pins))
    return straight_through(entries, multilinear_twin(table, pins))


_GEOMETRIC = TableRule(_geometric_twin, reads_entries=True, diagonal=_geometric_diagonal)
_HARMONIC = TableRule(_harmonic_twin, reads_entries=True, diagonal=_harmonic_diagonal)
_EXPECTED = TableRule(_expected_twin, reads_entries=True, diagonal=None)
