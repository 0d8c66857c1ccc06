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
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Compare, Lut, bools_to_table, table_to_bools
from difflut_compiler.passes.runner import PassResult
from difflut_compiler.passes.windows import grow_window

NEAR_NETS = 24


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
        for net in graph.order():
            node = graph.node(net)
            if isinstance(node.op, Lut) and (groups := near.related(node.operands)):
                possible = np.ones(1 << node.op.fan_in, dtype=np.bool_)
                for pins in groups:
                    possible &= self._possible(graph, node.operands, pins, opened)
                if not possible.all():
                    found[node.op.fan_in].append((net, possible))
        for fan_in, luts in sorted(found.items()):
            yield fan_in, [net for net, _ in luts], [possible for _, possible in luts]

    def _possible(
        self, graph: LutGraph, operands: Sequence[int], pins: Sequence[int], opened: set[int]
    ) -> NDArray[np.bool_]:
        """Which addresses can occur, as far as ``pins`` rule any out."""
        nets = [operands[pin] for pin in pins]
        window = grow_window(graph, nets, self.rows)
        if window.rows > self.rows:
            return np.ones(1 << len(operands), dtype=np.bool_)
        seen = np.zeros(1 << len(pins), dtype=np.bool_)
        seen[(window.values(nets).astype(np.int64) << np.arange(len(pins))[:, np.newaxis]).sum(axis=0)] = True
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
        self._near: dict[int, frozenset[int]] = {}

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
            self._near[net] = self._walk(net)
        return self._near[net]

    def _walk(self, net: int) -> frozenset[int]:
        near = {net}
        level = [net]
        while level:
            read = {operand for one in level if self._is_opened(one) for operand in self._graph.node(one).operands}
            if len(near | read) > NEAR_NETS:
                break
            level = sorted(read - near)
            near |= read
        return frozenset(near)

    def _is_opened(self, net: int) -> bool:
        return isinstance(self._graph.node(net).op, Lut | Compare)


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
