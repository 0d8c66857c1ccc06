"""VHDL-2008: how it writes values and operations. Every LUT is a call of ``lut`` with its own constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.names import Ref, Signal
from difflut_compiler.ops import Add, Compare, Concat, Const, Greater, Lut, Mux, complement_table
from difflut_compiler.targets.target import (
    LoadGroup,
    Module,
    Slice,
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

WORD_BITS = 32
MAX_INTEGER = (1 << 31) - 1
"""The largest integer of VHDL."""


@dataclass(frozen=True)
class Vhdl:
    """One file per entity, and a package with the four functions that they share."""

    name: ClassVar[str] = "vhdl"
    suffix: ClassVar[str] = ".vhd"
    folder: ClassVar[str] = "rtl"
    language: ClassVar[str] = "vhdl"

    def write(self, modules: Sequence[Module], top: TopModule) -> Mapping[str, str]:
        package = top.package_name
        files = {f"{package}.vhd": render("vhdl/functions.vhd.j2", package=package)}
        if top.load_ports:
            files[f"{top.table_name}.vhd"] = render("vhdl/table.vhd.j2", name=top.table_name)
        files |= {f"{module.name}.vhd": _render_module(module, package, top.table_name) for module in modules}
        return files | {f"{top.name}.vhd": _render_top(top)}

    def wrap(self, wrapper: Wrapper) -> Mapping[str, str]:
        outputs = wrapper.core.outputs
        text = render(
            f"vhdl/{wrapper.interface.kind}.vhd.j2",
            wrapper=wrapper,
            features=_declare(wrapper.core.features, "in "),
            outputs=[_declare(signal, "out ") for signal in outputs],
            answers=[_declare(signal) for signal in outputs],
            packed=_pack(outputs, wrapper.out_bits - wrapper.answer_bits),
        )
        return {f"{wrapper.name}.vhd": text}


def _render_module(module: Module, package: str, table_name: str) -> str:
    runs = register_runs(module.registers)
    return render(
        "vhdl/module.vhd.j2",
        name=module.name,
        title=module.title,
        package=package,
        controls=module.controls,
        inputs=[_declare(signal, "in ") for signal in module.inputs],
        outputs=[_declare(signal, "out ") for signal in module.outputs],
        internals=[_declare(signal) for signal in module.internals],
        table_name=table_name,
        groups=module.groups,
        loaded=[_load(group, place) for group in module.groups for place in range(len(group.luts))],
        bits=[_assign_bit(s) for s in module.bits],
        words=[f"{_value(s.result)} <= {_expression(s)};" for s in module.words],
        registers=[f"{_value(q)} <= {_value(d)};" for q, d in runs],
        clears=[f"{_value(q)} <= {_zeros(q)};" for q, _ in runs],
    )


def _render_top(top: TopModule) -> str:
    return render(
        "vhdl/top.vhd.j2",
        name=top.name,
        header=top.header,
        controls=top.controls,
        inputs=[_declare(signal, "in ") for signal in (*top.load_ports, top.features)],
        outputs=[_declare(signal, "out ") for signal in top.outputs],
        internals=[_declare(signal) for signal in top.internals],
        modules=top.modules,
        assignments=[f"{signal.name} <= {_value(value)};" for signal, value in top.assignments],
    )


def _pack(outputs: Sequence[Signal], padding: int) -> str:
    """All outputs as one vector, the first in the lowest bits, with zeros above."""
    names = [signal.name for signal in reversed(outputs)]
    return " & ".join(([f'"{"0" * padding}"'] if padding else []) + names)


def _declare(signal: Signal, direction: str = "") -> str:
    kind = "std_logic" if signal.width is None else f"std_logic_vector({signal.width - 1} downto 0)"
    return f"{signal.name} : {direction}{kind}"


def _value(value: Value) -> str:
    if isinstance(value, Const):
        return f"'{value.value}'" if value.bits == 1 else f'B"{value.value:0{value.bits}b}"'
    if isinstance(value, Ref):
        return value.signal.name if value.bit is None else f"{value.signal.name}({value.bit})"
    if value.width == 1:
        return f"{value.signal.name}({value.low})"
    if value.width == value.signal.width:
        return value.signal.name
    return f"{value.signal.name}({value.low + value.width - 1} downto {value.low})"


def _zeros(value: Value) -> str:
    return "'0'" if value_width(value) == 1 else "(others => '0')"


def _word(value: Value, width: int) -> str:
    """``value`` as an ``unsigned`` of ``width`` bits."""
    return f"extend({_value(value)}, {width})"


def _same_type(value: Value, width: int) -> str:
    """``value`` in the type of a signal of ``width`` bits."""
    return _value(value) if value_width(value) == width else f"std_logic_vector({_word(value, width)})"


def _expression(statement: Statement) -> str:
    op, operands = statement.op, statement.operands
    widest = max(value_width(operand) for operand in operands)
    match op:
        case Lut():
            return _lut(op, operands)
        case Compare():
            return _compare(op.threshold, operands[0], statement.signed)
        case Concat():
            bits = " & ".join(_value(operand) for operand in reversed(operands))
            return f"std_logic_vector'({bits})" if len(operands) > 1 else bits
        case Add():
            return f"std_logic_vector({_word(operands[0], op.bits)} + {_word(operands[1], op.bits)})"
        case Greater():
            return f"to_bit({_word(operands[1], widest)} > {_word(operands[0], widest)})"
        case Mux():
            width = max(value_width(operands[1]), value_width(operands[2]))
            if isinstance(operands[0], Const):  # '0' = '1' is of no certain type
                return _same_type(operands[1 + operands[0].value], width)
            select = f"{_value(operands[0])} = '1'"
            return f"{_same_type(operands[2], width)} when {select} else {_same_type(operands[1], width)}"
    raise not_expanded("VHDL", op, statement.origin)


def _assign_bit(statement: Statement) -> str:
    """The assignment; a LUT's table has no name here as it has in Verilog, so a comment says which one it is."""
    line = f"{_value(statement.result)} <= {_expression(statement)};"
    return f"{line}  -- {lut_name(statement)}" if isinstance(statement.op, Lut) else line


