"""``merge-duplicates``: nets that are computed the same way from the same nets become one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import AnyOp, Input, Lut, Output, bools_to_table, table_to_bools
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class MergeDuplicates:
    """Structural hashing in one sweep; LUTs whose pins are only permuted count as equal.

    Registers are not merged: this pass runs before they are placed. The net of the earliest layer stays, so that the
    rule "operands come from the same or earlier layers" is kept.
    """

    name: ClassVar[str] = "merge-duplicates"

    def apply(self, graph: LutGraph) -> PassResult:
        layer = {name: place for place, name in enumerate(graph.layers)}
        order = sorted(graph.order(), key=lambda net: layer[graph.node(net).origin.layer])
        first: dict[Hashable, int] = {}
        replaced: dict[int, int] = {}
        for net in order:
            node = graph.node(net)
            operands = tuple(replaced.get(operand, operand) for operand in node.operands)
            if operands != node.operands:
                graph.replace(net, node.op, operands)
            if isinstance(node.op, Input | Output):
                continue
            keeper = first.setdefault(_structure(node.op, operands), net)
            if keeper != net:
                replaced[net] = keeper
        graph.remove(replaced)
        return PassResult(bool(replaced), replaced)


def _structure(op: AnyOp, operands: tuple[int, ...]) -> Hashable:
    """A key that is equal exactly for nets computed the same way, whatever the order of a LUT's pins."""
    if not isinstance(op, Lut) or list(operands) == sorted(operands):
        return op, operands
    pins = sorted(range(op.fan_in), key=lambda pin: operands[pin])
    entries = table_to_bools(op.table, op.fan_in)
    # Address bit j of the sorted LUT is bit pins[j] of the old one.
    old_addresses = ((np.arange(1 << op.fan_in)[:, np.newaxis] >> np.arange(op.fan_in) & 1) << pins).sum(axis=1)
    return Lut(op.fan_in, bools_to_table(entries[old_addresses])), tuple(operands[pin] for pin in pins)
