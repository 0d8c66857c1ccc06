"""``drop-unused-inputs``: a LUT keeps only the pins that can change its output, each net at most once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.arrays import GraphArrays
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Lut, bools_to_table, rewire_pins, table_to_bools
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class DropUnusedInputs:
    """Join pins that read the same net, and drop pins that no table entry depends on."""

    name: ClassVar[str] = "drop-unused-inputs"

    def apply(self, graph: LutGraph) -> PassResult:
        joined = _with_equal_pins(graph.arrays())
        for net in joined:
            _join_equal_pins(graph, net)
        dropped = [net for net, unused in _unused_pins(graph.arrays()) if _drop_pins(graph, net, unused)]
        return PassResult(bool(joined or dropped))


def _with_equal_pins(arrays: GraphArrays) -> list[int]:
    """LUTs that read a net twice."""
    blocks = [(block, np.sort(block.operands, axis=1)) for block in arrays.luts.values()]
    return [
        net
        for block, read in blocks
        for net in arrays.nets[block.rows[(read[:, 1:] == read[:, :-1]).any(axis=1)]].tolist()
    ]


def _join_equal_pins(graph: LutGraph, net: int) -> None:
    """A LUT that reads one net on two pins only ever sees the addresses where both bits are equal."""
    node = graph.node(net)
    assert isinstance(node.op, Lut)
    distinct = list(dict.fromkeys(node.operands))
    pin_of = [distinct.index(operand) for operand in node.operands]
    graph.replace(net, rewire_pins(node.op, pin_of, len(distinct)), distinct)


def _unused_pins(arrays: GraphArrays) -> list[tuple[int, NDArray[np.bool_]]]:
    """LUTs with at least one pin that does not matter, and which pins; all LUTs of one fan-in at once."""
    found = []
    for fan_in, block in arrays.luts.items():
        unused = np.stack([_ignores(block.tables, position) for position in range(fan_in)], axis=1)
        rows = np.flatnonzero(unused.any(axis=1))
        found += list(zip(arrays.nets[block.rows[rows]].tolist(), unused[rows], strict=True))
    return found


def _ignores(tables: NDArray[np.bool_], position: int) -> NDArray[np.bool_]:
    """Which of ``tables`` ``(luts, 2**n)`` have equal halves for address bit ``position``."""
    halves = tables.reshape(len(tables), -1, 2, 1 << position)
    equal: NDArray[np.bool_] = (halves[:, :, 0] == halves[:, :, 1]).all(axis=(1, 2))
    return equal


def _drop_pins(graph: LutGraph, net: int, unused: NDArray[np.bool_]) -> bool:
    """Keep the table's entries at unused pins = 0; a LUT that depends on nothing is left to fold-constants."""
    node = graph.node(net)
    assert isinstance(node.op, Lut)
    kept = np.flatnonzero(~unused) if not unused.all() else np.array([0])
    if len(kept) == node.op.fan_in:
        return False
    addresses = ((np.arange(1 << len(kept))[:, np.newaxis] >> np.arange(len(kept)) & 1) << kept).sum(axis=1)
    table = table_to_bools(node.op.table, node.op.fan_in)[addresses]
    graph.replace(net, Lut(len(kept), bools_to_table(table)), [node.operands[pin] for pin in kept])
    return True
