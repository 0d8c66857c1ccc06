"""``use-dont-cares``: what a LUT answers at an address that cannot occur is free, and pins that need not matter go.

Two reasons why addresses cannot occur are looked for: of the comparators of one feature each implies those with lower
thresholds, and logic that pins have in common correlates them. Both are found by trying everything that can enter a
small window of the circuit before the pins. That no other input of the circuit makes such an address is certain, not
observed: the proof of this pass opens the nets of the windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.arrays import GraphArrays, Rows, distinct, ranges
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Compare, Lut, bools_to_table, table_to_bools
from difflut_compiler.passes.runner import PassResult
from difflut_compiler.passes.windows import grow_window

NEAR_NETS = 24
LUTS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class UseDontCares:
    """Drop pins that matter only at impossible addresses, as seen in windows of at most ``rows`` combinations."""

    rows: int = 512
    name: ClassVar[str] = "use-dont-cares"

    def apply(self, graph: LutGraph) -> PassResult:
        near = _Neighbourhoods(graph)
        opened: set[int] = set()
        smaller: list[tuple[int, Lut, tuple[int, ...]]] = []
        for fan_in, nets, possible in self._luts_with_dont_cares(graph, near, opened):
            tables = np.stack([_table_of(graph, net) for net in nets])
            for row, kept in _drop_pins(tables, np.stack(possible), fan_in):
                operands = graph.node(nets[row]).operands
                addresses = (1 << kept) @ (np.arange(1 << len(kept)) >> np.arange(len(kept))[:, np.newaxis] & 1)
                op = Lut(len(kept), bools_to_table(tables[row, addresses]))
                smaller.append((nets[row], op, tuple(operands[pin] for pin in kept)))
        for net, op, operands in smaller:
            graph.replace(net, op, operands)
        return PassResult(bool(smaller), opened=opened if smaller else frozenset())

    def _luts_with_dont_cares(
        self, graph: LutGraph, near: _Neighbourhoods, opened: set[int]
    ) -> Iterator[tuple[int, list[int], list[NDArray[np.bool_]]]]:
        """By fan-in, the LUTs with impossible addresses, and for each which addresses ``(2**fan_in,)`` are possible."""
        found: dict[int, list[tuple[int, NDArray[np.bool_]]]] = defaultdict(list)
        for net in near.luts_with_related_pins():
            operands = graph.node(net).operands
            possible = np.ones(1 << len(operands), dtype=np.bool_)
            for pins in near.related(operands):
                if self._can_rule_out(near, [operands[pin] for pin in pins]):
                    possible &= self._possible(graph, operands, pins, opened)
            if not possible.all():
                found[len(operands)].append((net, possible))
        for fan_in, luts in sorted(found.items()):
            yield fan_in, [net for net, _ in luts], [possible for _, possible in luts]

    def _can_rule_out(self, near: _Neighbourhoods, nets: Sequence[int]) -> bool:
        """Whether the window of some nets can show anything: a comparator, a net before another, or two opened LUTs.

        A window with fewer opened LUTs has only free leaves. Every word or free net before two LUTs at least doubles
        the window's rows.
        """
        if not all(near.is_lut(net) for net in nets):
            return True
        if any(net in near.near(other) for net, other in permutations(nets, 2)):
            return True
        pairs = combinations(map(near.sources, nets), 2)
        return any(1 << len(one | other) <= self.rows for one, other in pairs)

    def _possible(
        self, graph: LutGraph, operands: Sequence[int], pins: Sequence[int], opened: set[int]
    ) -> NDArray[np.bool_]:
        """Which addresses can occur, as far as ``pins`` rule any out."""
        nets = [operands[pin] for pin in pins]
        window = grow_window(graph, nets, self.rows)
        if window.rows > self.rows:
            return np.ones(1 << len(operands), dtype=np.bool_)
        seen = window.combinations(nets)
        if not seen.all():
            opened.update(window.inner)
            opened.update(net for group in window.levels for net in group)
        address = np.arange(1 << len(operands))[:, np.newaxis] >> np.array(pins) & 1
        possible: NDArray[np.bool_] = seen[(address << np.arange(len(pins))).sum(axis=1)]
        return possible


class _Neighbourhoods:
    """Which nets lie closely before a net: pins with a common one may be correlated."""

    def __init__(self, graph: LutGraph) -> None:
        self._graph = graph
        self._arrays = graph.arrays()
        self._near_rows = _near_rows(self._arrays)
        self._near: dict[int, frozenset[int]] = {}
        self._sources: dict[int, frozenset[int]] = {}

    def luts_with_related_pins(self) -> list[int]:
        """The LUTs, in topological order, of which two pins have anything near in common."""
        arrays = self._arrays
        starts, near = self._near_rows
        related = np.zeros(len(arrays), dtype=np.bool_)
        for block in arrays.luts.values():
            for first in range(0, len(block.rows), LUTS_AT_ONCE):
                part = slice(first, first + LUTS_AT_ONCE)
                read = block.operands[part].reshape(-1)
                counts = starts[read + 1] - starts[read]
                reader = np.repeat(np.repeat(np.arange(len(block.rows[part])), block.operands.shape[1]), counts)
                keys = np.sort(reader * len(arrays) + near[ranges(starts[read], counts)])
                related[block.rows[part][keys[1:][keys[1:] == keys[:-1]] // len(arrays)]] = True
        nets: list[int] = arrays.nets[arrays.order[related[arrays.order]]].tolist()
        return nets

    def related(self, operands: Sequence[int]) -> list[list[int]]:
        """Groups of two pins or more that have logic in common, directly or by way of each other."""
        groups: list[tuple[set[int], list[int]]] = []
        for pin, operand in enumerate(operands):
            nets, pins = set(self.near(operand)), [pin]
            apart = []
            for group in groups:
                if group[0].isdisjoint(nets):
                    apart.append(group)
                else:
                    nets, pins = nets | group[0], group[1] + pins
            groups = [*apart, (nets, pins)]
        return [sorted(pins) for _, pins in groups if len(pins) > 1]

    def near(self, net: int) -> frozenset[int]:
        """``net``, what it reads, what that reads, and so on, as long as these are few; a comparator's word, too."""
        if net not in self._near:
            starts, near = self._near_rows
            row = self._arrays.row_of(net)
            self._near[net] = frozenset(self._arrays.nets[near[starts[row] : starts[row + 1]]].tolist())
        return self._near[net]

    def sources(self, net: int) -> frozenset[int]:
        """What ``net`` reads, the word itself for a comparator of it."""
        if net not in self._sources:
            nodes = self._graph.nodes
            self._sources[net] = frozenset(
                nodes[operand].operands[0] if isinstance(nodes[operand].op, Compare) else operand
                for operand in nodes[net].operands
            )
        return self._sources[net]

    def is_lut(self, net: int) -> bool:
        return isinstance(self._graph.node(net).op, Lut)


