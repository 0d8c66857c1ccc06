"""Multilinear extension of a table of probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.rules.fused import TableRule, apply_rule
from difflut.rules.pins import Pins


def multilinear(table: Tensor, pins: Pins) -> Tensor:
    """Expected table entry when pin j is independently 1 with probability ``pins[:, j]``.

    y[o] = sum_a table[o, a] * prod_j (x_j if bit j of a else 1 - x_j), as in Petersen et al., Deep Differentiable
    Logic Gate Networks (NeurIPS 2022), for any number of inputs.

    Differentiable as often as you like.

    Parameters
    ----------
    table : (num_nodes, outputs, 2**n) real.
    pins : (num_nodes, n, batch) real, usually in [0, 1], or how they are wired.

    Returns
    -------
    (num_nodes, outputs, batch)
    """
    return apply_rule(_MULTILINEAR, table, pins)


def multilinear_of_logits(logits: Tensor, pins: Pins) -> Tensor:
    """Return `multilinear` of the tables ``sigmoid(logits)``; shapes as there."""
    return apply_rule(_OF_LOGITS, logits, pins)


def multilinear_twin(table: Tensor, pins: Tensor) -> Tensor:
    """`multilinear` in torch, in plain autograd.

    The pins are split in two halves whose corner weights are formed separately; one batched matrix product joins the
    lower half with the table, so 2**n weights per sample are never stored.
    """
    nodes, outputs, _ = table.shape
    n, batch = pins.shape[1:]
    low = _corner_weights(pins[:, : n // 2])
    high = _corner_weights(pins[:, n // 2 :])
    rows = table.reshape(nodes, outputs * high.shape[1], low.shape[1])
    partial = torch.bmm(rows, low).view(nodes, outputs, high.shape[1], batch)
    return (partial * high.unsqueeze(1)).sum(2)


def _corner_weights(pins: Tensor) -> Tensor:
    """Return (num_nodes, 2**k, batch): the probability of each of the 2**k corners of k pins."""
    weights = pins.new_ones(pins.shape[0], 1, pins.shape[2])
    for j in range(pins.shape[1]):
        x = pins[:, j : j + 1]
        weights = torch.cat([weights * (1 - x), weights * x], dim=1)
    return weights


def _of_logits_twin(logits: Tensor, pins: Tensor) -> Tensor:
    return multilinear_twin(torch.sigmoid(logits), pins)


_MULTILINEAR = TableRule(multilinear_twin, reads_entries=False, diagonal=None)
_OF_LOGITS = TableRule(_of_logits_twin, reads_entries=False, diagonal=None, of_logits=True)
