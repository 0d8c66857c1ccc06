"""What every operation means in gates: the reference side of the equivalence proofs, written as BLIF.

This is deliberately not what the targets emit: sums are ripple-carry chains of full adders and comparisons walk from
the lowest bit up, so that the proof compares two descriptions made independently. Tests compare these gates with
``evaluate`` of the same operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from difflut_compiler.ops import (
    Add,
    AnyOp,
    ArgMax,
    Bit,
    Compare,
    Concat,
    Const,
    Greater,
    Input,
    Lut,
    Mux,
    Output,
    PopCount,
    Register,
    bits_for,
    table_to_bools,
)

ZERO, ONE = "$const0", "$const1"

Word = list[str]
"""The names of a word's bits, least significant first."""


def table_lines(inputs: Sequence[str], rows: Sequence[str], result: str) -> list[str]:
    """BLIF of one table. ABC takes a table without rows, a constant 0, only without inputs."""
    return [f".names {' '.join([*inputs, result] if rows else [result])}", *rows]


class Blif:
    """A combinational circuit being written: lines of BLIF, and fresh names for what is in between."""

    def __init__(self) -> None:
        self.lines = [f".names {ZERO}", f".names {ONE}", "1"]
        self._fresh = 0

    def fresh(self) -> str:
        self._fresh += 1
        return f"$gate{self._fresh}"

    def table(self, inputs: Sequence[str], rows: Sequence[str], result: str) -> str:
        """``result`` is 1 where the inputs match one of ``rows`` (a character 0, 1 or - per input)."""
        self.lines.extend(table_lines(inputs, [f"{row} 1" for row in rows], result))
        return result

    def gate(self, inputs: Sequence[str], rows: Sequence[str]) -> str:
        return self.table(inputs, rows, self.fresh())

    def buffer(self, source: str, result: str) -> None:
        self.table([source], ["1"], result)


def write_gates(blif: Blif, op: AnyOp, operands: Sequence[Word], signed: bool, result: Word) -> None:
    """Write gates that compute ``op`` of ``operands`` into the nets named ``result``; those beyond its width are 0."""
    if isinstance(op, Lut):
        first, *result = result
        word = []
        blif.table([operand[0] for operand in operands], _rows(op), first)
    else:
        word = _gates(blif, op, operands, signed)
    for source, name in zip_longest(word[: len(result)], result, fillvalue=ZERO):
        blif.buffer(source, name)


def _gates(blif: Blif, op: AnyOp, operands: Sequence[Word], signed: bool) -> Word:
    """The bits of the result: never more than ``op`` is wide, also where a sum has a carry beyond that."""
    match op:
        case Compare():
            return [_at_least(blif, operands[0], op.threshold, signed)]
        case Bit():
            return [operands[0][op.place]]
        case PopCount():
            return _count(blif, [operand[0] for operand in operands], op.offset)
        case Concat():
            return [operand[0] for operand in operands]
        case Add():
            return _add(blif, operands[0], operands[1])[: op.bits]
        case Greater():
            return [_greater(blif, operands[1], operands[0])]
        case Mux():
            return _mux(blif, operands[0][0], operands[1], operands[2])
        case ArgMax():
            return _argmax(blif, operands)
        case Const():
            return constant_word(op.value, op.bits)
        case Register() | Output():
            return list(operands[0])
        case Input() | Lut():
            raise TypeError(f"an {op.kind} has no gates")


def constant_word(value: int, bits: int) -> Word:
    return [ONE if value >> bit & 1 else ZERO for bit in range(bits)]


def _rows(op: Lut) -> list[str]:
    """The addresses at which a look-up table answers 1, address bit 0 first."""
    addresses = np.flatnonzero(table_to_bools(op.table, op.fan_in)).tolist()
    return sorted(f"{address:0{op.fan_in}b}"[::-1] for address in addresses)


def _at_least(blif: Blif, word: Word, threshold: int, signed: bool) -> str:
    """[word >= threshold]: from the lowest bit up, a higher bit that differs from the threshold's decides."""
    lowest = -(1 << (len(word) - 1)) if signed else 0
    if threshold <= lowest:
        return ONE
    if threshold > lowest + (1 << len(word)) - 1:
        return ZERO
    offset = threshold - lowest
    # With the sign bit inverted, signed words are ordered like unsigned ones that start at zero.
    bits = [*word[:-1], blif.gate([word[-1]], ["0"])] if signed else word
    result = ONE
    for position, bit in enumerate(bits):
        rows = ["11"] if offset >> position & 1 else ["1-", "-1"]
        result = blif.gate([bit, result], rows)
    return result


def _count(blif: Blif, bits: Sequence[str], offset: int) -> Word:
    """Add the bits one after the other to the offset."""
    total = constant_word(offset, bits_for(offset))
    for number, bit in enumerate(bits, start=1):
        total = _add(blif, total, [bit])[: bits_for(offset + number)]
    return total


def _add(blif: Blif, left: Word, right: Word) -> Word:
    """Ripple-carry sum, one bit wider than the wider operand."""
    carry, total = ZERO, []
    for a, b in zip_longest(left, right, fillvalue=ZERO):
        total.append(blif.gate([a, b, carry], ["100", "010", "001", "111"]))
        carry = blif.gate([a, b, carry], ["11-", "1-1", "-11"])
    return [*total, carry]


def _greater(blif: Blif, left: Word, right: Word) -> str:
    """[left > right], from the lowest bit up."""
    result = ZERO
    for a, b in zip_longest(left, right, fillvalue=ZERO):
        result = blif.gate([a, b, result], ["10-", "1-1", "-01"])
    return result


def _mux(blif: Blif, select: str, when_0: Word, when_1: Word) -> Word:
    pairs = zip_longest(when_0, when_1, fillvalue=ZERO)
    return [blif.gate([select, a, b], ["01-", "1-1"]) for a, b in pairs]


def _argmax(blif: Blif, operands: Sequence[Word]) -> Word:
    """Walk from the first operand to the last; only a strictly greater one takes the lead."""
    index_bits = bits_for(len(operands) - 1)
    best, index = operands[0], constant_word(0, index_bits)
    for position, operand in enumerate(operands[1:], start=1):
        wins = _greater(blif, operand, best)
        best = _mux(blif, wins, best, operand)
        index = _mux(blif, wins, index, constant_word(position, index_bits))
    return index
