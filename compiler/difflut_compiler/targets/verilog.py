"""Verilog-2005: how it writes values and operations. Every LUT is a named constant indexed by its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from difflut_compiler.names import Ref, Signal
from difflut_compiler.ops import Add, Compare, Concat, Const, Greater, Lut, Mux
from difflut_compiler.targets.target import (
    LoadGroup,
    Module,
    Statement,
    TopModule,
    Value,
    Wrapper,
    bits_that_matter,
    lut_name,
    not_expanded,
    register_runs,
    value_width,
)
from difflut_compiler.targets.templates import render


class Dialect(NamedTuple):
    """The words in which the versions of Verilog differ."""

    net: str
    variable: str
    combinational: str
    clocked: str


@dataclass(frozen=True)
class Verilog:
    """Verilog-2005, one file per module. LUTs of a layer stand in one block: simulators digest that best."""

    name: ClassVar[str] = "verilog"
    suffix: ClassVar[str] = ".v"
    folder: ClassVar[str] = "rtl"
    language: ClassVar[str] = "verilog"
    dialect: ClassVar[Dialect] = Dialect("wire", "reg ", "always @*", "always @(posedge clk)")

    def write(self, modules: Sequence[Module], top: TopModule) -> Mapping[str, str]:
        files = {}
        if top.load_ports:
            table = render("verilog/table.v.j2", name=top.table_name, dialect=self.dialect)
            files[f"{top.table_name}{self.suffix}"] = table
        for module in modules:
            files[f"{module.name}{self.suffix}"] = _render_module(module, top.table_name, self.dialect)
        return files | {f"{top.name}{self.suffix}": _render_top(top, self.dialect)}

    def wrap(self, wrapper: Wrapper) -> Mapping[str, str]:
        text = render(
            f"verilog/{wrapper.interface.kind}.v.j2",
            wrapper=wrapper,
            features=_declare("input  wire", wrapper.core.features),
            outputs=[_declare("output wire", signal) for signal in wrapper.core.outputs],
            answers=[_declare("wire", signal) for signal in wrapper.core.outputs],
        )
        return {f"{wrapper.name}{self.suffix}": text}


def _render_module(module: Module, table_name: str, dialect: Dialect) -> str:
    def kind(signal: Signal) -> str:
        return dialect.variable if signal in procedural else dialect.net

    runs = register_runs(module.registers)
    procedural = {s.result.signal for s in (*module.bits, *module.registers)}
    return render(
        "verilog/module.v.j2",
        name=module.name,
        title=module.title,
        controls=module.controls,
        dialect=dialect,
        inputs=[_declare(f"input  {dialect.net}", signal) for signal in module.inputs],
        outputs=[_declare(f"output {kind(signal)}", signal) for signal in module.outputs],
        internals=[_declare(kind(signal), signal) for signal in module.internals],
        tables=[_declare_table(lut_name(s), s.op) for s in module.bits if isinstance(s.op, Lut)],
        table_name=table_name,
        groups=module.groups,
        loaded=[_load(group, place) for group in module.groups for place in range(len(group.luts))],
        bits=[f"{_value(s.result)} = {_expression(s)};" for s in module.bits],
        words=[f"{_value(s.result)} = {_expression(s)};" for s in module.words],
        registers=[f"{_value(q)} <= {_value(d)};" for q, d in runs],
        clears=[f"{_value(q)} <= {value_width(q)}'d0;" for q, _ in runs],
    )


def _render_top(top: TopModule, dialect: Dialect) -> str:
    return render(
        "verilog/top.v.j2",
        name=top.name,
        header=top.header,
        controls=top.controls,
        ignored=all(top.features not in module.inputs for module in top.modules),
        dialect=dialect,
        inputs=[_declare(f"input  {dialect.net}", signal) for signal in (*top.load_ports, top.features)],
        outputs=[_declare(f"output {dialect.net}", signal) for signal in top.outputs],
        internals=[_declare(dialect.net, signal) for signal in top.internals],
        modules=top.modules,
        assignments=[f"{signal.name} = {_value(value)};" for signal, value in top.assignments],
    )


def _declare(kind: str, signal: Signal) -> str:
    return f"{kind} {signal.name}" if signal.width is None else f"{kind} [{signal.width - 1}:0] {signal.name}"


def _declare_table(name: str, op: Lut) -> str:
    return f"[{(1 << op.fan_in) - 1}:0] {name} = {_contents(op)};"


def _load(group: LoadGroup, place: int) -> dict[str, object]:
    """What the instance of a LUT with a table that can be written is made with."""
    statement = group.luts[place]
    assert isinstance(statement.op, Lut)
    return {
        "name": lut_name(statement).lower(),
        "inputs": statement.op.fan_in,
        "contents": _contents(statement.op),
        "group": group.number,
        "place": place,
        "address": _address(statement.operands),
        "value": _value(statement.result),
    }


def _contents(op: Lut) -> str:
    size = 1 << op.fan_in
    return f"{size}'h{op.table:0{max(1, size // 4)}x}"


def _value(value: Value) -> str:
    if isinstance(value, Const):
        return f"{value.bits}'d{value.value}"
    if isinstance(value, Ref):
        return value.signal.name if value.bit is None else f"{value.signal.name}[{value.bit}]"
    if value.width == value.signal.width:
        return value.signal.name
    high = value.low + value.width - 1
    return f"{value.signal.name}[{high}:{value.low}]" if value.width > 1 else f"{value.signal.name}[{high}]"


def _extend(value: Value, width: int) -> str:
    """``value`` with zeros in front, so that both sides of an operator have the width of the result."""
    padding = width - value_width(value)
    return f"{{{padding}'d0, {_value(value)}}}" if padding else _value(value)


def _expression(statement: Statement) -> str:
    op, operands = statement.op, statement.operands
    widest = max(value_width(operand) for operand in operands)
    match op:
        case Lut():
            return f"{lut_name(statement)}[{_address(operands)}]"
        case Compare():
            return _compare(op.threshold, operands[0], statement.signed)
        case Concat():
            return f"{{{', '.join(_value(operand) for operand in reversed(operands))}}}"
        case Add():
            return f"{_extend(operands[0], op.bits)} + {_extend(operands[1], op.bits)}"
        case Greater():
            return f"{_extend(operands[1], widest)} > {_extend(operands[0], widest)}"
        case Mux():
            width = max(value_width(operands[1]), value_width(operands[2]))
            return f"{_value(operands[0])} ? {_extend(operands[2], width)} : {_extend(operands[1], width)}"
    raise not_expanded("Verilog", op, statement.origin)


def _address(operands: Sequence[Value]) -> str:
    """Operand 0 is address bit 0, so it stands last."""
    address = ", ".join(_value(operand) for operand in reversed(operands))
    return f"{{{address}}}" if len(operands) > 1 else address


def _compare(threshold: int, word: Value, signed: bool) -> str:
    threshold, word = bits_that_matter(threshold, word, signed)
    bits = value_width(word)
    if not signed:
        return f"{_value(word)} >= {bits}'d{threshold}"
    literal = threshold & ((1 << bits) - 1)
    return f"$signed({_value(word)}) >= $signed({bits}'h{literal:x})"
