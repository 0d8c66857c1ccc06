"""What every target gets (modules made of statements, or a graph) and what it must give (files)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.interface import PLAIN, Interface, stream_out_bits
from difflut_compiler.names import Ref, Signal, Words, describe_words
from difflut_compiler.ops import AnyOp, Const, Lut, bits_for, lowest_one


class Slice(NamedTuple):
    """``width`` neighbouring bits of a vector, starting at bit ``low``."""

    signal: Signal
    low: int
    width: int


Value = Ref | Const | Slice


class Statement(NamedTuple):
    """One net: where its value goes, how it is computed, from what, and where in the model it comes from."""

    result: Ref
    op: AnyOp
    operands: tuple[Value, ...]
    origin: Origin
    signed: bool
    """Whether an operand is a signed input word."""

    def signals_read(self) -> Iterable[Signal]:
        return (value.signal for value in self.operands if not isinstance(value, Const))


class LoadGroup(NamedTuple):
    """LUTs whose tables are written together through the load port, one bit of the data for each.

    The lowest ``entry_bits`` of ``load_address``, ``address_bits`` wide, are the entry, the others the ``number``.
    """

    number: int
    entry_bits: int
    address_bits: int
    luts: tuple[Statement, ...]


@dataclass(frozen=True)
class Module:
    """One layer of the network: single-bit logic, words, and registers, each in an order that simulates correctly.

    ``controls`` are the ports that its registers listen to: ``clk``, perhaps ``enable`` and ``rst``; none without any.
    ``groups`` are its LUTs if their tables can be written; then they are not among ``bits``.
    """

    name: str
    instance: str
    title: str
    inputs: tuple[Signal, ...]
    outputs: tuple[Signal, ...]
    internals: tuple[Signal, ...]
    bits: tuple[Statement, ...]
    groups: tuple[LoadGroup, ...]
    words: tuple[Statement, ...]
    registers: tuple[Statement, ...]
    controls: tuple[str, ...]

    @property
    def luts(self) -> list[Statement]:
        """Its LUTs, whether their tables can be written or not."""
        return [*(s for s in self.bits if isinstance(s.op, Lut)), *(s for group in self.groups for s in group.luts)]


@dataclass(frozen=True)
class TopModule:
    """The modules, connected: ``features`` in, one port per output, a clock if anything is registered."""

    name: str
    features: Signal
    words: tuple[Words, ...]
    load_ports: tuple[Signal, ...]
    outputs: tuple[Signal, ...]
    internals: tuple[Signal, ...]
    modules: tuple[Module, ...]
    assignments: tuple[tuple[Signal, Value], ...]
    latency_cycles: int

    @property
    def clocked(self) -> bool:
        return bool(self.controls)

    @property
    def controls(self) -> tuple[str, ...]:
        return next((module.controls for module in self.modules if module.controls), ())

    @property
    def header(self) -> list[str]:
        """What a reader of the top file must know, one line each."""
        latency = PLAIN.describe_latency(self.latency_cycles, self.features.width or 0)  # of this module alone
        ports = (*self.controls, *(signal.name for signal in self.load_ports))
        return [
            f"{self.name}: a look-up-table network made by DiffLUT. This file belongs to its user.",
            f"features: {describe_words(self.words)}, feature 0 in the lowest bits.",
            f"latency: {latency}.",
            *(PORT_LINES[port] for port in ports if port in PORT_LINES),
        ]

    @property
    def table_name(self) -> str:
        """The module of a LUT with a table that can be written."""
        return f"{self.name}_table"

    @property
    def package_name(self) -> str:
        """Where VHDL has functions that the modules share."""
        return f"{self.name}_functions"


PORT_LINES = {
    "enable": "enable: at a clock edge without it, nothing moves; such edges do not count.",
    "load": "load: at a clock edge with it, load_data is written into the tables at load_address.",
    "rst": "rst: at a clock edge with it, all registers become 0, enabled or not.",
}


class Target(Protocol):
    """A form in which a circuit is written; it is also a :class:`HardwareTarget` or a :class:`CircuitTarget`.

    ``suffix`` is that of the file named after the top, ``folder`` the place of the files in the output folder, and
    ``language`` what :mod:`difflut_compiler.verify.languages` knows how to check.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    folder: ClassVar[str]
    language: ClassVar[str]


