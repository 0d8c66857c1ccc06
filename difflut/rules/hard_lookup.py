"""Hard table lookup whose input gradient is the extended finite difference (EFD)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from difflut.rules.addressing import compute_addresses, read_table

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
    result: Tensor = _HardLookup.apply(table, pins)  # type: ignore[no-untyped-call]
    return result


class _HardLookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, pins: Tensor) -> Tensor:
        address = compute_addresses(pins)
        ctx.save_for_backward(table, address)
        ctx.n = pins.shape[1]
        return read_table(table, address)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        table, address = ctx.saved_tensors
        grad_table = _scatter_to_entries(grad, address, table.shape[2]) if ctx.needs_input_grad[0] else None
        grad_pins = _finite_differences(grad, table, address, ctx.n) if ctx.needs_input_grad[1] else None
        return grad_table, grad_pins


def _scatter_to_entries(grad: Tensor, address: Tensor, entries: int) -> Tensor:
    index = address.unsqueeze(1).expand_as(grad)
    return grad.new_zeros(*grad.shape[:2], entries).scatter_add(2, index, grad)


def _finite_differences(grad: Tensor, table: Tensor, address: Tensor, n: int) -> Tensor:
    """Return the pin gradient (num_nodes, n, batch).

    It depends on the sample only through its address, so it is tabulated once per step for all addresses. `spread`
    weighs every entry by BETA per differing pin, pin j included; the difference across bit j of that is the wanted
    sum times (1 - BETA), because the own entry counts once and the one across bit j BETA times, with opposite signs.
    """
    alpha = 0.5 * 0.75 ** (n - 1)
    spread = _spread_over_neighbours(table, n) * (alpha / (1 - BETA))
    columns = []
    for j in range(n):
        pairs = _split_bit(spread, j, n)
        difference = pairs[:, :, :, 1:] - pairs[:, :, :, :1]
        by_address = difference.expand_as(pairs).reshape_as(table)
        columns.append((grad * read_table(by_address, address)).sum(1))
    return torch.stack(columns, dim=1)


def _spread_over_neighbours(table: Tensor, n: int) -> Tensor:
    """Apply [[1, BETA], [BETA, 1]] along every address bit: n butterfly stages."""
    for j in range(n):
        pairs = _split_bit(table, j, n)
        table = (pairs + BETA * pairs.flip(3)).reshape_as(table)
    return table


def _split_bit(table: Tensor, j: int, n: int) -> Tensor:
    """View (num_nodes, outputs, 2**n) so that axis 3 is address bit j."""
    return table.reshape(*table.shape[:2], 2 ** (n - 1 - j), 2, 2**j)
