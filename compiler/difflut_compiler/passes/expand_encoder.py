"""``expand-encoder``: comparators of more bits than a LUT has inputs become LUTs, which those of a word share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Bit, Compare, Input, Lut, bools_to_table, complement_pins, lowest_one
from difflut_compiler.passes.comparison_plans import Cut, LowPart, plan_comparisons, selector_key
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class ExpandEncoder:
    """Build what :mod:`.comparison_plans` plans. Comparators that are one LUT, or a wire, stay comparators."""

    lut_inputs: int = 6
    name: ClassVar[str] = "expand-encoder"

    def apply(self, graph: LutGraph) -> PassResult:
        first_new = graph.next_net
        opened: set[int] = set()
        for word, nets_at in _comparators(graph).items():
            op = graph.node(word).op
            assert isinstance(op, Input)
            encoder = _WordEncoder(graph, word, op, self.lut_inputs, nets_at)
            for cut in plan_comparisons(op.bits, tuple(sorted(nets_at)), self.lut_inputs).cuts:
                encoder.build_cut(cut)
            encoder.build_chains()
            opened |= encoder.opened
        return PassResult(graph.next_net > first_new, opened=opened)


def _comparators(graph: LutGraph) -> dict[int, dict[int, list[int]]]:
    """By word and by threshold, counted from the word's least value, the nets of all comparators that can vary."""
    found: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for net in graph.order():
        node = graph.node(net)
        if isinstance(node.op, Compare):
            (word,) = node.operands
            op = graph.node(word).op
            assert isinstance(op, Input)
            if op.min_value < node.op.threshold <= op.max_value:
                found[word][node.op.threshold - op.min_value].append(net)
    return found


@dataclass
class _WordEncoder:
    """The comparators of one word: ``nets_at`` has, by threshold, those that are not LUTs yet.

    ``opened`` are comparators that others were made of.
    """

    graph: LutGraph
    word: int
    op: Input
    lut_inputs: int
    nets_at: dict[int, list[int]]
    opened: set[int] = field(default_factory=set)
    _bits: dict[int, int] = field(default_factory=dict)

    def build_cut(self, cut: Cut) -> None:
        """Make LUTs of the comparators of a cut. Its bounds are comparators, perhaps new ones, for later cuts."""
        low_net: dict[int, int] = {}
        for part in cut.low_parts:
            low_net.update(dict.fromkeys(part.thresholds, self._add_low_part(cut, part)))
        for threshold in cut.thresholds:
            reached, above = cut.bounds(threshold, self.op.bits)
            nets = self.nets_at.pop(threshold)
            low = low_net.get(threshold)
            places = range(cut.middle, cut.high)
            op = _at_least(
                threshold >> cut.middle, len(places), low is not None, reached is not None, above is not None
            )
            bounds = [
                self._bound(self.graph.node(nets[0]).origin, bound, name)
                for name, bound in (("reached", reached), ("above", above))
                if bound is not None
            ]
            self._replace(nets, op, low, places, bounds)

    def build_chains(self) -> None:
        """Make LUTs of comparators that no cut had, each in a chain from its lowest bit that matters to the highest."""
        for threshold, nets in self.nets_at.items():
            low, start = None, lowest_one(threshold)
            while self.op.bits - start > self.lut_inputs - (low is not None):
                places = range(start, start + self.lut_inputs - (low is not None))
                op = _at_least(threshold >> start, len(places), low is not None)
                low, start = (
                    self._add(op, low, places, _part(self.graph.node(nets[0]).origin, f"from{start}")),
                    places.stop,
                )
            if low is not None:
                places = range(start, self.op.bits)
                self._replace(nets, _at_least(threshold >> start, len(places), True), low, places)

    def _add_low_part(self, cut: Cut, part: LowPart) -> int:
        """Pins: the low bits and the selectors."""
        entries = np.zeros((1 << len(part.selectors), 1 << cut.middle - cut.low), dtype=np.bool_)
        for threshold in part.thresholds:
            low = threshold % (1 << cut.middle) >> cut.low
            entries[selector_key(threshold, part.selectors)] = np.arange(entries.shape[1]) >= low
        places = [*range(cut.low, cut.middle), *part.selectors]
        origin = self.graph.node(self.nets_at[part.thresholds[0]][0]).origin
        return self._add(Lut(len(places), bools_to_table(entries.reshape(-1))), None, places, _part(origin, "low"))

    def _bound(self, reader: Origin, threshold: int, name: str) -> int:
        """The comparator of the word with ``threshold``; if it is new, named after its first reader."""
        if threshold not in self.nets_at:
            compare = Compare(threshold + self.op.min_value)
            self.nets_at[threshold] = [self.graph.add(compare, (self.word,), origin=_part(reader, name))]
        net = self.nets_at[threshold][0]
        self.opened.add(net)
        return net

    def _add(self, op: Lut, low: int | None, places: Sequence[int], origin: Origin) -> int:
        op, pins = self._wire(op, low, places, [])
        return self.graph.add(op, pins, origin=origin)

    def _replace(
        self, nets: Sequence[int], op: Lut, low: int | None, places: Sequence[int], bounds: Sequence[int] = ()
    ) -> None:
        op, pins = self._wire(op, low, places, bounds)
        for net in nets:
            self.graph.replace(net, op, pins)

    def _wire(
        self, op: Lut, low: int | None, places: Sequence[int], bounds: Sequence[int]
    ) -> tuple[Lut, tuple[int, ...]]:
        """A LUT and what its pins read: a low part if any, bits of the word, bounds.

        With the sign inverted, signed words count from their least value, as the tables take it.
        """
        lows = [] if low is None else [low]
        sign = self.op.bits - 1 if self.op.signed else None
        inverted = [False] * len(lows) + [place == sign for place in places] + [False] * len(bounds)
        return complement_pins(op, inverted), (*lows, *map(self._bit, places), *bounds)

    def _bit(self, place: int) -> int:
        if place not in self._bits:
            origin = _part(self.graph.node(self.word).origin, f"bit{place}")
            self._bits[place] = self.graph.add(Bit(place), (self.word,), origin=origin)
        return self._bits[place]


def _part(origin: Origin, name: str) -> Origin:
    return origin._replace(part=f"{origin.part}.{name}".lstrip("."))


def _at_least(threshold: int, bits: int, low: bool, reached: bool = False, above: bool = False) -> Lut:
    """The LUT for [word >= threshold] by ``bits`` of the word, the others of ``threshold`` do not matter.

    Pins: whether the bits below reach the threshold's, if ``low``, else they do; the bits; whether the bits above reach
    the threshold's, if ``reached``, else they do; whether they exceed them, if ``above``, else they do not.
    """
    pins = low + bits + reached + above
    address = np.arange(1 << pins)
    value, wanted = address >> low & (1 << bits) - 1, threshold & (1 << bits) - 1
    low_reaches = address & 1 == 1 if low else np.ones_like(address, dtype=np.bool_)
    bits_reach = (value > wanted) | ((value == wanted) & low_reaches)
    high_reaches = address >> low + bits & 1 == 1 if reached else np.ones_like(bits_reach)
    exceeds = address >> pins - 1 == 1 if above else np.zeros_like(bits_reach)
    return Lut(pins, bools_to_table(exceeds | (high_reaches & bits_reach)))
