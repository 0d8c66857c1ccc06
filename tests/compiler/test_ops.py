"""Operations: their meaning against plain Python, and the arithmetic on tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflut_compiler.evaluation import pack_bits, unpack_bits
from difflut_compiler.graph import Node, Origin
from difflut_compiler.ops import (
    OP_BY_KIND,
    Add,
    AnyOp,
    ArgMax,
    Bit,
    Compare,
    Concat,
    Const,
    Folded,
    Greater,
    Input,
    Lut,
    Mux,
    Operand,
    Output,
    PopCount,
    Register,
    bits_for,
    bools_to_table,
    cofactor,
    complement_pins,
    complement_table,
    rewire_pins,
    table_to_bools,
)
from tests.compiler.random_graphs import bits_of, slow_value

BIT = Operand(Lut(1, 2), 1)
WORD = Operand(PopCount(), 4)

TABLES = st.integers(1, 8).flatmap(
    lambda fan_in: st.builds(Lut, st.just(fan_in), st.integers(0, (1 << (1 << fan_in)) - 1))
)


def slow(op: AnyOp, operands: Sequence[int]) -> int:
    return slow_value(Node(op, (), 0, Origin("layer", 0)), operands)


@given(TABLES, st.integers(1, 130), st.randoms(use_true_random=False))
def test_lut_reads_operand_j_as_address_bit_j(op: Lut, samples: int, chance: np.random.Generator) -> None:
    pins = np.array([[chance.random() < 0.5 for _ in range(samples)] for _ in range(op.fan_in)])
    found = Lut.evaluate(table_to_bools(op.table, op.fan_in)[np.newaxis], pack_bits(pins)[np.newaxis])
    expected = [slow(op, column) for column in pins.T.astype(int).tolist()]
    assert unpack_bits(found, samples)[0].tolist() == expected


def test_many_luts_at_once_do_not_mix() -> None:
    tables = np.array([table_to_bools(table, 2) for table in range(16)])
    pins = np.array([[[0, 1, 0, 1], [0, 0, 1, 1]]] * 16, dtype=np.bool_)
    packed = np.stack([pack_bits(lut) for lut in pins])
    found = unpack_bits(Lut.evaluate(tables, packed), 4)
    assert [bits_of(table, 4) for table in range(16)] == found.tolist()


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=4), st.lists(st.integers(-8, 7), min_size=1))
def test_compare_is_at_least(thresholds: list[int], words: list[int]) -> None:
    ops = [Compare(threshold) for threshold in thresholds]
    found = Compare.evaluate(ops, np.array([words] * len(ops)))
    assert found.tolist() == [[word >= threshold for word in words] for threshold in thresholds]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.lists(st.integers(-32, 31), min_size=1))
def test_bits_are_those_of_twos_complement(places: list[int], words: list[int]) -> None:
    found = Bit.evaluate([Bit(place) for place in places], np.array([words] * len(places)))
    assert found.astype(int).tolist() == [[bits_of(word, 6)[place] for word in words] for place in places]


@given(st.lists(st.lists(st.integers(0, 1), min_size=5, max_size=5), min_size=1, max_size=40), st.integers(0, 9))
def test_popcount_counts_ones_from_its_offset(rows: list[list[int]], offset: int) -> None:
    expected = [offset + sum(column) for column in zip(*rows, strict=True)]
    assert PopCount(offset).evaluate(np.array(rows)).tolist() == expected
    assert max(expected) < 2 ** PopCount(offset).width([BIT] * len(rows))


@pytest.mark.parametrize(
    ("op", "operand_values"),
    [
        (Concat(), (range(2), range(2), range(2))),
        (Add(3), (range(8), range(8))),
        (Add(4), (range(8), range(4))),
        (Greater(), (range(8), range(6))),
        (Mux(), (range(2), range(5), range(3))),
        (ArgMax(), (range(4), range(4), range(4), range(4))),
    ],
    ids=["concat", "add", "wider add", "greater", "mux", "argmax"],
)
def test_word_operations_on_all_values(
    op: Concat | Add | Greater | Mux | ArgMax, operand_values: Sequence[range]
) -> None:
    rows = np.stack([axis.ravel() for axis in np.meshgrid(*map(list, operand_values), indexing="ij")])
    assert op.evaluate(rows).tolist() == [slow(op, column) for column in rows.T.tolist()]


@pytest.mark.parametrize("scores", [[5, 5], [0, 0, 0], [1, 3, 3, 2], [2, 1, 2], [0, 7, 7, 7]])
def test_of_equal_scores_the_lowest_position_wins(scores: list[int]) -> None:
    assert ArgMax().evaluate(np.array(scores)[:, np.newaxis]).tolist() == [scores.index(max(scores))]


@given(TABLES)
def test_table_and_entries_are_inverse(op: Lut) -> None:
    entries = table_to_bools(op.table, op.fan_in)
    assert entries.tolist() == [bool(bit) for bit in bits_of(op.table, 1 << op.fan_in)]
    assert bools_to_table(entries) == op.table


@given(TABLES, st.data())
def test_cofactor_fixes_one_address_bit(op: Lut, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, op.fan_in - 1))
    value = data.draw(st.integers(0, 1))
    entries = bits_of(op.table, 1 << op.fan_in)
    kept = [bit for address, bit in enumerate(entries) if address >> position & 1 == value]
    assert bits_of(cofactor(op.table, op.fan_in, position, value), len(kept)) == kept


@given(TABLES, st.data())
def test_folded_lut_computes_the_same(op: Lut, data: st.DataObject) -> None:
    constants = data.draw(st.lists(st.sampled_from([None, 0, 1]), min_size=op.fan_in, max_size=op.fan_in))
    folded = op.fold([BIT if value is None else Operand(Const(value), 1) for value in constants])
    free = [pin for pin, value in enumerate(constants) if value is None]
    if folded is None:
        assert len(free) == op.fan_in
        assert op.table not in (0, (1 << (1 << op.fan_in)) - 1)
        return
    for address in range(1 << op.fan_in):
        pins = [bit if value is None else value for bit, value in zip(bits_of(address, 8), constants, strict=False)]
        assert slow_folded(folded, pins) == slow(op, pins)
    assert set(folded.kept) <= set(free)


@given(st.lists(st.sampled_from([None, 0, 1]), min_size=1, max_size=8), st.integers(0, 5))
def test_folded_popcount_computes_the_same(constants: list[int | None], offset: int) -> None:
    op = PopCount(offset)
    free = [pin for pin, value in enumerate(constants) if value is None]
    folded = op.fold([BIT if value is None else Operand(Const(value), 1) for value in constants])
    if folded is None:
        assert len(free) == len(constants)
        return
    assert list(folded.kept) == free
    for ones in range(len(free) + 1):
        values = dict(zip(free, [1] * ones + [0] * len(free), strict=False))
        pins = [values[pin] if value is None else value for pin, value in enumerate(constants)]
        assert slow_folded(folded, pins) == slow(op, pins)


def slow_folded(folded: Folded, operands: list[int]) -> int:
    kept = [operands[place] for place in folded.kept]
    if folded.op is None:
        (value,) = kept
        return value
    return slow(folded.op, kept)


WORDS = st.tuples(st.integers(1, 3), st.none() | st.integers(0, 7)).map(
    lambda word: Operand(Input("x", word[0]) if word[1] is None else Const(word[1] % (1 << word[0]), word[0]), word[0])
)


def values_of(operand: Operand) -> range:
    return range(1 << operand.width) if operand.constant is None else range(operand.constant, operand.constant + 1)


def check_fold(op: Concat | Add | Greater | Mux, operands: list[Operand]) -> bool:
    """Whether ``op`` folds; if it does, to the same value for all values of the operands."""
    op.check(operands)
    folded = op.fold(operands)
    if folded is None:
        return False
    for values in itertools.product(*map(values_of, operands)):
        assert slow_folded(folded, list(values)) == slow(op, list(values))
    return True


@given(st.lists(st.sampled_from([BIT, Operand(Const(0), 1), Operand(Const(1), 1)]), min_size=1, max_size=6))
def test_joined_bits_fold_exactly_where_all_are_constant(bits: list[Operand]) -> None:
    assert check_fold(Concat(), bits) == (BIT not in bits)


@given(WORDS, WORDS)
def test_sums_fold_where_constants_decide(left: Operand, right: Operand) -> None:
    constants = (left.constant, right.constant)
    assert check_fold(Add(4), [left, right]) == (0 in constants or None not in constants)


@given(WORDS, WORDS)
def test_comparisons_fold_exactly_where_they_are_constant(first: Operand, second: Operand) -> None:
    answers = {b > a for a in values_of(first) for b in values_of(second)}
    assert check_fold(Greater(), [first, second]) == (len(answers) == 1)


@given(st.sampled_from([BIT, Operand(Const(0), 1), Operand(Const(1), 1)]), WORDS, WORDS)
def test_choices_fold_where_constants_decide(select: Operand, when_0: Operand, when_1: Operand) -> None:
    constants = (when_0.constant, when_1.constant)
    same = None not in constants and when_0.constant == when_1.constant
    assert check_fold(Mux(), [select, when_0, when_1]) == (select is not BIT or same or constants == (0, 1))


@given(TABLES, st.data())
def test_rewired_pins(op: Lut, data: st.DataObject) -> None:
    fan_in = data.draw(st.integers(1, 5))
    pin_of = data.draw(st.lists(st.integers(0, fan_in - 1), min_size=op.fan_in, max_size=op.fan_in))
    rewired = rewire_pins(op, pin_of, fan_in)
    for address in range(1 << fan_in):
        pins = bits_of(address, fan_in)
        assert slow(rewired, pins) == slow(op, [pins[pin] for pin in pin_of])


@given(TABLES, st.data())
def test_complements(op: Lut, data: st.DataObject) -> None:
    inverted = data.draw(st.lists(st.booleans(), min_size=op.fan_in, max_size=op.fan_in))
    for address in range(1 << op.fan_in):
        pins = bits_of(address, op.fan_in)
        flipped = [pin ^ flip for pin, flip in zip(pins, inverted, strict=True)]
        assert slow(complement_pins(op, inverted), pins) == slow(op, flipped)
        assert slow(complement_table(op), pins) == 1 - slow(op, pins)


@pytest.mark.parametrize(
    ("scores", "folded"),
    [([3, 1], 0), ([1, 3, 3], 1), ([0, 0, 0], 0), ([2], 0), ([None], 0), ([3, None], None), ([None, None], None)],
)
def test_argmax_folds_where_its_operands_leave_no_choice(scores: list[int | None], folded: int | None) -> None:
    operands = [WORD if score is None else Operand(Const(score, 4), 4) for score in scores]
    result = ArgMax().fold(operands)
    assert (result.op if result else None) == (None if folded is None else Const(folded, ArgMax().width(operands)))


@pytest.mark.parametrize(("threshold", "folded"), [(-5, 1), (-4, 1), (-3, None), (0, None), (3, None), (4, 0), (9, 0)])
def test_comparator_folds_exactly_where_it_is_constant(threshold: int, folded: int | None) -> None:
    result = Compare(threshold).fold([Operand(Input("x", 3, signed=True), 3)])
    assert (result.op if result else None) == (None if folded is None else Const(folded))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("signed", [False, True])
def test_input_range_is_that_of_the_format(bits: int, signed: bool) -> None:
    word = Input("x", bits, signed)
    lowest = -(2 ** (bits - 1)) if signed else 0
    assert (word.min_value, word.max_value) == (lowest, lowest + 2**bits - 1)


@pytest.mark.parametrize("value", [0, 1, 2, 3, 4, 7, 8, 255, 256])
def test_bits_for_is_the_least_width(value: int) -> None:
    width = bits_for(value)
    assert value < 2**width
    assert width == 1 or value >= 2 ** (width - 1)


ILLEGAL: list[tuple[AnyOp, list[Operand]]] = [
    (Input("x", 0), []),
    (Input("x", 33), []),
    (Input("x", 4), [BIT]),
    (Const(2, 1), []),
    (Const(-1, 4), []),
    (Compare(1), [BIT]),
    (Compare(1), []),
    (Bit(0), [WORD]),
    (Bit(4), [Operand(Input("x", 4), 4)]),
    (Bit(-1), [Operand(Input("x", 4), 4)]),
    (Lut(0, 0), []),
    (Lut(17, 0), [BIT] * 17),
    (Lut(2, 1), [BIT]),
    (Lut(1, 4), [BIT]),
    (Lut(1, -1), [BIT]),
    (Lut(1, 1), [WORD]),
    (PopCount(), []),
    (PopCount(), [WORD]),
    (PopCount(-1), [BIT]),
    (Concat(), []),
    (Concat(), [BIT, WORD]),
    (Add(3), [WORD, BIT]),
    (Add(9), [WORD]),
    (Greater(), [WORD]),
    (Mux(), [WORD, WORD, WORD]),
    (Mux(), [BIT, WORD]),
    (ArgMax(), []),
    (Register(), []),
    (Output("y"), [BIT, BIT]),
]


@pytest.mark.parametrize(("op", "operands"), ILLEGAL, ids=lambda value: str(value)[:40])
def test_illegal_operands_are_refused(op: AnyOp, operands: list[Operand]) -> None:
    reasons = "operand|bits|input word|place|fit|fan-in|reads|counts|joins|compares|narrower|selects|below zero"
    with pytest.raises(ValueError, match=reasons):
        op.check(operands)


def test_every_operation_refuses_something() -> None:
    assert {op.kind for op, _ in ILLEGAL} == set(OP_BY_KIND)
