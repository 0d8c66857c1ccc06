"""The operations of a LUT graph: what each one means, how wide its result is, what it costs.

A node of the graph computes one *net* from the nets of its operands. A net of width 1 is a bit, a wider one an
unsigned word; only an :class:`Input` may be signed. Every class below answers the same questions:

* ``check(operands)``   which operands are legal (raises ``ValueError``, the graph adds where)
* ``width(operands)``   how many bits the result has
* ``evaluate(...)``     what it means, on whole arrays: for sums and comparisons ``(operands, samples)`` of values to
  ``(samples,)``, for LUTs, comparators and constants many nodes at once
* ``fold(operands)``    what is left of it once some operands are constants
* ``lut6_cost(...)``    an estimate of its size in 6-input LUTs

``operands`` is always the tuple of the operands' ops and widths (:class:`Operand`), in the order of the pins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
"""Packed bits, ``(nets, words)``: sample ``s`` is bit ``s % 64`` of word ``s // 64``."""
Words = NDArray[np.int64]
"""Integer values, ``(nets, samples)``."""

MAX_FAN_IN = 16
ALL_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


class Operand(NamedTuple):
    """What an op may know about one of its operands."""

    op: Op
    width: int

    @property
    def constant(self) -> int | None:
        return self.op.value if isinstance(self.op, Const) else None

    @property
    def range(self) -> tuple[int, int]:
        """The least and the greatest value that the operand's bits allow."""
        if isinstance(self.op, Const):
            return self.op.value, self.op.value
        return (self.op.min_value, self.op.max_value) if isinstance(self.op, Input) else (0, (1 << self.width) - 1)


class Folded(NamedTuple):
    """A simpler op with the same meaning, reading only the operands at the positions ``kept``.

    Without an op, the result is the one operand kept: the same number, perhaps in fewer bits.
    """

    op: AnyOp | None
    kept: tuple[int, ...]


class Op(Protocol):
    """What every operation answers; ``kind`` names it in text, files and messages."""

    kind: ClassVar[str]

    def check(self, operands: Sequence[Operand]) -> None: ...
    def width(self, operands: Sequence[Operand]) -> int: ...
    def fold(self, operands: Sequence[Operand]) -> Folded | None: ...
    def lut6_cost(self, operands: Sequence[Operand]) -> int: ...


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def require_arity(operands: Sequence[Operand], count: int) -> None:
    require(len(operands) == count, f"takes {count} operands, got {len(operands)}")


def bits_for(value: int) -> int:
    """Number of bits that hold every integer from 0 to ``value``; at least one."""
    return max(1, value.bit_length())


def lowest_one(value: int) -> int:
    """The place of the lowest one of a positive number.

    Whether a word, counted from its least value, is at least a number depends on the bits from that place upwards.
    """
    return (value & -value).bit_length() - 1


@dataclass(frozen=True, slots=True)
class Input:
    """A word that enters the circuit: a fixed-point feature, or a bit when ``bits`` is 1."""

    name: str
    bits: int
    signed: bool = False
    kind: ClassVar[str] = "input"

    @property
    def min_value(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max_value(self) -> int:
        return (1 << (self.bits - 1 if self.signed else self.bits)) - 1

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 0)
        require(1 <= self.bits <= 32, f"has {self.bits} bits, allowed are 1 to 32")

    def width(self, operands: Sequence[Operand]) -> int:
        return self.bits

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Const:
    """A constant word."""

    value: int
    bits: int = 1
    kind: ClassVar[str] = "const"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 0)
        require(0 <= self.value < 1 << self.bits, f"value {self.value} does not fit {self.bits} bits")

    def width(self, operands: Sequence[Operand]) -> int:
        return self.bits

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return 0

    @staticmethod
    def evaluate(ops: Sequence[Const], samples: int) -> Words:
        return np.repeat(np.array([[op.value] for op in ops], dtype=np.int64), samples, axis=1)


