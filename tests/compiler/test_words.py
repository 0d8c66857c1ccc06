"""Functions in words, and the figures of layers, against functions and sums written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Compare, Input, Lut, Output
from difflut_compiler.statistics import layer_statistics
from difflut_compiler.words import describe_table, entropies, influences


def table_of(function: Callable[..., bool], inputs: int) -> int:
    """The table of a Python function, input 0 being the lowest address bit."""
    rows = product((False, True), repeat=inputs)
    return sum(1 << address for address, row in enumerate(rows) if function(*reversed(row)))


@pytest.mark.parametrize(
    ("function", "inputs", "words"),
    [
        (lambda a, b: False, 2, "always 0"),
        (lambda a, b: True, 2, "always 1"),
        (lambda a, b, c: b, 3, "b"),
        (lambda a, b, c: not c, 3, "not c"),
        (lambda a, b: a and not b, 2, "a and not b"),
        (lambda a, b, c: not a or b or c, 3, "not a or b or c"),
        (lambda a, b, c, d: a and c and not d, 4, "a and c and not d"),
        (lambda a, b, c: a ^ b ^ c, 3, "an odd number of a, b, c"),
        (lambda a, b: a == b, 2, "an even number of a, b"),
        (lambda a, b, c: a + b + c >= 2, 3, "at least 2 of a, b, c"),
        (lambda a, b, c, d: (not a) + b + c + d >= 3, 4, "at least 3 of not a, b, c, d"),
        (lambda a, b, c: b if c else a, 3, "b if c, else a"),
        (lambda a, b, c: (a and b) or (a and not c), 3, "a and"),
    ],
)
def test_functions_have_names(function: Callable[..., bool], inputs: int, words: str) -> None:
    found = describe_table(table_of(function, inputs), "abcd"[:inputs])
    if words == "a and":
        assert found == "1 at 3 of 8 addresses; most like a, with which it agrees at 88%"
    else:
        assert found == words


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 2 ** (2**n) - 1))))
def test_every_table_has_words_and_equal_words_mean_equal_tables(case: tuple[int, int]) -> None:
    """Words that name a function are that function: read back as Python, they give the table."""
    inputs, table = case
    names = [f"x{j}" for j in range(inputs)]
    words = describe_table(table, names)
    assert words
    named = "most like" not in words and " of " not in words and " if " not in words and "always" not in words
    if named:
        read = eval(f"lambda {', '.join(names)}: {words}")  # noqa: S307 - our own words
        assert table_of(read, inputs) == table


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 2 ** (2**n) - 1))))
def test_influence_and_entropy_are_counted(case: tuple[int, int]) -> None:
    inputs, table = case
    entries = [table >> address & 1 for address in range(2**inputs)]
    found = influences(np.array([entries], dtype=bool))[0]
    for j in range(inputs):
        flips = sum(entries[address] != entries[address ^ 1 << j] for address in range(2**inputs))
        assert found[j] == pytest.approx(flips / 2**inputs)
    ones = sum(entries) / 2**inputs
    expected = -sum(p * math.log2(p) for p in (ones, 1 - ones) if p)
    assert entropies(np.array([entries], dtype=bool))[0] == pytest.approx(expected)


def test_layers_are_traced_back_to_the_features() -> None:
    """Two LUTs: `a and b` of features 0 and 1, and one above it that passes it on: both halves go to 0 and 1."""
    graph = LutGraph("tiny", ["input", "encoder", "layers.0", "layers.1", "output"])
    words = [graph.add(Input(f"f{k}", 4), origin=Origin("input", k)) for k in range(3)]
    bits = [graph.add(Compare(5), (word,), origin=Origin("encoder", k)) for k, word in enumerate(words)]
    both = graph.add(Lut(2, 0b1000), bits[:2], origin=Origin("layers.0", 0))
    third = graph.add(Lut(1, 0b10), bits[2:], origin=Origin("layers.0", 1))
    top = graph.add(Lut(2, 0b1010), (both, third), origin=Origin("layers.1", 0))  # its first input alone
    graph.add(Output("class_index"), (top,), origin=Origin("output", 0))
    first, second = layer_statistics(graph)
    assert first.layer == "layers.0"
    np.testing.assert_allclose(first.input_weight, [0.25, 0.25, 0.5])
    np.testing.assert_allclose(second.input_weight, [0.5, 0.5, 0.0])
    np.testing.assert_allclose(first.entropy, [0.8112781, 1.0], atol=1e-6)
    assert first.fan_out.tolist() == [1, 1]
    assert first.fan_in.tolist() == [2, 1]
