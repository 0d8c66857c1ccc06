"""``drop-dead``: remove what no output can see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Input
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class DropDead:
    """Keep the cone of the outputs, and every input: the ports of the circuit belong to its user."""

    name: ClassVar[str] = "drop-dead"

    def apply(self, graph: LutGraph) -> PassResult:
        alive: set[int] = set()
        pending = graph.outputs()
        while pending:
            net = pending.pop()
            if net not in alive:
                alive.add(net)
                pending.extend(graph.node(net).operands)
        dead = [net for net in graph if net not in alive and not isinstance(graph.node(net).op, Input)]
        graph.remove(dead)
        return PassResult(bool(dead))
