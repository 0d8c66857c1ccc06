"""``absorb-inverters``: whoever reads a buffer or an inverter reads what is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from difflut_compiler.arrays import GraphArrays, Rows
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import BUFFER, INVERTER, Lut, complement_pins
from difflut_compiler.passes.runner import PassResult
from difflut_compiler.passes.sweep import Sweep


class _Source(NamedTuple):
    """The net behind buffers and inverters, and whether there is an odd number of inverters."""

    net: int
    inverted: bool


@dataclass(frozen=True)
class AbsorbInverters:
    """Nothing reads a buffer any more; a LUT reads no inverter: its table answers for the inverted pin.

    An inverter that something else reads, a count say, stays.
    """

    name: ClassVar[str] = "absorb-inverters"

    def apply(self, graph: LutGraph) -> PassResult:
        sources: dict[int, _Source] = {}
        replaced: dict[int, int] = {}
        opened: set[int] = set()
        sweep = Sweep(graph.arrays(), _buffers_and_inverters(graph.arrays()))
        for net in sweep:
            node = graph.node(net)
            operands = [replaced.get(operand, operand) for operand in node.operands]
            op = node.op
            if isinstance(op, Lut):
                seen = [sources.get(operand, _Source(operand, False)) for operand in operands]
                opened.update(operand for operand in operands if operand in sources)
                op = complement_pins(op, [source.inverted for source in seen])
                operands = [source.net for source in seen]
            if (op, tuple(operands)) != (node.op, node.operands):
                graph.replace(net, op, operands)
            if op == BUFFER:
                replaced[net] = operands[0]
            elif op == INVERTER:
                sources[net] = _Source(operands[0], True)
            if op in (BUFFER, INVERTER):
                sweep.add_readers(net)
        graph.remove(replaced)
        return PassResult(bool(replaced or opened), replaced, opened)


def _buffers_and_inverters(arrays: GraphArrays) -> Rows:
    if 1 not in arrays.luts:
        return np.zeros(0, dtype=np.int64)
    single = arrays.luts[1]
    rows: Rows = single.rows[single.tables[:, 0] != single.tables[:, 1]]
    return rows
