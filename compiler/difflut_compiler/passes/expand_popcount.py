"""``expand-popcount``: a count of many bits becomes counts of six and a balanced tree of adders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from difflut_compiler.graph import LutGraph, Node
from difflut_compiler.ops import Add, Const, PopCount, bits_for
from difflut_compiler.passes.runner import PassResult

LEAF_BITS = 6
"""Six bits have a three-bit count: three 6-input LUTs."""


@dataclass(frozen=True)
class ExpandPopCount:
    """Leave only counts of two to six bits without offset; each adder is as wide as the greatest sum it can have.

    The count of a single bit is that bit; an offset is a constant leaf of the tree.
    """

    name: ClassVar[str] = "expand-popcount"

    def apply(self, graph: LutGraph) -> PassResult:
        counts = [net for net in graph.order() if isinstance(graph.node(net).op, PopCount)]
        replaced = {net: _build_tree(graph, net) for net in counts if not _is_leaf(graph.node(net))}
        graph.redirect(replaced)
        return PassResult(bool(replaced), replaced)


class _Partial(NamedTuple):
    """A net of the tree and the greatest value it can have."""

    net: int
    greatest: int


def _is_leaf(node: Node) -> bool:
    return node.op == PopCount() and 2 <= len(node.operands) <= LEAF_BITS


def _build_tree(graph: LutGraph, net: int) -> int:
    """Build the tree for one count beside it and return its root."""
    node = graph.node(net)
    assert isinstance(node.op, PopCount)
    level = [_add_leaf(graph, node, start) for start in range(0, len(node.operands), LEAF_BITS)]
    if node.op.offset:
        constant = Const(node.op.offset, bits_for(node.op.offset))
        level.append(_Partial(graph.add(constant, origin=node.origin._replace(part="offset")), node.op.offset))
    adders = 0
    while len(level) > 1:
        sums = []
        for left, right in zip(level[0::2], level[1::2], strict=False):
            greatest = left.greatest + right.greatest
            origin = node.origin._replace(part=f"sum{adders}")
            sums.append(_Partial(graph.add(Add(bits_for(greatest)), (left.net, right.net), origin=origin), greatest))
            adders += 1
        level = sums + level[len(sums) * 2 :]
    return level[0].net


def _add_leaf(graph: LutGraph, node: Node, start: int) -> _Partial:
    bits = node.operands[start : start + LEAF_BITS]
    if len(bits) == 1:
        return _Partial(bits[0], 1)
    origin = node.origin._replace(part=f"count{start // LEAF_BITS}")
    return _Partial(graph.add(PopCount(), bits, origin=origin), len(bits))
