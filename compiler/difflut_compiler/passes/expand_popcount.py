"""``expand-popcount``: a count of many bits becomes counts of six and a balanced tree of adders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Add, PopCount, bits_for
from difflut_compiler.passes.runner import PassResult

LEAF_BITS = 6
"""Six bits have a three-bit count: three 6-input LUTs."""


@dataclass(frozen=True)
class ExpandPopCount:
    """Split every count of more than six bits; each adder is as wide as the greatest sum it can have.

    The count of a single bit is that bit."""

    name: ClassVar[str] = "expand-popcount"

    def apply(self, graph: LutGraph) -> PassResult:
        counts = [net for net in graph.order() if isinstance(graph.node(net).op, PopCount)]
        replaced = {net: _build_tree(graph, net) for net in counts if len(graph.node(net).operands) > LEAF_BITS}
        replaced |= {net: graph.node(net).operands[0] for net in counts if len(graph.node(net).operands) == 1}
        graph.redirect(replaced)
        return PassResult(bool(replaced), replaced)


def _build_tree(graph: LutGraph, net: int) -> int:
    """Build the tree for one count beside it and return its root."""
    node = graph.node(net)
    layer, index, _ = node.origin
    level: list[tuple[int, int]] = []  # (net, greatest value)
    for number, start in enumerate(range(0, len(node.operands), LEAF_BITS)):
        bits = node.operands[start : start + LEAF_BITS]
        level.append((graph.add(PopCount(), bits, origin=Origin(layer, index, f"count{number}")), len(bits)))
    adders = 0
    while len(level) > 1:
        next_level = []
        for (left, left_max), (right, right_max) in zip(level[0::2], level[1::2], strict=False):
            greatest = left_max + right_max
            origin = Origin(layer, index, f"sum{adders}")
            next_level.append((graph.add(Add(bits_for(greatest)), (left, right), origin=origin), greatest))
            adders += 1
        level = next_level + level[len(next_level) * 2 :]
    return level[0][0]

