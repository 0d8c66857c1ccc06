"""``fold-constants``: compute now what depends only on constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from difflut_compiler.arrays import GraphArrays, Rows
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Const, Mux, Op, Operand, Output, Register
from difflut_compiler.passes.runner import PassResult
from difflut_compiler.passes.sweep import Sweep


@dataclass(frozen=True)
class FoldConstants:
    """Cofactor LUTs by constant operands; sums, comparisons and choices that constants decide become what they are.

    One sweep in topological order, so that a constant found is used by every later node; what no constant reaches is
    not visited. What can be folded is said by each operation itself (:meth:`Op.fold`). Nodes of the layers ``keep``
    stay what they are.
    """

    keep: frozenset[str] = frozenset()
    name: ClassVar[str] = "fold-constants"

    def apply(self, graph: LutGraph) -> PassResult:
        changed = False
        replaced: dict[int, int] = {}
        sweep = Sweep(graph.arrays(), _may_fold(graph.arrays()))
        for net in sweep:
            node = graph.node(net)
            operands = tuple(replaced.get(operand, operand) for operand in node.operands)
            if operands != node.operands:
                graph.replace(net, node.op, operands)
                sweep.add_readers(net)
            folded = node.op.fold(graph.operands(net))
            if folded is None or node.origin.layer in self.keep:
                continue
            sweep.add_readers(net)
            kept = [operands[position] for position in folded.kept]
            if not _may_have_width(graph, net, _width_of(graph, folded.op, kept)):
                continue
            if folded.op is not None:
                graph.replace(net, folded.op, kept)
                changed = True
            else:
                replaced[net] = kept[0]
        graph.remove(replaced)
        return PassResult(changed or bool(replaced), replaced)


def _may_fold(arrays: GraphArrays) -> Rows:
    """All nodes but the LUTs that read no constant and can answer both 0 and 1."""
    has_constant = np.zeros(len(arrays), dtype=np.bool_)
    has_constant[arrays.rows_where(Const)] = True
    may_fold = ~arrays.is_lut | arrays.reads_any(has_constant)
    for block in arrays.luts.values():
        may_fold[block.rows] |= block.tables.all(axis=1) | ~block.tables.any(axis=1)
    return np.flatnonzero(may_fold)


def _width_of(graph: LutGraph, op: Op | None, operands: list[int]) -> int:
    """The width of an operation on these nets; of the only one if there is no operation."""
    if op is None:
        return graph.node(operands[0]).width
    return op.width([Operand(graph.node(net).op, graph.node(net).width) for net in operands])


def _may_have_width(graph: LutGraph, net: int, width: int) -> bool:
    """Whether ``net`` may get another width: no port may become narrower."""
    return width == graph.node(net).width or not _gives_a_port_its_width(graph, net)


def _gives_a_port_its_width(graph: LutGraph, net: int) -> bool:
    readers = [(reader, graph.node(reader).op) for reader in graph.dag.successors(net)]
    return any(
        isinstance(op, Output) or (isinstance(op, Mux | Register) and _gives_a_port_its_width(graph, reader))
        for reader, op in readers
    )
