"""``drop-dead``: remove what no output can see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Input, Output
from difflut_compiler.passes.runner import PassResult


@dataclass(frozen=True)
class DropDead:
    """Keep the cone of the outputs, and every input: the ports of the circuit belong to its user."""

    name: ClassVar[str] = "drop-dead"

    def apply(self, graph: LutGraph) -> PassResult:
        arrays = graph.arrays()
        alive = np.zeros(len(arrays), dtype=np.bool_)
        alive[arrays.rows_where(Output)] = True
        for rows in reversed(arrays.levels):
            alive[arrays.operands[arrays.pins_of(rows[alive[rows]])]] = True
        alive[arrays.rows_where(Input)] = True
        dead = arrays.nets[~alive].tolist()
        graph.remove(dead)
        return PassResult(bool(dead))