def _near_rows(arrays: GraphArrays) -> tuple[Rows, Rows]:
    """For every row that a LUT reads, the rows near it, see :meth:`_Neighbourhoods.near`, and where they start."""
    size = len(arrays)
    asked = np.zeros(size, dtype=np.bool_)
    for block in arrays.luts.values():
        asked[block.operands] = True
    is_opened = np.zeros(size, dtype=np.bool_)
    is_opened[arrays.rows_where(Lut, Compare)] = True
    near = latest = np.flatnonzero(asked) * (size + 1)  # pairs: the row that asks times the size, plus what is near it
    while latest.size:
        opened = latest[is_opened[latest % size]]
        askers = np.repeat(opened // size, arrays.pin_counts[opened % size])
        read = distinct(askers * size + arrays.operands[arrays.pins_of(opened % size)])
        latest = read[near[np.searchsorted(near, read) % len(near)] != read]
        count = np.bincount(near // size, minlength=size) + np.bincount(latest // size, minlength=size)
        latest = latest[count[latest // size] <= NEAR_NETS]
        near = np.sort(np.concatenate([near, latest]))
    return np.searchsorted(near, np.arange(size + 1) * size), near % size


def _table_of(graph: LutGraph, net: int) -> NDArray[np.bool_]:
    op = graph.node(net).op
    assert isinstance(op, Lut)
    return table_to_bools(op.table, op.fan_in)


def _drop_pins(
    tables: NDArray[np.bool_], possible: NDArray[np.bool_], fan_in: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Pin by pin, drop those that no two possible addresses tell apart; yields rows and the pins they keep.

    ``tables`` ``(luts, 2**fan_in)`` are changed: where a pin goes, both of its halves become the same. A LUT that needs
    no pin keeps one and is left to fold-constants.
    """
    kept = np.ones((len(tables), fan_in), dtype=np.bool_)
    possible = possible.copy()
    for pin in range(fan_in):
        # Views, so that assignments to a half change the tables.
        table = tables.reshape(len(tables), -1, 2, 1 << pin)
        seen = possible.reshape(table.shape)
        differ = seen[:, :, 0] & seen[:, :, 1] & (table[:, :, 0] != table[:, :, 1])
        needless = ~differ.any(axis=(1, 2))
        joined = np.where(seen[needless, :, 0], table[needless, :, 0], table[needless, :, 1])
        table[needless] = joined[:, :, np.newaxis]
        seen[needless] = seen[needless].any(axis=2, keepdims=True)
        kept[needless, pin] = False
    kept[~kept.any(axis=1), 0] = True
    for row in np.flatnonzero(~kept.all(axis=1)):
        yield int(row), np.flatnonzero(kept[row])