@dataclass(frozen=True, slots=True)
class Compare:
    """An encoder's comparator: 1 where the input word is at least ``threshold``."""

    threshold: int
    kind: ClassVar[str] = "compare"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 1)
        require(isinstance(operands[0].op, Input), "compares an input word, nothing else")

    def width(self, operands: Sequence[Operand]) -> int:
        return 1

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        word = operands[0].op
        assert isinstance(word, Input)
        if self.threshold <= word.min_value:
            return Folded(Const(1), ())
        if self.threshold > word.max_value:
            return Folded(Const(0), ())
        return None

    def bits_compared(self, word: Input) -> int:
        """How many bits of the word matter, the highest ones; none if the answer is the same for all its values."""
        distance = self.threshold - word.min_value
        return word.bits - lowest_one(distance) if 0 < distance < 1 << word.bits else 0

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        """A comparison by the highest bit alone is a wire."""
        word = operands[0].op
        assert isinstance(word, Input)
        bits = self.bits_compared(word)
        return reduction_cost(bits) if bits > 1 else 0

    @staticmethod
    def evaluate(ops: Sequence[Compare], words: Words) -> NDArray[np.bool_]:
        thresholds = np.array([[op.threshold] for op in ops], dtype=np.int64)
        return words >= thresholds


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of an input word, in two's complement if the word is signed: a wire."""

    place: int
    kind: ClassVar[str] = "bit"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 1)
        require(isinstance(operands[0].op, Input), "is a bit of an input word, of nothing else")
        require(0 <= self.place < operands[0].width, f"is at place {self.place} of {operands[0].width} bits")

    def width(self, operands: Sequence[Operand]) -> int:
        return 1

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return 0

    @staticmethod
    def evaluate(ops: Sequence[Bit], words: Words) -> NDArray[np.bool_]:
        places = np.array([[op.place] for op in ops], dtype=np.int64)
        bits: NDArray[np.bool_] = (words >> places & 1) == 1
        return bits


@dataclass(frozen=True, slots=True)
class Lut:
    """A look-up table: bit ``a`` of ``table`` is the output at address ``a``; operand ``j`` is address bit ``j``."""

    fan_in: int
    table: int
    kind: ClassVar[str] = "lut"

    def check(self, operands: Sequence[Operand]) -> None:
        require(1 <= self.fan_in <= MAX_FAN_IN, f"has fan-in {self.fan_in}, allowed are 1 to {MAX_FAN_IN}")
        require_arity(operands, self.fan_in)
        require(0 <= self.table < 1 << (1 << self.fan_in), f"table does not fit {1 << self.fan_in} entries")
        require(all(operand.width == 1 for operand in operands), "reads bits only")

    def width(self, operands: Sequence[Operand]) -> int:
        return 1

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        """Cofactor by the constant operands; a table without any zero or without any one is a constant."""
        op, kept = self, list(range(self.fan_in))
        for position in reversed(range(self.fan_in)):
            value = operands[position].constant
            if value is not None:
                table = cofactor(op.table, op.fan_in, position, value)
                op = Lut(op.fan_in - 1, table)
                del kept[position]
        all_ones = (1 << (1 << op.fan_in)) - 1
        if op.table in (0, all_ones):
            return Folded(Const(int(op.table == all_ones)), ())
        return None if op is self else Folded(op, tuple(kept))

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        # A table of more than six inputs is a multiplexer tree over 6-input tables: four to one in a 6-input LUT.
        leaves = 1 << max(0, self.fan_in - 6)
        return leaves + (leaves - 1 + 2) // 3

    @staticmethod
    def evaluate(tables: NDArray[np.bool_], inputs: Bits) -> Bits:
        """Evaluate many LUTs of one fan-in, bit-sliced: 64 samples per machine word.

        ``tables`` is ``(luts, 2**fan_in)``, ``inputs`` ``(luts, fan_in, words)``; returns ``(luts, words)``.
        """
        result: Bits = np.where(tables, ALL_ONES, np.uint64(0))[:, :, np.newaxis]
        for position in range(inputs.shape[1]):
            select = inputs[:, position, np.newaxis, :]
            low, high = result[:, 0::2], result[:, 1::2]
            result = low ^ ((low ^ high) & select)
        return result[:, 0]


BUFFER, INVERTER = Lut(1, 0b10), Lut(1, 0b01)


@dataclass(frozen=True, slots=True)
class PopCount:
    """``offset`` plus the number of ones among its operands, which are bits."""

    offset: int = 0
    kind: ClassVar[str] = "popcount"

    def check(self, operands: Sequence[Operand]) -> None:
        require(len(operands) >= 1, "counts at least one bit")
        require(self.offset >= 0, "cannot start below zero")
        require(all(operand.width == 1 for operand in operands), "counts bits only")

    def width(self, operands: Sequence[Operand]) -> int:
        return bits_for(len(operands) + self.offset)

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        """Constant ones go into the offset, constant zeros away."""
        kept = tuple(place for place, operand in enumerate(operands) if operand.constant is None)
        if len(kept) == len(operands):
            return None
        offset = self.offset + sum(operand.constant or 0 for operand in operands)
        return Folded(PopCount(offset) if kept else Const(offset, bits_for(offset)), kept)

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        # Six bits to a three-bit count take three LUTs; adders of growing width follow: about one LUT per bit.
        return len(operands) if len(operands) > 6 else self.width(operands)

    def evaluate(self, values: Words) -> Words:
        total: Words = values.sum(axis=0, dtype=np.int64) + self.offset
        return total


