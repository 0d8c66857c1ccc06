"""What the importers of netlists share: limits, names of outputs, and a graph of one layer of logic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from difflut_compiler.errors import CompilerError, ImportFileError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.names import check_identifier
from difflut_compiler.ops import Const, Input, Lut, Output

MAX_FILE_BYTES = 1 << 30
MAX_NODES = 2_000_000

INPUT, LOGIC, OUTPUT = "input", "logic", "output"


def read_limited(path: Path) -> bytes:
    """The contents of a file that is not larger than the limit."""
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ImportFileError(path, f"has {size} bytes, the limit is {MAX_FILE_BYTES}")
    return path.read_bytes()


class LogicBuilder:
    """A graph with single-bit inputs, one layer of look-up tables and single-bit outputs."""

    def __init__(self, path: Path, name: str, inputs: Iterable[str]) -> None:
        self.path = path
        self.graph = LutGraph(name, (INPUT, LOGIC, OUTPUT))
        self.inputs = [
            self.graph.add(Input(input_name, 1), origin=Origin(INPUT, number))
            for number, input_name in enumerate(inputs)
        ]
        self._constants: dict[bool, int] = {}

    def constant(self, value: bool) -> int:
        if value not in self._constants:
            self._constants[value] = self._add(Const(int(value)), ())
        return self._constants[value]

    def table(self, table: int, operands: Sequence[int]) -> int:
        return self._add(Lut(len(operands), table), operands)

    def _add(self, op: Const | Lut, operands: Sequence[int]) -> int:
        number = len(self.graph) - len(self.inputs)
        if number >= MAX_NODES:
            raise ImportFileError(self.path, f"has more than {MAX_NODES} nodes, which is the limit")
        return self.graph.add(op, operands, origin=Origin(LOGIC, number))

    def finish(self, outputs: Sequence[tuple[str, int]]) -> LutGraph:
        """Add the outputs under legal names and return the graph."""
        if not outputs:
            raise ImportFileError(self.path, "has no output")
        names = legal_names([name for name, _ in outputs])
        for number, (name, (_, net)) in enumerate(zip(names, outputs, strict=True)):
            self.graph.add(Output(name), (net,), origin=Origin(OUTPUT, number))
        self.graph.verify()
        return self.graph


def legal_names(names: Sequence[str]) -> list[str]:
    """A portable identifier of its own for every name, as like it as can be: ``Out[3]`` becomes ``out_3``."""
    found: dict[str, None] = {}
    for number, name in enumerate(names):
        legal = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
        found[legal if _is_free(legal, found) else _numbered(number, found)] = None
    return list(found)


def _numbered(number: int, taken: dict[str, None]) -> str:
    name = f"y_{number}"
    while name in taken:
        name += "_y"
    return name


def _is_free(name: str, taken: dict[str, None]) -> bool:
    try:
        check_identifier(name, "an output")
    except CompilerError:
        return False
    return name not in taken