@runtime_checkable
class HardwareTarget(Target, Protocol):
    """A hardware description language. ``write`` gives the files in the order in which tools must read them.

    ``wrap`` gives the file of a wrapper, which comes after those of the network in it.
    """

    def write(self, modules: Sequence[Module], top: TopModule) -> Mapping[str, str]: ...
    def wrap(self, wrapper: Wrapper) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Wrapper:
    """The top module around a network: ``core`` with plain ports inside, ``interface`` outside."""

    name: str
    core: TopModule
    interface: Interface

    @property
    def title(self) -> str:
        return f"{self.core.name} behind {WRAPPER_TITLES[self.interface.kind]}"

    @property
    def latency_cycles(self) -> int:
        return self.core.latency_cycles

    @property
    def feature_bits(self) -> int:
        return self.core.features.width or 0

    @property
    def beats(self) -> int:
        return self.interface.beats(self.feature_bits)

    @property
    def beat_bits(self) -> int:
        """Bits of a counter of beats."""
        return bits_for(self.beats - 1)

    @property
    def answer_bits(self) -> int:
        return sum(signal.width or 1 for signal in self.core.outputs)

    @property
    def out_bits(self) -> int:
        return stream_out_bits(self.answer_bits)

    @property
    def pointer_bits(self) -> int:
        """The FIFO has two to this power places: all samples under way, and some more so that none has to wait."""
        return bits_for(self.latency_cycles + 3)


WRAPPER_TITLES = {"valid": "a valid bit", "axi-stream": "AXI4-Stream"}


@dataclass(frozen=True)
class CircuitFiles:
    """Files by name: texts, and files that are no text."""

    texts: Mapping[str, str]
    binaries: Mapping[str, bytes] = field(default_factory=dict)


@runtime_checkable
class CircuitTarget(Target, Protocol):
    """A form without a clock. ``write_circuit`` gets a graph without registers, its outputs in the order of names."""

    def write_circuit(self, graph: LutGraph, top: str) -> CircuitFiles: ...


def value_width(value: Value) -> int:
    """How many bits a value has."""
    if isinstance(value, Const):
        return value.bits
    if isinstance(value, Slice):
        return value.width
    return 1 if value.bit is not None else value.signal.width or 1


def bits_that_matter(threshold: int, word: Value, signed: bool) -> tuple[int, Value]:
    """A comparison with ``threshold`` without the lowest bits of ``word``, where these are zeros of the threshold.

    Synthesisers do not always find out that such bits do not matter.
    """
    distance = threshold + (1 << value_width(word) - 1 if signed else 0)
    if not isinstance(word, Slice) or not 0 < distance < 1 << word.width:
        return threshold, word
    zeros = lowest_one(distance)
    return threshold >> zeros, word._replace(low=word.low + zeros, width=word.width - zeros)


def register_runs(registers: Sequence[Statement]) -> list[tuple[Value, Value]]:
    """Registers as ``(result, source)`` pairs, neighbouring bits of the same two vectors joined into slices."""
    runs: list[tuple[Value, Value]] = []
    for statement in registers:
        result, source = statement.result, statement.operands[0]
        if runs and (joined := _join(runs[-1], (result, source))):
            runs[-1] = joined
        else:
            runs.append((result, source))
    return runs


def _join(run: tuple[Value, Value], bit: tuple[Value, Value]) -> tuple[Value, Value] | None:
    sides = [_append_bit(left, right) for left, right in zip(run, bit, strict=True)]
    return (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None


def _append_bit(run: Value, bit: Value) -> Slice | None:
    """``run`` and the next higher bit of the same vector as one slice, if that is what they are."""
    if isinstance(run, Const) or not isinstance(bit, Ref) or bit.bit is None or run.signal != bit.signal:
        return None
    if isinstance(run, Ref):
        return Slice(bit.signal, run.bit, 2) if run.bit is not None and bit.bit == run.bit + 1 else None
    return Slice(bit.signal, run.low, run.width + 1) if bit.bit == run.low + run.width else None


def lut_name(statement: Statement) -> str:
    """``LUT_12`` for LUT 12 of its layer."""
    part = statement.origin.part.replace(".", "_")
    return f"LUT_{statement.origin.number}" + (f"_{part}" if part else "")


def not_expanded(language: str, op: AnyOp, origin: Origin) -> CompilerError:
    """The error for an operation that passes must have turned into smaller ones before it can be written."""
    return CompilerError(f"{language} has no expression for {op.kind} at {origin}; run the passes of EXPAND first")
