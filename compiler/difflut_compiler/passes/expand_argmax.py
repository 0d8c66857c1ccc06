"""``expand-argmax``: the argmax becomes a tournament of comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import ArgMax, Const, Greater, Mux, bits_for
from difflut_compiler.passes.runner import PassResult


class _Contender(NamedTuple):
    """The winner among some neighbouring operands: nets of its score and of its position."""

    score: int
    position: int


@dataclass(frozen=True)
class ExpandArgMax:
    """Neighbours meet; the right one wins only if it is strictly greater, so that ties go to the lowest position."""

    name: ClassVar[str] = "expand-argmax"

    def apply(self, graph: LutGraph) -> PassResult:
        nets = [net for net in graph.order() if isinstance(graph.node(net).op, ArgMax)]
        replaced = {net: _build_tournament(graph, net) for net in nets}
        graph.redirect(replaced)
        return PassResult(bool(nets), replaced)


def _build_tournament(graph: LutGraph, net: int) -> int:
    node = graph.node(net)
    layer, number, _ = node.origin
    index_bits = bits_for(len(node.operands) - 1)
    constants = [
        graph.add(Const(position, index_bits), origin=Origin(layer, number, f"position{position}"))
        for position in range(len(node.operands))
    ]
    level = [_Contender(score, constant) for score, constant in zip(node.operands, constants, strict=True)]
    matches = 0
    while len(level) > 1:
        next_level = []
        for left, right in zip(level[0::2], level[1::2], strict=False):
            next_level.append(_play(graph, Origin(layer, number, str(matches)), left, right))
            matches += 1
        level = next_level + level[len(next_level) * 2 :]
    return level[0].position


def _play(graph: LutGraph, match: Origin, left: _Contender, right: _Contender) -> _Contender:
    def part(name: str) -> Origin:
        return match._replace(part=name + match.part)

    wins = graph.add(Greater(), (left.score, right.score), origin=part("right_wins"))
    score = graph.add(Mux(), (wins, left.score, right.score), origin=part("score"))
    index = graph.add(Mux(), (wins, left.position, right.position), origin=part("index"))
    return _Contender(score, index)