@dataclass(frozen=True, slots=True)
class Concat:
    """Bits side by side, the first one lowest, as one word."""

    kind: ClassVar[str] = "concat"

    def check(self, operands: Sequence[Operand]) -> None:
        require(len(operands) >= 1, "joins at least one bit")
        require(all(operand.width == 1 for operand in operands), "joins bits only")

    def width(self, operands: Sequence[Operand]) -> int:
        return len(operands)

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        bits = [operand.constant for operand in operands]
        if any(bit is None for bit in bits):
            return None
        return Folded(Const(sum((bit or 0) << place for place, bit in enumerate(bits)), len(bits)), ())

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return 0

    def evaluate(self, values: Words) -> Words:
        word: Words = (values << np.arange(len(values))[:, np.newaxis]).sum(axis=0)
        return word


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of two words in ``bits`` bits; whoever makes one shows that it cannot overflow."""

    bits: int
    kind: ClassVar[str] = "add"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 2)
        require(self.bits >= max(operand.width for operand in operands), "is narrower than an operand")

    def width(self, operands: Sequence[Operand]) -> int:
        return self.bits

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        left, right = (operand.constant for operand in operands)
        if left is not None and right is not None:
            return Folded(Const((left + right) & ((1 << self.bits) - 1), self.bits), ())
        if left == 0 or right == 0:
            return Folded(None, (1 if left == 0 else 0,))
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return self.bits

    def evaluate(self, values: Words) -> Words:
        left, right = values
        total: Words = (left + right) & ((1 << self.bits) - 1)
        return total


@dataclass(frozen=True, slots=True)
class Greater:
    """1 where the second word is greater than the first."""

    kind: ClassVar[str] = "greater"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 2)

    def width(self, operands: Sequence[Operand]) -> int:
        return 1

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        """Constant where the ranges of the two words do not overlap: with constants, and with words of few bits."""
        (lowest_first, highest_first), (lowest_second, highest_second) = (operand.range for operand in operands)
        if highest_second <= lowest_first:
            return Folded(Const(0), ())
        if lowest_second > highest_first:
            return Folded(Const(1), ())
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return reduction_cost(sum(operand.width for operand in operands))

    def evaluate(self, values: Words) -> Words:
        first, second = values
        greater: Words = (second > first).astype(np.int64)
        return greater


@dataclass(frozen=True, slots=True)
class Mux:
    """Operands ``(select, when_0, when_1)``: the second word where ``select`` is 0, the third where it is 1."""

    kind: ClassVar[str] = "mux"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 3)
        require(operands[0].width == 1, "selects by one bit")

    def width(self, operands: Sequence[Operand]) -> int:
        return max(operands[1].width, operands[2].width)

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        select, when_0, when_1 = (operand.constant for operand in operands)
        if select is not None:
            return Folded(None, (1 + select,))
        if (when_0, when_1) == (0, 1):
            return Folded(None, (0,))
        if when_0 is not None and when_0 == when_1:
            return Folded(None, (1,))
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return self.width(operands)

    def evaluate(self, values: Words) -> Words:
        select, when_0, when_1 = values
        chosen: Words = np.where(select != 0, when_1, when_0)
        return chosen


@dataclass(frozen=True, slots=True)
class ArgMax:
    """The position of the greatest operand; of equal ones the lowest position."""

    kind: ClassVar[str] = "argmax"

    def check(self, operands: Sequence[Operand]) -> None:
        require(len(operands) >= 1, "compares at least one word")

    def width(self, operands: Sequence[Operand]) -> int:
        return bits_for(len(operands) - 1)

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        values = [operand.constant for operand in operands]
        constants = [value for value in values if value is not None]
        if len(constants) < len(values) and len(values) > 1:
            return None
        position = constants.index(max(constants)) if len(values) > 1 else 0
        return Folded(Const(position, self.width(operands)), ())

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        if len(operands) == 1:
            return 0
        # Words meet by threes, each compared with each other. A LUT compares two bits and what was found before them.
        # Positions are short in the first matches, which are most: three bits on average.
        score_bits, position_bits = max(operand.width for operand in operands), min(3, self.width(operands))
        threes, twos = divmod(len(operands) - 1, 2)
        comparisons = (3 * threes + twos) * max(1, score_bits // 2)
        positions = threes * (position_bits + 1) + twos * (position_bits - 1)
        return comparisons + positions + (threes + twos - 1) * score_bits  # nobody reads the score of the last match

    def evaluate(self, values: Words) -> Words:
        positions: Words = values.argmax(axis=0).astype(np.int64)  # numpy, too, takes the lowest of equal ones
        return positions


@dataclass(frozen=True, slots=True)
class Register:
    """A flip-flop per bit: the operand, one clock cycle later. Evaluation looks through it."""

    kind: ClassVar[str] = "register"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 1)

    def width(self, operands: Sequence[Operand]) -> int:
        return operands[0].width

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Output:
    """A word that leaves the circuit under ``name``."""

    name: str
    kind: ClassVar[str] = "output"

    def check(self, operands: Sequence[Operand]) -> None:
        require_arity(operands, 1)

    def width(self, operands: Sequence[Operand]) -> int:
        return operands[0].width

    def fold(self, operands: Sequence[Operand]) -> Folded | None:
        return None

    def lut6_cost(self, operands: Sequence[Operand]) -> int:
        return 0


AnyOp = Input | Const | Compare | Bit | Lut | PopCount | Concat | Add | Greater | Mux | ArgMax | Register | Output
OP_BY_KIND: dict[str, type[AnyOp]] = {
    op.kind: op
    for op in (Input, Const, Compare, Bit, Lut, PopCount, Concat, Add, Greater, Mux, ArgMax, Register, Output)
}


def cofactor(table: int, fan_in: int, position: int, value: int) -> int:
    """The table left when address bit ``position`` is fixed to ``value``."""
    entries = table_to_bools(table, fan_in).reshape(-1, 2, 1 << position)
    return bools_to_table(entries[:, value].reshape(-1))


def complement_pins(op: Lut, inverted: Sequence[bool]) -> Lut:
    """The LUT that answers as ``op`` does when the pins marked ``inverted`` are inverted."""
    flips = sum(1 << pin for pin, flip in enumerate(inverted) if flip)
    if not flips:
        return op
    entries = table_to_bools(op.table, op.fan_in)
    return Lut(op.fan_in, bools_to_table(entries[np.arange(1 << op.fan_in) ^ flips]))


def complement_table(op: Lut) -> Lut:
    """The LUT that always answers the opposite of ``op``."""
    return Lut(op.fan_in, op.table ^ ((1 << (1 << op.fan_in)) - 1))


def rewire_pins(op: Lut, pin_of: Sequence[int], fan_in: int) -> Lut:
    """The LUT of ``fan_in`` pins that answers as ``op`` does when pin ``p`` of ``op`` reads pin ``pin_of[p]``.

    Several pins may read the same one; a pin that none reads does not matter.
    """
    entries = table_to_bools(op.table, op.fan_in)
    return Lut(fan_in, bools_to_table(entries[_addresses_of(tuple(pin_of), fan_in)]))


@lru_cache(maxsize=1 << 16)
def _addresses_of(pin_of: tuple[int, ...], fan_in: int) -> NDArray[np.int64]:
    """The address ``(2**fan_in,)`` that pins wired like this make of every address."""
    bits = np.arange(1 << fan_in)[:, np.newaxis] >> np.array(pin_of, dtype=np.int64) & 1
    addresses: NDArray[np.int64] = (bits << np.arange(len(pin_of))).sum(axis=1)
    return addresses


def table_to_bools(table: int, fan_in: int) -> NDArray[np.bool_]:
    """``(2**fan_in,)`` entries of a table, address 0 first."""
    size = 1 << fan_in
    raw = np.frombuffer(table.to_bytes((size + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(raw, count=size, bitorder="little").astype(np.bool_)


def tables_to_bools(tables: Sequence[int], fan_in: int) -> NDArray[np.bool_]:
    """``(tables, 2**fan_in)`` entries of many tables, address 0 first."""
    size = 1 << fan_in
    raw = b"".join([table.to_bytes((size + 7) // 8, "little") for table in tables])
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(len(tables), -1)
    return np.unpackbits(packed, axis=1, count=size, bitorder="little").view(np.bool_)


def bools_to_tables(entries: NDArray[np.bool_]) -> list[int]:
    """The inverse of :func:`tables_to_bools`."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(entries, axis=1, bitorder="little")]


def bools_to_table(entries: NDArray[np.bool_]) -> int:
    """The inverse of :func:`table_to_bools`."""
    return int.from_bytes(np.packbits(entries, bitorder="little").tobytes(), "little")


def reduction_cost(inputs: int) -> int:
    """6-input LUTs of a tree that reduces ``inputs`` bits to one."""
    return max(1, -(-(inputs - 1) // 5))
