"""``replace-luts``: what a LUT answers at addresses that data hardly make is free, and often makes it needless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.accuracy import LabelledData, least_right, spend_budget
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import BUFFER, INVERTER, Const, Lut, table_to_bools

SAMPLES_PER_CHUNK = 4096


@dataclass(frozen=True)
class ReplaceLuts:
    """Replace LUTs by a constant, by one of their inputs or by its opposite, where training samples hardly notice.

    Each such replacement differs from the LUT at some of its addresses: those become don't-cares. It costs as many
    votes as it changes on the training samples, at those addresses and only where the LUTs behind look at the bit. All
    LUTs that cost at most so many votes per sample are replaced; how many that is, is found by bisection, such that the
    accuracy on the training samples falls by ``budget_points`` percentage points at most. The idea to take addresses
    that training data do not make as don't-cares is that of ReducedLUT (Cassidy et al., FPGA 2025).
    """

    budget_points: float
    name: ClassVar[str] = "replace-luts"

    def apply(self, graph: LutGraph, training: LabelledData) -> tuple[LutGraph, str]:
        replacements = find_replacements(graph, training.inputs)
        costs = sorted({one.votes for one in replacements.values()})
        least = least_right(graph, training, self.budget_points)
        best = spend_budget(graph, costs, lambda allowance: _replace(graph, replacements, allowance), training, least)
        return best, _describe(graph, best)


class Replacement(NamedTuple):
    """The cheapest replacement of a LUT: a constant, or a LUT of one pin that reads one of its operands.

    ``votes`` is how many votes per sample it changes, each replacement taken alone and each way to a vote for itself.
    """

    votes: float
    op: Const | Lut
    operands: tuple[int, ...]


def find_replacements(graph: LutGraph, inputs: NDArray[np.int64]) -> dict[int, Replacement]:
    """The cheapest replacement of every LUT on samples ``(samples, inputs)``."""
    costs: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(inputs), SAMPLES_PER_CHUNK):
        for net, changes in _count_changes(graph, inputs[start : start + SAMPLES_PER_CHUNK]).items():
            costs[net] = costs.get(net, np.zeros(changes.shape)) + changes / len(inputs)
    return {net: _cheapest(cost, graph.node(net).operands) for net, cost in costs.items()}


def _count_changes(graph: LutGraph, inputs: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """How many votes change if a LUT becomes something else: ``(1 + fan_in, 2)`` for every LUT.

    Row 0 is the constant, row ``1 + j`` the LUT's pin ``j``; column 1 is the opposite.
    """
    order = graph.order()
    nets = [net for net in order if graph.node(net).width == 1]
    bits = dict(zip(nets, evaluate_nets(graph, inputs, nets).astype(np.bool_), strict=True))
    votes = {net: np.zeros(len(inputs), dtype=np.int64) for net in nets}
    changes: dict[int, NDArray[np.int64]] = {}
    for net in reversed(order):
        node = graph.node(net)
        if not isinstance(node.op, Lut):
            for operand in node.operands:
                if operand in votes:
                    votes[operand] += 1
            continue
        seen = np.stack([bits[operand] for operand in node.operands])
        wrong = np.concatenate([np.zeros((1, len(inputs)), dtype=np.bool_), seen]) ^ bits[net]
        direct = wrong.astype(np.int64) @ votes[net]
        changes[net] = np.stack([direct, votes[net].sum() - direct], axis=1)
        table = table_to_bools(node.op.table, node.op.fan_in)
        address = (seen.astype(np.int64) << np.arange(len(seen))[:, np.newaxis]).sum(axis=0)
        for pin, operand in enumerate(node.operands):
            votes[operand] += votes[net] * (table[address ^ (1 << pin)] != bits[net])
    return changes


def _cheapest(cost: NDArray[np.float64], operands: tuple[int, ...]) -> Replacement:
    source, opposite = divmod(int(cost.argmin()), 2)
    if source == 0:
        return Replacement(float(cost.min()), Const(opposite), ())
    return Replacement(float(cost.min()), INVERTER if opposite else BUFFER, (operands[source - 1],))


def _replace(graph: LutGraph, replacements: Mapping[int, Replacement], allowance: float) -> LutGraph:
    smaller = graph.copy()
    for net, one in replacements.items():
        if one.votes <= allowance:
            smaller.replace(net, one.op, one.operands)
    return smaller


def _describe(before: LutGraph, after: LutGraph) -> str:
    luts = [net for net in before if isinstance(before.node(net).op, Lut)]
    constants = sum(isinstance(after.node(net).op, Const) for net in luts)
    wires = sum(before.node(net) != after.node(net) for net in luts) - constants
    return f"of {len(luts)} LUTs, {constants} made constants and {wires} one of their inputs or its opposite"
