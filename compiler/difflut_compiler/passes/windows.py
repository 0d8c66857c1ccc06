"""Windows: the logic right before some nets, small enough to try all that can come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Compare, Lut, table_to_bools

Column = NDArray[np.bool_]
"""The value of a net in every row that a window tries."""


@dataclass(frozen=True)
class Window:
    """Nets and what lies before them, down to ``leaves``.

    ``levels`` are the comparators among the leaves by the word that they compare, thresholds ascending: of those, each
    implies the ones before it. The other leaves are free. ``inner`` are the LUTs between leaves and nets.
    """

    graph: LutGraph
    free: Sequence[int]
    levels: Sequence[Sequence[int]]
    inner: Sequence[int]

    @property
    def rows(self) -> int:
        """How many combinations of leaves there are to try."""
        return _rows(len(self.free), [len(group) for group in self.levels])

    def values(self, nets: Sequence[int]) -> NDArray[np.bool_]:
        """``(nets, rows)``: what the nets are for every combination of leaves that can be."""
        columns = self._leaf_columns()
        for net in self.inner:
            node = self.graph.node(net)
            assert isinstance(node.op, Lut)
            columns[net] = look_up(node.op, [columns[operand] for operand in node.operands])
        return np.stack([columns[net] for net in nets])

    def combinations(self, nets: Sequence[int]) -> Column:
        """``(2**nets,)``: which combinations of values of the nets, the first one lowest, any row brings about."""
        seen = np.zeros(1 << len(nets), dtype=np.bool_)
        seen[addresses_of(self.values(nets))] = True
        return seen

    def _leaf_columns(self) -> dict[int, Column]:
        rows = np.arange(self.rows)
        columns: dict[int, Column] = {}
        for net in self.free:
            columns[net] = rows % 2 == 1
            rows = rows // 2
        for group in self.levels:
            level = rows % (len(group) + 1)
            columns.update((net, level > place) for place, net in enumerate(group))
            rows = rows // (len(group) + 1)
        return columns


def look_up(op: Lut, columns: Sequence[Column]) -> Column:
    """What ``op`` answers row by row, ``columns`` being the values of its pins."""
    return table_to_bools(op.table, op.fan_in)[addresses_of(columns)]


def addresses_of(columns: Sequence[Column] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """The addresses that pins with these values form row by row."""
    addresses = np.zeros(len(columns[0]), dtype=np.int64)
    for pin, column in enumerate(columns):
        addresses |= column.astype(np.int64) << pin
    return addresses


@dataclass
class _Cut:
    """The leaves of a window that is still growing."""

    graph: LutGraph
    leaves: set[int]
    inner: set[int] = field(default_factory=set)

    def with_opened(self, net: int) -> set[int]:
        return self.leaves - {net} | (set(self.graph.node(net).operands) - self.inner)

    def open(self, net: int) -> None:
        self.leaves = self.with_opened(net)
        self.inner.add(net)


def grow_window(graph: LutGraph, nets: Sequence[int], max_rows: int) -> Window:
    """Open the LUTs before ``nets`` one after the other, always the one that brings the fewest new leaves."""
    cut = _Cut(graph, set(nets))
    while True:
        candidates = [net for net in cut.leaves if isinstance(graph.node(net).op, Lut)]
        # Of equal ones the latest: what it reads may be a leaf that is opened next.
        choices = sorted((len(cut.with_opened(net)), -net) for net in candidates)
        for _, negative in choices:
            if _leaf_rows(graph, cut.with_opened(-negative)) <= max_rows:
                cut.open(-negative)
                break
        else:
            return _finish(graph, cut)


def _leaf_rows(graph: LutGraph, leaves: set[int]) -> int:
    free, levels = _split_leaves(graph, leaves)
    return _rows(len(free), [len(group) for group in levels])


def _rows(free: int, levels: Sequence[int]) -> int:
    return (1 << free) * prod(count + 1 for count in levels)


def _split_leaves(graph: LutGraph, leaves: set[int]) -> tuple[list[int], list[list[int]]]:
    """Free leaves, and comparators by the word that they read, thresholds ascending."""
    free: list[int] = []
    levels: dict[int, list[tuple[int, int]]] = {}
    for net in sorted(leaves):
        node = graph.node(net)
        if isinstance(node.op, Compare):
            levels.setdefault(node.operands[0], []).append((node.op.threshold, net))
        else:
            free.append(net)
    return free, [[net for _, net in sorted(group)] for group in levels.values()]


def _finish(graph: LutGraph, cut: _Cut) -> Window:
    """Put the inner LUTs into an order in which operands come first."""
    inner: dict[int, None] = {}

    def visit(net: int) -> None:
        if net in cut.inner and net not in inner:
            for operand in graph.node(net).operands:
                visit(operand)
            inner[net] = None

    for net in sorted(cut.inner):
        visit(net)
    return Window(graph, *_split_leaves(graph, cut.leaves), list(inner))
