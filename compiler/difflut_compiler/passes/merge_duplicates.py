"""``merge-duplicates``: nets that are computed the same way from the same nets become one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.arrays import GraphArrays, Rows, distinct
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import INVERTER, Input, Output
from difflut_compiler.passes.runner import PassResult

ENTRIES_AT_ONCE = 1 << 24
"""Table entries that are put into another order in one go."""


@dataclass(frozen=True)
class MergeDuplicates:
    """Structural hashing level by level; LUTs whose pins are only permuted count as equal.

    A LUT that always answers the opposite of another one becomes an inverter behind it, which its readers can absorb.
    Registers are not merged: this pass runs before they are placed. The net of the earliest layer stays, so that the
    rule "operands come from the same or earlier layers" is kept.
    """

    name: ClassVar[str] = "merge-duplicates"

    def apply(self, graph: LutGraph) -> PassResult:
        merge = _Merge(graph)
        for rows in graph.arrays().levels:  # equal nets read equal nets, so they are in the same level
            merge.merge_level(rows)
        merge.rewrite()
        return PassResult(bool(merge.opened), merge.replaced, merge.opened)


@dataclass
class _Merge:
    """What is found to be equal: ``keeper`` ``(nodes,)`` is the row that every row is replaced by, mostly itself."""

    graph: LutGraph
    replaced: dict[int, int] = field(default_factory=dict)
    opposites: dict[int, int] = field(default_factory=dict)
    opened: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.arrays: GraphArrays = self.graph.arrays()
        self.keeper: Rows = np.arange(len(self.arrays))
        place = {name: number for number, name in enumerate(self.graph.layers)}
        layer = self.arrays.gather(lambda _, node: place[node.origin.layer])
        self.rank = np.empty(len(self.arrays), dtype=np.int64)
        self.rank[np.lexsort((self.arrays.position, layer))] = np.arange(len(self.arrays))

    def merge_level(self, rows: Rows) -> None:
        is_lut = self.arrays.is_lut[rows]
        luts = rows[is_lut]
        fan_ins = self.arrays.pin_counts[luts]
        for fan_in in distinct(fan_ins).tolist():
            for group, inverted in self._equal_luts(luts[fan_ins == fan_in], fan_in):
                self._merge_luts(group, inverted, can_invert=fan_in > 1)
        for others in self._equal_others(rows[~is_lut]):
            for row in others[1:]:
                self._replace(row, others[0])

    def _equal_luts(self, rows: Rows, fan_in: int) -> Iterator[tuple[list[int], list[bool]]]:
        """Groups of LUTs that are equal or opposite, the one to keep first, and whether they are inverted."""
        block = self.arrays.luts[fan_in]
        places = np.searchsorted(block.rows, rows)
        operands = self.keeper[block.operands[places]]
        pins = np.argsort(operands, axis=1, kind="stable")
        tables = _permute_pins(block.tables[places], pins)
        inverted = tables[:, 0].copy()
        tables ^= inverted[:, np.newaxis]
        operands = np.take_along_axis(operands, pins, axis=1)
        keys = np.concatenate([operands.view(np.uint8).reshape(len(rows), -1), np.packbits(tables, axis=1)], axis=1)
        for members in _equal_rows(keys):
            members = members[np.argsort(self.rank[rows[members]])]
            yield rows[members].tolist(), inverted[members].tolist()

    def _merge_luts(self, rows: list[int], inverted: list[bool], *, can_invert: bool) -> None:
        first: dict[bool, int] = {}
        for row, is_inverted in zip(rows, inverted, strict=True):
            if is_inverted in first:
                self._replace(row, first[is_inverted])
            elif first and can_invert:
                opposite = first[not is_inverted]
                self.opposites[row] = opposite
                self.opened.add(int(self.arrays.nets[opposite]))
            first.setdefault(is_inverted, row)

    def _equal_others(self, rows: Rows) -> Iterator[list[int]]:
        """Groups of other nodes that are equal, the one to keep first."""
        groups: dict[Hashable, list[int]] = {}
        for row in rows[np.argsort(self.rank[rows])].tolist():
            op = self.arrays.nodes[row].op
            if not isinstance(op, Input | Output):
                groups.setdefault((op, *self._operands(row)), []).append(row)
        return (group for group in groups.values() if len(group) > 1)

    def _operands(self, row: int) -> list[int]:
        """The rows that a node reads once what they are equal to has replaced them."""
        start = self.arrays.starts[row]
        operands: list[int] = self.keeper[self.arrays.operands[start : start + self.arrays.pin_counts[row]]].tolist()
        return operands

    def _replace(self, row: int, keeper: int) -> None:
        self.keeper[row] = keeper
        nets = self.arrays.nets
        self.replaced[int(nets[row])] = int(nets[keeper])
        self.opened.add(int(nets[keeper]))

    def rewrite(self) -> None:
        """Let the graph be what was found."""
        arrays = self.arrays
        is_replaced = self.keeper != np.arange(len(arrays))
        rewired = np.flatnonzero(arrays.reads_any(is_replaced) & ~is_replaced)
        for row in rewired[np.argsort(self.rank[rewired])].tolist():
            self.graph.replace(int(arrays.nets[row]), arrays.nodes[row].op, arrays.nets[self._operands(row)].tolist())
        for row, opposite in self.opposites.items():
            self.graph.replace(int(arrays.nets[row]), INVERTER, (int(arrays.nets[opposite]),))
        self.graph.remove(self.replaced)


def _permute_pins(tables: NDArray[np.bool_], pins: Rows) -> NDArray[np.bool_]:
    """``(luts, 2**n)``: the tables when pin ``p`` is what pin ``pins[lut, p]`` was."""
    fan_in = pins.shape[1]
    bits = np.arange(1 << fan_in)[:, np.newaxis] >> np.arange(fan_in) & 1
    step = max(1, ENTRIES_AT_ONCE >> fan_in)
    parts = [
        np.take_along_axis(tables[start : start + step], (1 << pins[start : start + step]) @ bits.T, axis=1)
        for start in range(0, len(tables), step)
    ]
    return np.concatenate(parts)


def _equal_rows(keys: NDArray[np.uint8]) -> Iterator[Rows]:
    """Groups of two or more equal rows of ``keys`` ``(rows, bytes)``."""
    whole = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1])))[:, 0]
    _, group, sizes = np.unique(whole, return_inverse=True, return_counts=True)
    equal = np.flatnonzero(sizes[group] > 1)
    by_group = equal[np.argsort(group[equal], kind="stable")]
    yield from np.split(by_group, np.flatnonzero(np.diff(group[by_group])) + 1) if by_group.size else []
