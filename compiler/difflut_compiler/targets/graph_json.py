"""JSON: the graph itself, for programs that go on from there; :mod:`difflut_compiler.graph_file` describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import graph_to_json
from difflut_compiler.targets.target import CircuitFiles


@dataclass(frozen=True)
class Json:
    """The optimised graph in DiffLUT's own format, which `difflut compile` takes as input, too."""

    name: ClassVar[str] = "json"
    suffix: ClassVar[str] = ".json"
    folder: ClassVar[str] = "graph"
    language: ClassVar[str] = "json"

    def write_circuit(self, graph: LutGraph, top: str) -> CircuitFiles:
        return CircuitFiles({f"{top}.json": graph_to_json(graph)})
