"""A LUT graph as arrays: what everything computes with that looks at all nodes of a large graph.

The nodes are rows here, in the order of their nets. :meth:`LutGraph.arrays` gathers them once and keeps them until the
graph changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from difflut_compiler.errors import GraphError
from difflut_compiler.ops import OP_BY_KIND, AnyOp, Lut, tables_to_bools

if TYPE_CHECKING:
    from difflut_compiler.graph import Node

Rows = NDArray[np.int64]
_KIND_CODES = {op: code for code, op in enumerate(OP_BY_KIND.values())}


@dataclass(frozen=True)
class LutBlock:
    """All LUTs of one fan-in: their ``rows`` ``(luts,)`` and the rows of what their pins read ``(luts, fan_in)``."""

    rows: Rows
    operands: Rows
    tables: NDArray[np.bool_]
    """``(luts, 2**fan_in)``"""


class GraphArrays:
    """``nets`` ``(nodes,)`` ascending, and ``nodes`` in the same order.

    The pins of all nodes stand one after the other: ``pin_counts`` ``(nodes,)`` says how many each node has, ``starts``
    ``(nodes,)`` where its first one is, ``readers`` ``(pins,)`` whose pin each is and ``operands`` ``(pins,)`` the row
    that it reads.
    """

    def __init__(self, nodes: Mapping[int, Node]) -> None:
        self.nets: Rows = np.sort(np.fromiter(nodes, dtype=np.int64, count=len(nodes)))
        self.nodes = [nodes[net] for net in self.nets.tolist()]
        self.pin_counts: Rows = self.gather(lambda _, node: len(node.operands))
        self.starts: Rows = np.cumsum(self.pin_counts) - self.pin_counts
        self.readers: Rows = np.repeat(np.arange(len(nodes)), self.pin_counts)
        read = chain.from_iterable(node.operands for node in self.nodes)
        self.operands: Rows = self._rows_read(np.fromiter(read, dtype=np.int64, count=len(self.readers)))

    def _rows_read(self, nets: Rows) -> Rows:
        rows = self.rows_of(nets)
        missing = np.flatnonzero(rows < 0)
        if missing.size:
            reader = self._describe(int(self.readers[missing[0]]))
            raise GraphError(f"{reader} reads net {nets[missing[0]]}, which is not in the graph")
        return rows

    def __len__(self) -> int:
        return len(self.nodes)

    def rows_of(self, nets: Sequence[int] | Rows) -> Rows:
        """The rows of nets, -1 for those that are not in the graph."""
        wanted = np.asarray(nets, dtype=np.int64)
        if not len(self.nets):
            return np.full(wanted.shape, -1, dtype=np.int64)
        rows = np.minimum(np.searchsorted(self.nets, wanted), len(self.nets) - 1)
        return np.where(self.nets[rows] == wanted, rows, -1)

    def row_of(self, net: int) -> int:
        """The row of a net that is in the graph."""
        return int(self.nets.searchsorted(net))

    def gather(self, ask: Callable[[int, Node], int]) -> Rows:
        """``(nodes,)``: what ``ask`` answers for every net and its node."""
        return np.fromiter(map(ask, self.nets.tolist(), self.nodes), dtype=np.int64, count=len(self.nodes))

    def has_pin(self, pins: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(nodes,)``: whether any of a node's pins is marked in ``pins`` ``(pins,)``."""
        return np.bincount(self.readers[pins], minlength=len(self)) > 0

    def reads_any(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(nodes,)``: whether a node reads any that is marked in ``rows`` ``(nodes,)``."""
        return self.has_pin(rows[self.operands])

    def rows_where(self, *kinds: type[AnyOp]) -> Rows:
        """The rows of all nodes of some kinds."""
        is_wanted = np.zeros(len(_KIND_CODES), dtype=np.bool_)
        is_wanted[[_KIND_CODES[kind] for kind in kinds]] = True
        return np.flatnonzero(is_wanted[self._kinds])

    @cached_property
    def _kinds(self) -> Rows:
        return self.gather(lambda _, node: _KIND_CODES[type(node.op)])

    @cached_property
    def is_lut(self) -> NDArray[np.bool_]:
        """``(nodes,)``"""
        is_lut: NDArray[np.bool_] = self._kinds == _KIND_CODES[Lut]
        return is_lut

    @cached_property
    def widths(self) -> Rows:
        """``(nodes,)`` bits of every net."""
        return self.gather(lambda _, node: node.width)

    @cached_property
    def layer_ranks(self) -> Rows:
        """``(nodes,)``: the place of the name of every node's layer among the names, sorted."""
        return _ranks([node.origin.layer for node in self.nodes])

    @cached_property
    def by_origin(self) -> Rows:
        """All rows, sorted by origin, and by net where that is the same."""
        part_ranks = _ranks([node.origin.part for node in self.nodes])
        return np.lexsort((part_ranks, self.gather(lambda _, node: node.origin.number), self.layer_ranks))

    @cached_property
    def luts(self) -> Mapping[int, LutBlock]:
        """The LUTs by their fan-in, ascending."""
        rows = self.rows_where(Lut)
        fan_ins = self.pin_counts[rows]
        return {fan_in: self._lut_block(rows[fan_ins == fan_in], fan_in) for fan_in in distinct(fan_ins).tolist()}

    def _lut_block(self, rows: Rows, fan_in: int) -> LutBlock:
        ops = (self.nodes[row].op for row in rows.tolist())
        tables = tables_to_bools([op.table for op in ops if isinstance(op, Lut)], fan_in)
        return LutBlock(rows, self.operands[self.starts[rows][:, np.newaxis] + np.arange(fan_in)], tables)

    def pins_of(self, rows: Rows) -> Rows:
        """The places of the pins of ``rows``, node after node."""
        return ranges(self.starts[rows], self.pin_counts[rows])

    # -- order -----------------------------------------------------------------------------------------------------

    @cached_property
    def levels(self) -> Sequence[Rows]:
        """Rows by level: nodes without operands first, then those that read only them, and so on.

        Within a level, whose last operand comes earlier is earlier, and of equal ones the lower net. Raises
        :class:`GraphError` if there is a loop.
        """
        readers, starts, counts = self._readers_by_operand
        missing = self.pin_counts.copy()
        last_operand = np.zeros(len(self), dtype=np.int64)
        levels: list[Rows] = []
        placed, ready = 0, np.flatnonzero(missing == 0)
        while ready.size:
            levels.append(ready)
            reading = readers[ranges(starts[ready], counts[ready])]
            last_operand[reading] = np.repeat(np.arange(placed, placed + len(ready)), counts[ready])  # the last holds
            np.subtract.at(missing, reading, 1)
            placed += len(ready)
            complete = distinct(reading[missing[reading] == 0])
            ready = complete[np.argsort(last_operand[complete], kind="stable")]
        if placed < len(self):
            raise GraphError(f"the graph has a loop: {' -> '.join(self._find_loop())}")
        return levels

    def _find_loop(self) -> list[str]:
        edges = nx.DiGraph(zip(self.operands.tolist(), self.readers.tolist(), strict=True))
        return [self._describe(row) for row, *_ in nx.find_cycle(edges)]

    def _describe(self, row: int) -> str:
        node = self.nodes[row]
        return f"{node.op.kind} {node.origin} (net {self.nets[row]})"

    @cached_property
    def _readers_by_operand(self) -> tuple[Rows, Rows, Rows]:
        """``(pins,)`` readers sorted by what they read; ``(nodes,)`` where those of each node start, and how many."""
        by_operand = np.argsort(self.operands, kind="stable")
        counts = np.bincount(self.operands, minlength=len(self))
        return self.readers[by_operand], np.cumsum(counts) - counts, counts

    @cached_property
    def level(self) -> Rows:
        """``(nodes,)``: the level of every node."""
        level = np.zeros(len(self), dtype=np.int64)
        for number, rows in enumerate(self.levels):
            level[rows] = number
        return level

    @cached_property
    def order(self) -> Rows:
        """All rows, level by level."""
        return np.concatenate([*self.levels, np.zeros(0, dtype=np.int64)])

    @cached_property
    def position(self) -> Rows:
        """``(nodes,)``: the place of every row in :attr:`order`."""
        position = np.empty(len(self), dtype=np.int64)
        position[self.order] = np.arange(len(self))
        return position

    def readers_of(self, net: int) -> Rows:
        """The rows that read a net of the graph."""
        readers, starts, counts = self._readers_by_operand
        row = self.row_of(net)
        return readers[starts[row] : starts[row] + counts[row]]

    def longest_path_before(self, weights: NDArray[np.int64], pins: NDArray[np.bool_] | None = None) -> Rows:
        """``(nodes,)``: the greatest sum of ``weights`` ``(nodes,)`` along a path that ends right before each node.

        Paths go only through the pins marked in ``pins`` ``(pins,)``, if that is given.
        """
        before = np.zeros(len(self), dtype=np.int64)
        for rows in self.levels[1:]:
            places = self.pins_of(rows)
            operands = self.operands[places]
            reached = before[operands] + weights[operands]
            if pins is not None:
                reached[~pins[places]] = 0
            counts = self.pin_counts[rows]
            before[rows] = np.maximum.reduceat(reached, np.cumsum(counts) - counts)
        return before


def _ranks(texts: Sequence[str]) -> Rows:
    """The place of every text among the different ones, sorted."""
    rank = {text: place for place, text in enumerate(sorted(set(texts)))}
    return np.fromiter(map(rank.__getitem__, texts), dtype=np.int64, count=len(texts))


def distinct(values: Rows) -> Rows:
    """The different ones among ``values``, ascending; by sorting, which for many of them is faster than by hashing."""
    ascending = np.sort(values)
    return ascending[np.diff(ascending, prepend=-1) != 0] if len(values) else ascending


def ranges(starts: Rows, counts: Rows) -> Rows:
    """``starts[0]`` and the next ones, ``counts[0]`` in all, then those from ``starts[1]`` on, and so on."""
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum())) + np.repeat(starts - ends + counts, counts)