def _lut(op: Lut, operands: Sequence[Value]) -> str:
    complement = _is_misread(op)
    literal = _contents(complement_table(op) if complement else op)
    address = " & ".join(_value(operand) for operand in reversed(operands))
    call = f"lut({literal}, {address})" if len(operands) > 1 else f'lut({literal}, "" & {address})'
    return f"not {call}" if complement else call


def _is_misread(op: Lut) -> bool:
    """Whether a table must be written as its complement.

    GHDL 2.0 synthesises a constant of more than 32 bits as zero if no bit below its highest 32 is set, and so would the
    proof read it; the complement of such a table is read as it stands.
    """
    size = 1 << op.fan_in
    return size > WORD_BITS and op.table % (1 << size - WORD_BITS) == 0


def _load(group: LoadGroup, place: int) -> dict[str, object]:
    """What the instance of a LUT with a table that can be written is made with."""
    statement = group.luts[place]
    assert isinstance(statement.op, Lut)
    complement = _is_misread(statement.op)
    address = " & ".join(_value(operand) for operand in reversed(statement.operands))
    return {
        "name": lut_name(statement).lower(),
        "inputs": statement.op.fan_in,
        "contents": _contents(complement_table(statement.op) if complement else statement.op),
        "complement": int(complement),
        "group": group.number,
        "place": place,
        "address": address if len(statement.operands) > 1 else f"(0 => {address})",
        "value": _value(statement.result),
    }


def _contents(op: Lut) -> str:
    size = 1 << op.fan_in
    return f'X"{op.table:0{size // 4}x}"' if size >= 4 else f'B"{op.table:0{size}b}"'


def _compare(threshold: int, word: Value, signed: bool) -> str:
    kind = "signed" if signed else "unsigned"
    threshold, word = bits_that_matter(threshold, word, signed)
    assert isinstance(word, Slice)
    # A full-range slice also of a one-bit vector, so that the operand always is a vector.
    bits = f"{word.signal.name}({word.low + word.width - 1} downto {word.low})"
    literal = str(threshold) if threshold <= MAX_INTEGER else f'unsigned\'(B"{threshold:0{word.width}b}")'
    return f"to_bit({kind}({bits}) >= {literal})"
