"""``expand-words``: comparisons of scores, and choices between words, become LUTs of their bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from difflut_compiler.graph import LutGraph, Node
from difflut_compiler.ops import AnyOp, Concat, Const, Greater, Lut, Mux, bools_to_table
from difflut_compiler.passes.runner import PassResult

CHOOSE_OF_TWO = Lut(3, 0b11001010)
"""Pins: when_0, when_1, select."""
CHOOSE_OF_THREE = Lut(5, 0b11111111_00000000_11001010_11001010)
"""Pins: those of a choice of two that comes first, select, when_1."""


@dataclass(frozen=True)
class ExpandWords:
    """A comparison becomes a chain of LUTs from the lowest bits to the highest, a choice one LUT per bit.

    A choice of which one side is itself a choice, which nothing else reads, is one LUT per bit with it. Synthesisers
    make a carry chain of a comparison, a LUT per bit, or a tree; a chain of LUTs of six inputs takes a LUT for two
    bits. LUTs of four inputs have room for one bit only, which is no gain: for them, nothing happens. Words whose bits
    are no nets stay words.
    """

    lut_inputs: int = 6
    name: ClassVar[str] = "expand-words"

    def apply(self, graph: LutGraph) -> PassResult:
        if self.lut_inputs <= 4:
            return PassResult(False)
        splitter = _Splitter(graph, self.lut_inputs)
        for net in graph.order():
            splitter.split(net)
        return PassResult(splitter.changed, opened=splitter.opened)


class _Choice(NamedTuple):
    """Nets: the bits of two words, lowest first, and what chooses between them."""

    when_0: Sequence[int]
    when_1: Sequence[int]
    select: int

    @property
    def columns(self) -> list[Sequence[int]]:
        """What the pins of the LUTs read, pin by pin."""
        return [self.when_0, self.when_1, [self.select] * len(self.when_0)]


@dataclass
class _Splitter:
    """Rewrites a graph net by net, operands first. ``opened`` are words of which bits were read."""

    graph: LutGraph
    lut_inputs: int
    opened: set[int] = field(default_factory=set)
    changed: bool = False
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _constants: dict[tuple[str, int], int] = field(default_factory=dict)

    def split(self, net: int) -> None:
        """Make LUTs of a net if it compares words, or chooses between words, whose bits are nets."""
        node = self.graph.node(net)
        if not isinstance(node.op, Greater | Mux):
            return
        *select, first, second = node.operands
        if not (self._has_bits(first) and self._has_bits(second)):
            return
        self.changed = True
        self.opened.update(
            word for word in (first, second) if word in self._choices or isinstance(self.graph.node(word).op, Concat)
        )
        width = max(self.graph.node(first).width, self.graph.node(second).width)
        bits = self._bits(first, width, node), self._bits(second, width, node)
        if isinstance(node.op, Greater):
            self._split_comparison(net, *bits)
        else:
            self._choices[net] = _Choice(*bits, *select)
            self._split_choice(net, first)

    def _has_bits(self, word: int) -> bool:
        node = self.graph.node(word)
        return node.width == 1 or isinstance(node.op, Concat | Const)

    def _bits(self, word: int, width: int, reader: Node) -> list[int]:
        """The nets of a word's bits, lowest first, and zeros above them."""
        node = self.graph.node(word)
        if isinstance(node.op, Const):
            return [self._constant(node.op.value >> place & 1, reader) for place in range(width)]
        bits = list(node.operands) if isinstance(node.op, Concat) else [word]
        return bits if len(bits) == width else [*bits, *[self._constant(0, reader)] * (width - len(bits))]

    def _split_comparison(self, net: int, first: Sequence[int], second: Sequence[int]) -> None:
        """The higher of two bits that differ decides; where none does, what the bits below say."""
        node = self.graph.node(net)
        start, below = 0, list[int]()
        while len(first) - start > (places := (self.lut_inputs - len(below)) // 2):
            stop = start + places
            pins = [*below, *first[start:stop], *second[start:stop]]
            below = [self._add(_greater(places, bool(below)), pins, node, f"from{start}")]
            start = stop
        self.graph.replace(net, _greater(len(first) - start, bool(below)), [*below, *first[start:], *second[start:]])

    def _split_choice(self, net: int, first: int) -> None:
        """One LUT per bit, with the choice that made ``first``, the word for select 0, if nothing else reads that."""
        node, choice = self.graph.node(net), self._choices[net]
        inner = self._choices.get(first)
        if inner and len(inner.when_0) == len(choice.when_0) and self.graph.dag.out_degree(first) == 1:
            op, columns = CHOOSE_OF_THREE, [*inner.columns, *choice.columns[1:]]
        else:
            op, columns = CHOOSE_OF_TWO, choice.columns
        pins = list(zip(*columns, strict=True))
        if node.width == 1:
            self.graph.replace(net, op, pins[0])
        else:
            bits = [self._add(op, bit_pins, node, f"bit{place}") for place, bit_pins in enumerate(pins)]
            self.graph.replace(net, Concat(), bits)

    def _constant(self, value: int, reader: Node) -> int:
        """A constant in the layer of its reader."""
        place = (reader.origin.layer, value)
        if place not in self._constants:
            self._constants[place] = self._add(Const(value), (), reader, f"constant{value}")
        return self._constants[place]

    def _add(self, op: AnyOp, operands: Sequence[int], reader: Node, name: str) -> int:
        part = f"{reader.origin.part}.{name}".lstrip(".")
        return self.graph.add(op, operands, origin=reader.origin._replace(part=part))


def _greater(bits: int, below: bool) -> Lut:
    """The LUT for [second > first]. Pins: what the bits below say, if ``below``, the bits of the first, the second."""
    address = np.arange(1 << 2 * bits + below)
    first = address >> below & (1 << bits) - 1
    second = address >> below + bits
    greater = (second > first) | ((second == first) & (address & below == 1))
    return Lut(2 * bits + below, bools_to_table(greater))
