"""``expand-argmax``: the argmax becomes a tournament of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Neighbours meet; the right one wins only if it is strictly greater, so that ties go to the lowest position.

    A match is between three where a LUT of ``lut_inputs`` can choose among three bits, else between two. All three are
    compared with each other at once: a comparison more than in two matches one after the other, but scores go through
    one LUT per bit instead of two, and there are half as many levels.
    """

    lut_inputs: int = 6
    name: ClassVar[str] = "expand-argmax"

    def apply(self, graph: LutGraph) -> PassResult:
        nets = [net for net in graph.order() if isinstance(graph.node(net).op, ArgMax)]
        match_size = 3 if self.lut_inputs > 4 else 2
        replaced = {net: _build_tournament(graph, net, match_size) for net in nets}
        graph.redirect(replaced)
        return PassResult(bool(nets), replaced)


def _build_tournament(graph: LutGraph, net: int, match_size: int) -> int:
    node = graph.node(net)
    layer, number, _ = node.origin
    index_bits = bits_for(len(node.operands) - 1)
    constants = [
        graph.add(Const(position, index_bits), origin=Origin(layer, number, f"position{position}"))
        for position in range(len(node.operands))
    ]
    level = [_Contender(score, constant) for score, constant in zip(node.operands, constants, strict=True)]
    tournament = _Tournament(graph, node.origin)
    while len(level) > 1:
        level = [tournament.play(level[first : first + match_size]) for first in range(0, len(level), match_size)]
    return level[0].position


@dataclass
class _Tournament:
    """The matches of the argmax at ``origin``. What was made for a choice between two has the choice's number."""

    graph: LutGraph
    origin: Origin
    choices: int = 0

    def play(self, match: Sequence[_Contender]) -> _Contender:
        """The winner among one, two or three neighbours."""
        if len(match) == 1:
            return match[0]
        left, right, *third = match
        right_wins = self._add(Greater(), (left.score, right.score), "right_wins")
        best = self._choose(right_wins, left, right)
        for last in third:
            # It meets both at once, and what counts is how it did against the better one.
            beats_left = self._add(Greater(), (left.score, last.score), "beats_left")
            beats_right = self._add(Greater(), (right.score, last.score), "beats_right")
            last_wins = self._add(Mux(), (right_wins, beats_left, beats_right), "right_wins")
            best = self._choose(last_wins, best, last)
        return best

    def _choose(self, right_wins: int, left: _Contender, right: _Contender) -> _Contender:
        score = self._add(Mux(), (right_wins, left.score, right.score), "score")
        position = self._add(Mux(), (right_wins, left.position, right.position), "index")
        self.choices += 1
        return _Contender(score, position)

    def _add(self, op: Greater | Mux, operands: Sequence[int], name: str) -> int:
        return self.graph.add(op, operands, origin=self.origin._replace(part=f"{name}{self.choices}"))
