"""``pack-luts``: a LUT moves into its readers where they have room for what it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from difflut_compiler.arrays import GraphArrays, Rows
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Lut, bools_to_table
from difflut_compiler.passes.runner import PassResult
from difflut_compiler.passes.sweep import Sweep
from difflut_compiler.passes.windows import look_up


@dataclass(frozen=True)
class PackLuts:
    """Remove LUTs that all of their readers can compute themselves, each still a LUT of at most ``inputs`` pins.

    Every LUT that goes is one less and no other one is added, so a circuit never grows.
    """

    inputs: int = 6
    name: ClassVar[str] = "pack-luts"

    def apply(self, graph: LutGraph) -> PassResult:
        packed: set[int] = set()
        arrays = graph.arrays()
        sweep = Sweep(arrays, _may_be_packed(arrays, self.inputs))
        for net in sweep:
            if isinstance(graph.node(net).op, Lut) and self._has_room(graph, net):
                for reader in list(graph.dag.successors(net)):
                    _pack(graph, net, reader)
                    # The reader's pins are others now: it may have room for what it reads, and fit into its readers.
                    sweep.add(arrays.rows_of([reader, *graph.node(reader).operands]))
                packed.add(net)
        graph.remove(packed)
        return PassResult(bool(packed), opened=packed)

    def _has_room(self, graph: LutGraph, net: int) -> bool:
        """Whether all readers of ``net`` are LUTs with room for its operands."""
        operands = graph.node(net).operands
        readers = [graph.node(reader) for reader in graph.dag.successors(net)]
        return bool(readers) and all(
            isinstance(reader.op, Lut) and len({*reader.operands, *operands} - {net}) <= self.inputs
            for reader in readers
        )


def _may_be_packed(arrays: GraphArrays, inputs: int) -> Rows:
    """LUTs whose readers, as they are now, are all LUTs with room for what they read."""
    has_room = np.zeros(len(arrays.readers), dtype=np.bool_)
    for outer in arrays.luts.values():
        for inner in arrays.luts.values():
            places = np.full(len(arrays), -1, dtype=np.int64)
            places[inner.rows] = np.arange(len(inner.rows))
            for pin in range(outer.operands.shape[1]):
                place = places[outer.operands[:, pin]]
                found = np.flatnonzero(place >= 0)
                new = _count_new(inner.operands[place[found]], outer.operands[found])
                kept = _count_distinct(outer.operands[found]) - 1
                has_room[arrays.starts[outer.rows[found]] + pin] = kept + new <= inputs
    is_read = np.zeros(len(arrays), dtype=np.bool_)
    is_read[arrays.operands] = True
    is_read[arrays.operands[~has_room]] = False
    return np.flatnonzero(is_read & arrays.is_lut)


def _count_distinct(nets: Rows) -> Rows:
    """How many different nets every row of ``nets`` ``(rows, pins)`` has."""
    ascending = np.sort(nets, axis=1)
    count: Rows = 1 + (ascending[:, 1:] != ascending[:, :-1]).sum(axis=1)
    return count


def _count_new(nets: Rows, known: Rows) -> Rows:
    """How many different nets of every row of ``nets`` are not in the same row of ``known``."""
    is_new = ~(nets[:, :, np.newaxis] == known[:, np.newaxis, :]).any(axis=2)
    for pin in range(1, nets.shape[1]):
        is_new[:, pin] &= ~(nets[:, :pin] == nets[:, pin : pin + 1]).any(axis=1)
    count: Rows = is_new.sum(axis=1)
    return count


def _pack(graph: LutGraph, net: int, reader: int) -> None:
    """Let ``reader`` compute ``net`` itself."""
    inner, outer = graph.node(net), graph.node(reader)
    assert isinstance(inner.op, Lut)
    assert isinstance(outer.op, Lut)
    pins = list(dict.fromkeys(operand for operand in (*outer.operands, *inner.operands) if operand != net))
    addresses = np.arange(1 << len(pins))
    columns = {pin: (addresses >> place & 1).astype(np.bool_) for place, pin in enumerate(pins)}
    columns[net] = look_up(inner.op, [columns[operand] for operand in inner.operands])
    table = look_up(outer.op, [columns[operand] for operand in outer.operands])
    graph.replace(reader, Lut(len(pins), bools_to_table(table)), pins)
