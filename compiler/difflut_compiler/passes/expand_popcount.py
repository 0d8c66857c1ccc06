"""``expand-popcount``: a count of bits becomes a tree of counters made of LUTs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Concat, Const, Lut, PopCount, bits_for, bools_to_table
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class ExpandPopCount:
    """Counters of up to ``lut_inputs`` bits, three LUTs each, until one bit of every weight is left.

    A counter of six bits into three saves three bits for three LUTs, and no LUT saves more than one: the tree of
    counters is as small as LUTs can make it but for its last bits. Constants ride along where a counter has room.
    """

    lut_inputs: int = 6
    name: ClassVar[str] = "expand-popcount"

    def apply(self, graph: LutGraph) -> PassResult:
        counts = [net for net in graph.order() if isinstance(graph.node(net).op, PopCount)]
        replaced = {net: _build_tree(graph, net, self.lut_inputs) for net in counts}
        graph.redirect(replaced)
        return PassResult(bool(counts), replaced)


@dataclass
class _Columns:
    """Bits by weight: ``bits[w]`` are to be counted 2**w times, and so is the constant ``ones[w]``."""

    bits: list[deque[int]]
    ones: list[int]
    luts: int = 0

    def take(self, weight: int, count: int) -> list[int]:
        """Remove bits from a column; the oldest, behind the fewest LUTs, first."""
        column = self.bits[weight]
        return [column.popleft() for _ in range(min(count, len(column)))]


def _build_tree(graph: LutGraph, net: int, lut_inputs: int) -> int:
    """Build the tree for one count beside it and return its root."""
    node = graph.node(net)
    assert isinstance(node.op, PopCount)
    width = bits_for(len(node.operands) + node.op.offset)
    columns = _Columns([deque() for _ in range(width)], [node.op.offset >> weight & 1 for weight in range(width)])
    columns.bits[0].extend(node.operands)
    for weight in range(width):
        while len(columns.bits[weight]) + columns.ones[weight] > 1:
            _add_counter(graph, node.origin, columns, weight, lut_inputs)
    bits = [_only_bit(graph, node.origin, columns, weight) for weight in range(width)]
    return bits[0] if width == 1 else graph.add(Concat(), bits, origin=node.origin._replace(part="count"))


def _add_counter(graph: LutGraph, origin: Origin, columns: _Columns, weight: int, lut_inputs: int) -> None:
    """Count some bits of a column, and of the next one where there is room, into bits of up to three columns."""
    next_height = len(columns.bits[weight + 1]) if weight + 1 < len(columns.bits) else 0
    own = columns.take(weight, _bits_to_take(len(columns.bits[weight]), next_height, lut_inputs))
    room = min(lut_inputs - len(own), (7 - len(own)) // 2)
    # A full adder of three bits is two LUTs of at most four inputs; a bit more would make them three.
    others = columns.take(weight + 1, room) if next_height and (lut_inputs > 4 or len(own) < 3) else []
    pins = [*own, *others]
    constant = columns.ones[weight] if len(own) + 2 * len(others) < 7 else 0
    columns.ones[weight] -= constant
    tables = _counter_tables(len(own), len(others), constant)
    # What would carry out of the highest column is never 1: the whole count fits its width.
    for place, table in enumerate(tables[: len(columns.bits) - weight]):
        lut = graph.add(Lut(len(pins), table), pins, origin=origin._replace(part=f"bit{weight + place}.{columns.luts}"))
        columns.luts += 1
        columns.bits[weight + place].append(lut)


@cache
def _counter_tables(ones: int, twos: int, constant: int) -> list[int]:
    """The tables of a counter's bits, lowest first: its pins count once, then twice; ``constant`` is added."""
    pins = ones + twos
    weights = np.array([1] * ones + [2] * twos)
    totals = constant + (np.arange(1 << pins)[:, np.newaxis] >> np.arange(pins) & 1) @ weights
    return [bools_to_table((totals >> place & 1) == 1) for place in range(bits_for(int(totals.max())))]


def _bits_to_take(height: int, next_height: int, lut_inputs: int) -> int:
    """How many bits of a column of ``height`` the next counter takes.

    Counters that save the most take as many bits as a LUT has inputs and give one back. Where these do not divide the
    column evenly, taking one bit less leaves room for a bit of the next column.
    """
    full = lut_inputs if lut_inputs > 4 else 3
    uneven = height > full and (height - 1) % (full - 1) != 0
    return full - 1 if uneven and next_height and lut_inputs > 4 else min(height, full)


def _only_bit(graph: LutGraph, origin: Origin, columns: _Columns, weight: int) -> int:
    if columns.bits[weight]:
        return columns.bits[weight][0]
    constant = Const(columns.ones[weight])
    return graph.add(constant, origin=origin._replace(part=f"one{weight}"))
