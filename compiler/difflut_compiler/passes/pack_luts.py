"""``pack-luts``: a LUT moves into its readers where they have room for what it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Lut, bools_to_table
from difflut_compiler.passes.runner import PassResult
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
        for net in graph.order():
            if isinstance(graph.node(net).op, Lut) and self._has_room(graph, net):
                for reader in list(graph.dag.successors(net)):
                    _pack(graph, net, reader)
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
