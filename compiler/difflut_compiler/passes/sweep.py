"""Visiting only what may change: nets and, where they changed, their readers, operands before readers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from difflut_compiler.arrays import GraphArrays, Rows


class Sweep:
    """Visits rows of a graph, and those that are added on the way, in topological order.

    What is added for a place that the sweep has passed is not visited.
    """

    def __init__(self, arrays: GraphArrays, rows: Rows) -> None:
        self._arrays = arrays
        self._pending: list[int] = arrays.position[rows].tolist()
        heapq.heapify(self._pending)
        self._place = -1

    def __iter__(self) -> Iterator[int]:
        """The nets of the rows."""
        arrays = self._arrays
        while self._pending:
            place = heapq.heappop(self._pending)
            if place > self._place:
                self._place = place
                yield int(arrays.nets[arrays.order[place]])

    def add(self, rows: Rows) -> None:
        for place in self._arrays.position[rows].tolist():
            heapq.heappush(self._pending, place)

    def add_readers(self, net: int) -> None:
        """Visit who reads ``net`` in the graph as it was when the sweep began."""
        self.add(self._arrays.readers_of(net))
