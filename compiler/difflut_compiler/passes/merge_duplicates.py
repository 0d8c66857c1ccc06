"""``merge-duplicates``: nets that are computed the same way from the same nets become one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import AnyOp, Input, Lut, Output, complement_table, rewire_pins
from difflut_compiler.passes.absorb_inverters import INVERTER
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class MergeDuplicates:
    """Structural hashing in one sweep; LUTs whose pins are only permuted count as equal.

    A LUT that always answers the opposite of another one becomes an inverter behind it, which its readers can absorb.
    Registers are not merged: this pass runs before they are placed. The net of the earliest layer stays, so that the
    rule "operands come from the same or earlier layers" is kept.
    """

    name: ClassVar[str] = "merge-duplicates"

    def apply(self, graph: LutGraph) -> PassResult:
        layer = {name: place for place, name in enumerate(graph.layers)}
        order = sorted(graph.order(), key=lambda net: layer[graph.node(net).origin.layer])
        first: dict[Hashable, int] = {}
        replaced: dict[int, int] = {}
        opened: set[int] = set()
        for net in order:
            node = graph.node(net)
            operands = tuple(replaced.get(operand, operand) for operand in node.operands)
            if operands != node.operands:
                graph.replace(net, node.op, operands)
            if isinstance(node.op, Input | Output):
                continue
            op, operands = _sorted_pins(node.op, operands)
            keeper = first.setdefault((op, operands), net)
            if keeper != net:
                replaced[net] = keeper
                opened.add(keeper)
            elif isinstance(op, Lut) and op.fan_in > 1 and (opposite := first.get((complement_table(op), operands))):
                graph.replace(net, INVERTER, (opposite,))
                opened.add(opposite)
        graph.remove(replaced)
        return PassResult(bool(opened), replaced, opened)


def _sorted_pins(op: AnyOp, operands: tuple[int, ...]) -> tuple[AnyOp, tuple[int, ...]]:
    """A key that is equal exactly for nets computed the same way, whatever the order of a LUT's pins."""
    if not isinstance(op, Lut) or list(operands) == sorted(operands):
        return op, operands
    pins = sorted(range(op.fan_in), key=lambda pin: operands[pin])
    place = sorted(range(op.fan_in), key=lambda pin: pins[pin])
    return rewire_pins(op, place, op.fan_in), tuple(operands[pin] for pin in pins)
