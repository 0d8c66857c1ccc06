"""BLIF: one combinational model of tables (``.names``), as Yosys, ABC and SIS write it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from difflut_compiler.errors import ImportFileError
from difflut_compiler.graph import LutGraph
from difflut_compiler.importers import ImportRequest
from difflut_compiler.importers.netlist import MAX_NODES, LogicBuilder, read_limited
from difflut_compiler.ops import MAX_FAN_IN, bools_to_table

SUPPORTED = ".model, .inputs, .outputs, .names and .end"


@dataclass
class _Table:
    """A ``.names`` with its rows: input pattern and output, each with the line that it stands in."""

    line: int
    inputs: list[str]
    rows: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass
class _Model:
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    tables: dict[str, _Table] = field(default_factory=dict)


def import_blif(request: ImportRequest) -> LutGraph:
    """The graph of a BLIF file; raises :class:`ImportFileError` naming the line."""
    path = request.path
    model = _parse(path, read_limited(path).decode("utf-8", errors="replace"))
    builder = LogicBuilder(path, request.name, model.inputs)
    nets = dict(zip(model.inputs, builder.inputs, strict=True))
    for name in _in_order(path, model):
        nets[name] = _build(builder, model.tables[name], nets)
    return builder.finish([(name, nets[name]) for name in model.outputs])


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and words, comments removed and continued lines joined."""
    words: list[str] = []
    first = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].rstrip()
        first = first or number
        words += line.removesuffix("\\").split()
        if not line.endswith("\\"):
            if words:
                yield first, words
            words, first = [], 0
    if words:
        yield first, words


def _parse(path: Path, text: str) -> _Model:
    model = _Model()
    table: _Table | None = None
    models = 0
    for line, words in _lines(text):
        keyword = words[0]
        if not keyword.startswith("."):
            if table is None:
                raise ImportFileError(path, f"{keyword[:40]!r} belongs to no .names", line)
            _add_row(path, table, words, line)
            continue
        table = None
        if keyword == ".model":
            models += 1
            if models > 1:
                raise ImportFileError(path, "a second .model; only files of one model are read", line)
        elif keyword in (".inputs", ".outputs"):
            _add_ports(path, model.inputs if keyword == ".inputs" else model.outputs, words[1:], line)
        elif keyword == ".names":
            table = _add_table(path, model, words[1:], line)
        elif keyword == ".end":
            break
        else:
            raise ImportFileError(path, f"{keyword} is not read, only {SUPPORTED}: combinational and flat", line)
    return model


def _add_ports(path: Path, ports: dict[str, int], names: list[str], line: int) -> None:
    for name in names:
        if name in ports:
            raise ImportFileError(path, f"{name} is declared twice", line)
        ports[name] = line


def _add_table(path: Path, model: _Model, names: list[str], line: int) -> _Table:
    if not names:
        raise ImportFileError(path, ".names without a net", line)
    *inputs, result = names
    if len(inputs) > MAX_FAN_IN:
        raise ImportFileError(path, f"a table of {len(inputs)} inputs; up to {MAX_FAN_IN} are read", line)
    if result in model.tables or result in model.inputs:
        raise ImportFileError(path, f"{result} is driven twice", line)
    if len(model.tables) >= MAX_NODES:
        raise ImportFileError(path, f"has more than {MAX_NODES} tables, which is the limit", line)
    model.tables[result] = _Table(line, inputs)
    return model.tables[result]


def _add_row(path: Path, table: _Table, words: list[str], line: int) -> None:
    pattern, output = ("", words[0]) if not table.inputs and len(words) == 1 else (words[0], words[-1])
    if len(words) != 1 + bool(table.inputs) or len(pattern) != len(table.inputs):
        raise ImportFileError(path, f"a row of {len(table.inputs)} inputs and an output is wanted", line)
    if not re.fullmatch("[01-]*", pattern) or output not in ("0", "1"):
        raise ImportFileError(path, "a row is made of 0, 1 and -, and its output is 0 or 1", line)
    if table.rows and table.rows[0][2] != output:
        raise ImportFileError(path, "rows of one table have different outputs", line)
    table.rows.append((line, pattern, output))


def _in_order(path: Path, model: _Model) -> Iterator[str]:
    """The nets of tables that outputs depend on, operands first."""
    done: set[str] = set(model.inputs)
    for output, line in model.outputs.items():
        stack, open_nets = [(output, line)], set[str]()
        while stack:
            name, reader = stack[-1]
            if name in done:
                stack.pop()
                continue
            if name not in model.tables:
                raise ImportFileError(path, f"nothing drives {name}", reader)
            waiting = [one for one in model.tables[name].inputs if one not in done]
            if not waiting:
                stack.pop()
                done.add(name)
                open_nets.discard(name)
                yield name
                continue
            if name in open_nets:
                raise ImportFileError(path, f"{name} depends on itself", model.tables[name].line)
            open_nets.add(name)
            stack += [(one, model.tables[name].line) for one in waiting]


def _build(builder: LogicBuilder, table: _Table, nets: dict[str, int]) -> int:
    """Input 0 of the table stands first in a row and is address bit 0 of the LUT."""
    fan_in = len(table.inputs)
    listed = np.zeros(1 << fan_in, dtype=np.bool_)
    addresses = np.arange(1 << fan_in)
    for _, pattern, _ in table.rows:
        care = sum(1 << place for place, bit in enumerate(pattern) if bit != "-")
        value = sum(1 << place for place, bit in enumerate(pattern) if bit == "1")
        listed |= addresses & care == value
    entries = listed if not table.rows or table.rows[0][2] == "1" else ~listed
    if fan_in == 0:
        return builder.constant(bool(entries[0]))
    return builder.table(bools_to_table(entries), [nets[name] for name in table.inputs])
