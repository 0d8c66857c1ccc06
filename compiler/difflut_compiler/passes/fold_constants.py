"""``fold-constants``: compute now what depends only on constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.graph import LutGraph
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class FoldConstants:
    """Cofactor LUTs by constant operands; comparators that are always or never true become constants.

    One sweep in topological order, so that a constant found is used by every later node. What can be folded is said
    by each operation itself (:meth:`Op.fold`).
    """

    name: ClassVar[str] = "fold-constants"

    def apply(self, graph: LutGraph) -> PassResult:
        changed = False
        for net in graph.order():
            folded = graph.node(net).op.fold(graph.operands(net))
            if folded is not None:
                operands = graph.node(net).operands
                graph.replace(net, folded.op, (operands[position] for position in folded.kept))
                changed = True
        return PassResult(changed)
