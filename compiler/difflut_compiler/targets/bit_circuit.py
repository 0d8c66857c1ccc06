"""A combinational graph as single bits: look-up tables only, for targets that know no words.

Comparators, sums and multiplexers become small tables. The bits of every net of the graph keep a name, the one
that the net has in the hardware languages, so that a reader finds every net again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from difflut_compiler.graph import LutGraph, Node, reads_signed
from difflut_compiler.names import Ref, Signal, feature_slices, name_nets
from difflut_compiler.ops import (
    BUFFER,
    INVERTER,
    Add,
    Bit,
    Compare,
    Concat,
    Const,
    Greater,
    Input,
    Lut,
    Mux,
    Operand,
    Output,
    bools_to_table,
    lowest_one,
)
from difflut_compiler.targets.target import not_expanded

ZERO, ONE = 0, 1
"""The bits that are constant in every circuit."""
TABLE_INPUTS = 6
"""Comparators become tables of at most this many inputs."""

_VARIABLE = Operand(INVERTER, 1)
_CONSTANTS = {value: Operand(Const(value), 1) for value in (ZERO, ONE)}

Bits = list[int]
"""The bits of a word, least significant first."""


class Table(NamedTuple):
    """Bit ``result`` is bit ``a`` of ``table`` at address ``a``; input ``j`` is address bit ``j``."""

    result: int
    table: int
    inputs: tuple[int, ...]


class Port(NamedTuple):
    """A word that leaves the circuit."""

    name: str
    bits: Bits


@dataclass
class BitCircuit:
    """Bits are numbers: 0 and 1 are the constants, then come the bits of the features, then a bit per table.

    ``names`` has the bits of every net of the graph; two names may stand for the same bit.
    """

    feature_bits: int
    tables: list[Table] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    outputs: list[Port] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many bits there are, constants and features included."""
        return 2 + self.feature_bits + len(self.tables)

    def add(self, table: int, *inputs: int) -> int:
        """The bit that a table makes of other bits; no table is added where that is a constant or one of them."""
        op = Lut(len(inputs), table)
        folded = op.fold([_CONSTANTS.get(bit, _VARIABLE) for bit in inputs])
        if folded is not None:
            if isinstance(folded.op, Const):
                return folded.op.value
            assert isinstance(folded.op, Lut)
            op, inputs = folded.op, tuple(inputs[place] for place in folded.kept)
        if op == BUFFER:
            return inputs[0]
        result = self.size
        self.tables.append(Table(result, op.table, inputs))
        return result


def feature_names(circuit: BitCircuit) -> list[str]:
    """The names of the bits of the features, in their order."""
    return Ref(Signal("features", circuit.feature_bits), None).bit_names()


def to_bits(graph: LutGraph, language: str) -> BitCircuit:
    """Turn a graph without registers into tables; raises :class:`CompilerError` for an operation that has no such form.

    ``language`` is the one that the message names.
    """
    refs = name_nets(graph)
    slices = {net: range(2 + low, 2 + low + width) for net, low, width in feature_slices(graph)}
    circuit = BitCircuit(sum(len(bits) for bits in slices.values()))
    words: dict[int, Bits] = {}
    for net in graph.order():
        node = graph.node(net)
        match node.op:
            case Input():
                words[net] = list(slices[net])
            case Output():
                words[net] = words[node.operands[0]]
            case Bit():
                words[net] = [words[node.operands[0]][node.op.place]]
            case Const():
                words[net] = constant(node.op.value, node.op.bits)
            case _:
                operands = [words[operand] for operand in node.operands]
                words[net] = _expand(circuit, node, operands, reads_signed(node, graph.nodes), language)
                circuit.names.update(zip(refs[net].bit_names(), words[net], strict=True))
    circuit.outputs += [Port(refs[net].signal.name, words[net]) for net in graph.outputs()]
    return circuit


def constant(value: int, bits: int) -> Bits:
    return [ONE if value >> bit & 1 else ZERO for bit in range(bits)]


def _expand(circuit: BitCircuit, node: Node, operands: Sequence[Bits], signed: bool, language: str) -> Bits:
    op = node.op
    match op:
        case Lut():
            return [circuit.add(op.table, *(bits[0] for bits in operands))]
        case Compare():
            return [_at_least(circuit, operands[0], op.threshold, signed)]
        case Concat():
            return [bits[0] for bits in operands]
        case Add():
            return _add(circuit, operands[0], operands[1], op.bits)
        case Greater():
            return [_greater(circuit, operands[1], operands[0])]
        case Mux():
            select, when_0, when_1 = operands[0][0], operands[1], operands[2]
            return [circuit.add(0xCA, a, b, select) for a, b in zip_longest(when_0, when_1, fillvalue=ZERO)]
    raise not_expanded(language, op, node.origin)


def _at_least(circuit: BitCircuit, word: Bits, threshold: int, signed: bool) -> int:
    """[word >= threshold]: from the lowest bits up, some bits at a time and the answer for those below them."""
    lowest = -(1 << len(word) - 1) if signed else 0
    distance = threshold - lowest
    if distance <= 0:
        return ONE
    if distance >= 1 << len(word):
        return ZERO
    answer = ONE
    start = lowest_one(distance)  # below the lowest one of the distance, nothing matters
    while start < len(word):
        taken = min(TABLE_INPUTS - (answer != ONE), len(word) - start)
        values = np.arange(1 << taken)
        if signed and start + taken == len(word):
            values ^= 1 << taken - 1  # with the sign inverted, signed words are in the order of unsigned ones
        part = distance >> start & (1 << taken) - 1
        inputs = word[start : start + taken]
        if answer == ONE:
            answer = circuit.add(bools_to_table(values >= part), *inputs)
        else:
            answer = circuit.add(bools_to_table(np.concatenate([values > part, values >= part])), *inputs, answer)
        start += taken
    return answer


def _add(circuit: BitCircuit, left: Bits, right: Bits, width: int) -> Bits:
    """Ripple-carry sum in ``width`` bits."""
    total: Bits = []
    carry = ZERO
    padded = zip_longest(left, right, [ZERO] * width, fillvalue=ZERO)
    for place, (a, b, _) in enumerate(padded):
        total.append(circuit.add(0x96, a, b, carry))
        carry = circuit.add(0xE8, a, b, carry) if place + 1 < width else ZERO
    return total


def _greater(circuit: BitCircuit, left: Bits, right: Bits) -> int:
    """[left > right], from the lowest bit up: a bit in which they differ decides over those below it."""
    answer = ZERO
    for a, b in zip_longest(left, right, fillvalue=ZERO):
        answer = circuit.add(0xB2, a, b, answer)
    return answer


def named_bits(circuit: BitCircuit) -> Mapping[int, str]:
    """One name for every bit: that of a feature or of a net of the graph, else a number."""
    names = dict(enumerate(feature_names(circuit), start=2))
    for name, bit in circuit.names.items():
        names.setdefault(bit, name)
    return {bit: names.get(bit, f"_t{bit}") for bit in range(2, circuit.size)}
