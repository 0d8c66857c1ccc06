"""Identifiers of the generated hardware: one gate for names that come from outside, one place that gives out names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, is_signed
from difflut_compiler.ops import Bit, Compare, Const, Input, Lut, Output, Register

IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MAX_IDENTIFIER_LENGTH = 64

# Words that Verilog (2005 and SystemVerilog) or VHDL (2008) keep for themselves and that match IDENTIFIER.
RESERVED = frozenset(
    """
    abs accept_on access after alias all always and architecture array assert assign assume attribute automatic before
    begin bind bins binsof bit block body bool boolean break buf buffer bufif0 bufif1 bus byte case casex casez cell
    chandle checker class clocking cmos component config configuration const constant constraint context continue
    cover covergroup coverpoint cross deassign default defparam design disable disconnect dist do downto edge else
    elsif end endcase endclass endclocking endgenerate endgroup endinterface endmodule endpackage endprimitive
    endprogram endproperty endsequence endspecify endtable endtask entity enum event eventually exit expect export
    extends extern fairness file final first_match for force foreach forever fork forkjoin function generate generic
    genvar global group guarantee guarded highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies
    import impure in incdir include inertial initial inout input inside instance int integer interconnect interface
    intersect is join join_any join_none label large let liblist library linkage literal local localparam logic
    longint loop map medium mod modport module nand negedge nettype new next nexttime nmos nor noshowcancelled not
    notif0 notif1 null of on open or others out output package packed parameter pmos port posedge postponed primitive
    priority procedure process program property protected pull0 pull1 pulldown pullup pulsestyle_ondetect
    pulsestyle_onevent pure rand randc randcase randsequence range rcmos real realtime record ref reg register reject
    reject_on release rem repeat report restrict return rnmos rol ror rpmos rtran rtranif0 rtranif1 s_always
    s_eventually s_nexttime s_until s_until_with scalared select sequence severity shared shortint shortreal
    showcancelled signal signed sla sll small soft solve specify specparam sra srl static string strong strong0
    strong1 struct subtype super supply supply0 supply1 sync_accept_on sync_reject_on table tagged task then this
    throughout time timeprecision timeunit to tran tranif0 tranif1 transport tri tri0 tri1 triand trior trireg type
    typedef unaffected union unique unique0 unit units unsigned until until_with untyped use uwire var variable vector
    vectored virtual void wait wait_order wand weak weak0 weak1 when while wildcard wire with within wor xnor xor
    """.split()
)


# Names that the generated files use for themselves: ports, libraries and packages.
TAKEN = frozenset({"clk", "features", "ieee", "numeric_std", "std", "std_logic", "std_logic_vector", "work"})


def check_identifier(name: str, what: str) -> str:
    """Return ``name`` if it is a legal, portable identifier in every target language; else say what is wrong."""
    if not IDENTIFIER.fullmatch(name) or len(name) > MAX_IDENTIFIER_LENGTH:
        raise CompilerError(
            f"{what} {name!r} is not a portable identifier: use lower-case letters, digits and single underscores, "
            f"a letter first, at most {MAX_IDENTIFIER_LENGTH} characters"
        )
    if name in RESERVED:
        raise CompilerError(f"{what} {name!r} is a reserved word of Verilog or VHDL; choose another name")
    if name in TAKEN:
        raise CompilerError(f"{what} {name!r} is a name that the generated files use for themselves; choose another")
    return name


class Signal(NamedTuple):
    """A signal of the hardware; ``width`` None is a single wire, a number a vector of that many bits."""

    name: str
    width: int | None


class Ref(NamedTuple):
    """Where a net is found: a whole signal, or one bit of a vector."""

    signal: Signal
    bit: int | None

    def bit_names(self) -> list[str]:
        """The net's bits as ``name[3]``, least significant first, as netlists name them: a lone bit has no index."""
        if self.signal.width in (None, 1):
            return [self.signal.name]
        if self.bit is not None:
            return [f"{self.signal.name}[{self.bit}]"]
        return [f"{self.signal.name}[{bit}]" for bit in range(self.signal.width or 1)]


def stage_name(layer: str) -> str:
    """``layers.0`` becomes ``layer_0``; other layers keep their name."""
    return layer.replace("layers.", "layer_").replace(".", "_")


def name_nets(graph: LutGraph) -> Mapping[int, Ref]:
    """Give every net its place in the hardware, from its origin.

    Per layer ``L``: comparators and, after them, LUTs are bits of the vector ``L_d``, one-bit registers are bits of
    ``L_q``, and every part of a sum or of the argmax is a signal of its own, ``L_<number>_<part>``, its register with
    ``_q`` behind it.
    Inputs and their bits are slices of the port ``features``, outputs ports of their own. Constants have no signal.
    """
    vectors: dict[str, list[int]] = {}
    refs: dict[int, Ref] = {}
    arrays = graph.arrays()
    luts_last = np.argsort(arrays.is_lut[arrays.by_origin], kind="stable")
    for row in arrays.by_origin[luts_last].tolist():
        net, node = int(arrays.nets[row]), arrays.nodes[row]
        stage = stage_name(node.origin.layer)
        if isinstance(node.op, Input | Bit | Const):
            continue
        if isinstance(node.op, Output):
            refs[net] = _whole(node.op.name, node.width)
        elif isinstance(node.op, Lut | Compare):
            vectors.setdefault(f"{stage}_d", []).append(net)
        elif isinstance(node.op, Register) and node.width == 1:
            vectors.setdefault(f"{stage}_q", []).append(net)
        else:
            suffix = "_q" if isinstance(node.op, Register) else ""
            part = node.origin.part.replace(".", "_")
            refs[net] = _whole(f"{stage}_{node.origin.number}" + (f"_{part}" if part else "") + suffix, node.width)
    for name, nets in vectors.items():
        vector = Signal(name, len(nets))
        refs.update((net, Ref(vector, bit)) for bit, net in enumerate(nets))
    return refs


def _whole(name: str, width: int) -> Ref:
    return Ref(Signal(name, None if width == 1 else width), None)


def feature_slices(graph: LutGraph) -> Iterator[tuple[int, int, int]]:
    """``(net, lowest bit, width)`` of every input in the packed port ``features``, first feature lowest."""
    offset = 0
    for net in graph.inputs():
        width = graph.node(net).width
        yield net, offset, width
        offset += width


@dataclass(frozen=True)
class Words:
    """Neighbouring features of one number format in the port ``features``, the first in the lowest bits."""

    features: int
    bits: int
    signed: bool
    lowest_bit: int

    def __str__(self) -> str:
        sign = "signed" if self.signed else "unsigned"
        return f"{count_of(self.features, f'{sign} word')} of {count_of(self.bits, 'bit')}"


def feature_words(graph: LutGraph) -> list[Words]:
    """The formats of all features, in their order."""
    runs = groupby(feature_slices(graph), lambda feature: (feature[2], is_signed(graph.node(feature[0]))))
    words = []
    for (bits, signed), run in runs:
        (_, lowest_bit, _), *others = run
        words.append(Words(1 + len(others), bits, signed, lowest_bit))
    return words


def describe_words(words: Sequence[Words]) -> str:
    """``64 unsigned words of 5 bits``; of several formats, from which bit of the port on each is there."""
    if len(words) == 1:
        return str(words[0])
    return ", ".join(f"{one} from bit {one.lowest_bit}" for one in words) or "none"


def count_of(number: int, noun: str) -> str:
    """``1 bit``, ``2 bits``"""
    return f"{number} {noun}{'' if number == 1 else 's'}"
