"""AIGER, text (.aag) and binary (.aig): AND gates and inverters without latches.

Literal ``2 * v`` is variable ``v``, the odd one after it its inverse; variable 0 is the constant false (A. Biere, "The
AIGER And-Inverter Graph (AIG) Format", 2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from difflut_compiler.errors import ImportFileError
from difflut_compiler.graph import LutGraph
from difflut_compiler.importers import ImportRequest
from difflut_compiler.importers.netlist import MAX_NODES, LogicBuilder, read_limited
from difflut_compiler.ops import INVERTER

AND_TABLES = {(False, False): 0b1000, (True, False): 0b0100, (False, True): 0b0010, (True, True): 0b0001}
"""Tables of AND gates by which of the two inputs is inverted."""


class _And(NamedTuple):
    result: int
    left: int
    right: int
    place: int


class _File(NamedTuple):
    """Literals of inputs, outputs and gates; ``place`` of a gate is its line, or in a binary file its number."""

    inputs: Sequence[int]
    outputs: Sequence[int]
    ands: Sequence[_And]
    symbols: dict[str, str]
    binary: bool


def import_aiger(request: ImportRequest) -> LutGraph:
    """The graph of an AIGER file; raises :class:`ImportFileError` naming the line, or the gate of a binary file."""
    path = request.path
    content = _parse(path, read_limited(path))
    names = [content.symbols.get(f"i{place}", f"i{place}") for place in range(len(content.inputs))]
    builder = LogicBuilder(path, request.name, names)
    nets = {literal >> 1: net for literal, net in zip(content.inputs, builder.inputs, strict=True)}
    for gate in _in_order(path, content, nets):
        operands = (gate.left, gate.right)
        if min(operands) < 2:
            nets[gate.result >> 1] = _fold(builder, nets, *operands)
        else:
            table = AND_TABLES[bool(gate.left & 1), bool(gate.right & 1)]
            nets[gate.result >> 1] = builder.table(table, [nets[literal >> 1] for literal in operands])
    outputs = []
    for place, literal in enumerate(content.outputs):
        if literal > 1 and literal >> 1 not in nets:
            raise ImportFileError(path, f"output {place} reads variable {literal >> 1}, which nothing drives")
        name = content.symbols.get(f"o{place}", f"o{place}")
        outputs.append((name, _net_of(builder, nets, literal)))
    return builder.finish(outputs)


def _net_of(builder: LogicBuilder, nets: dict[int, int], literal: int) -> int:
    if literal < 2:
        return builder.constant(bool(literal))
    net = nets[literal >> 1]
    return builder.table(INVERTER.table, [net]) if literal & 1 else net


def _fold(builder: LogicBuilder, nets: dict[int, int], left: int, right: int) -> int:
    """A gate that reads a constant."""
    constant, other = min(left, right), max(left, right)
    return _net_of(builder, nets, other if constant == 1 else 0)


def _in_order(path: Path, content: _File, inputs: dict[int, int]) -> Iterator[_And]:
    """The gates, operands first: the text form allows any order."""
    waiting = {gate.result >> 1: gate for gate in content.ands}
    done = {0, *inputs}
    for gate in content.ands:
        stack, entered = [gate], set[int]()
        while stack:
            top = stack[-1]
            variable = top.result >> 1
            missing = [literal >> 1 for literal in (top.left, top.right) if literal >> 1 not in done]
            if variable in done or not missing:
                stack.pop()
                if variable not in done:
                    done.add(variable)
                    yield top
                continue
            if variable in entered:
                raise ImportFileError(path, f"variable {variable} depends on itself", _line(content, top))
            entered.add(variable)
            for one in missing:
                if one not in waiting:
                    raise ImportFileError(path, f"nothing drives variable {one}", _line(content, top))
                stack.append(waiting[one])


def _line(content: _File, gate: _And) -> int | None:
    return None if content.binary else gate.place


def _parse(path: Path, data: bytes) -> _File:
    head, _, body = data.partition(b"\n")
    words = head.split()
    if len(words) < 6 or words[0] not in (b"aag", b"aig"):
        raise ImportFileError(path, "no AIGER header: aag or aig, and five numbers", 1)
    try:
        variables, inputs, latches, outputs, ands = (_natural(word) for word in words[1:6])
        more = [_natural(word) for word in words[6:]]
    except ValueError:
        raise ImportFileError(path, "the header must hold natural numbers of at most ten digits", 1) from None
    if latches or any(more):
        raise ImportFileError(path, "has latches or properties; only combinational circuits are read", 1)
    if max(variables, inputs, outputs, ands) > MAX_NODES:
        raise ImportFileError(path, f"has more than {MAX_NODES} variables, which is the limit", 1)
    if variables < inputs + ands:
        raise ImportFileError(path, f"has {inputs} inputs and {ands} gates, but only {variables} variables", 1)
    if words[0] == b"aag":
        return _parse_text(path, body, variables, inputs, outputs, ands)
    if variables != inputs + ands:
        raise ImportFileError(path, "a binary file has as many variables as inputs and gates", 1)
    return _parse_binary(path, body, inputs, outputs, ands)


def _natural(word: bytes) -> int:
    if not word.isdigit() or len(word) > 10:
        raise ValueError(word)
    return int(word)


def _parse_text(path: Path, body: bytes, variables: int, inputs: int, outputs: int, ands: int) -> _File:
    lines = body.split(b"\n")

    def literals(place: int, count: int) -> list[int]:
        words = lines[place].split() if place < len(lines) else []
        try:
            found = [_natural(word) for word in words]
        except ValueError:
            found = []
        if len(found) != count or max(found) > 2 * variables + 1:
            raise ImportFileError(path, f"{count} literals up to {2 * variables + 1} are wanted", place + 2)
        return found

    read_inputs = [literals(place, 1)[0] for place in range(inputs)]
    read_outputs = [literals(inputs + place, 1)[0] for place in range(outputs)]
    first = inputs + outputs
    gates = []
    for place in range(ands):
        result, left, right = literals(first + place, 3)
        gates.append(_And(result, left, right, first + place + 2))
    seen: set[int] = set()
    for place, literal in (*((2 + n, one) for n, one in enumerate(read_inputs)), *((g.place, g.result) for g in gates)):
        if literal & 1 or literal < 2 or literal in seen:
            raise ImportFileError(path, f"literal {literal} is odd, constant or not new", place)
        seen.add(literal)
    return _File(read_inputs, read_outputs, gates, _symbols(lines[first + ands :]), binary=False)


def _parse_binary(path: Path, body: bytes, inputs: int, outputs: int, ands: int) -> _File:
    read_outputs = []
    position = 0
    for place in range(outputs):
        end = body.find(b"\n", position)
        try:
            literal = _natural(body[position:end].strip()) if end >= 0 else -1
        except ValueError:
            literal = -1
        if not 0 <= literal <= 2 * (inputs + ands) + 1:
            raise ImportFileError(path, f"a literal up to {2 * (inputs + ands) + 1} is wanted", place + 2)
        read_outputs.append(literal)
        position = end + 1
    gates = []
    for place in range(ands):
        result = 2 * (inputs + 1 + place)
        first, position = _difference(path, body, position, place)
        second, position = _difference(path, body, position, place)
        left, right = result - first, result - first - second
        if first == 0 or right < 0:
            raise ImportFileError(path, f"gate {place} reads what is not defined before it")
        gates.append(_And(result, left, right, place))
    symbols = _symbols(body[position:].split(b"\n"))
    return _File(range(2, 2 * inputs + 2, 2), read_outputs, gates, symbols, binary=True)


def _difference(path: Path, body: bytes, position: int, gate: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and the position behind it."""
    value = shift = 0
    while position < len(body) and shift <= 35:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ImportFileError(path, f"ends within gate {gate}, or a number of it is too large")


def _symbols(lines: Sequence[bytes]) -> dict[str, str]:
    """Names of inputs and outputs, up to the comment."""
    found: dict[str, str] = {}
    for line in lines:
        if line.strip() == b"c":
            break
        key, _, name = line.partition(b" ")
        if key[:1] in (b"i", b"o") and key[1:].isdigit():
            found[key.decode()] = name.decode("utf-8", errors="replace")
    return found
