"""Comparators that share LUTs: the same bits for every word there is, in fewer LUTs and no more levels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Compare, Input, Lut, Output
from difflut_compiler.passes import LUT_INPUTS, ExpandEncoder, PassResult, run_passes
from difflut_compiler.passes.comparison_plans import plain_luts, plan_comparisons
from difflut_compiler.verify.prove_passes import prove_step
from tests.compiler.random_graphs import all_inputs, as_lists


def encoder(bits: int, thresholds: Sequence[int], signed: bool = False) -> LutGraph:
    """Comparators of one word with thresholds counted from its least value, each an output of its own."""
    graph = LutGraph("encoder", ["input", "encoder", "output"])
    word = Input("x", bits, signed)
    net = graph.add(word, origin=Origin("input", 0))
    for number, threshold in enumerate(thresholds):
        bit = graph.add(Compare(word.min_value + threshold), (net,), origin=Origin("encoder", number))
        graph.add(Output(f"y{number}"), (bit,), origin=Origin("output", number))
    graph.verify()
    return graph


def count_luts(graph: LutGraph, bits: int, lut_inputs: int) -> int:
    """LUTs of an encoder, its comparators as chains of LUTs."""
    least = next(op.min_value for node in graph.nodes.values() if isinstance(op := node.op, Input))
    compares = [node.op.threshold - least for node in graph.nodes.values() if isinstance(node.op, Compare)]
    luts = sum(isinstance(node.op, Lut) for node in graph.nodes.values())
    return luts + sum(plain_luts(bits, threshold, lut_inputs) for threshold in compares)


def count_levels(graph: LutGraph, bits: int, lut_inputs: int) -> int:
    """LUTs behind each other, again with comparators as chains."""
    levels: dict[int, int] = {}
    for net in graph.order():
        node = graph.node(net)
        before = max((levels[operand] for operand in node.operands), default=0)
        own = int(isinstance(node.op, Lut))
        if isinstance(node.op, Compare):
            word = graph.node(node.operands[0]).op
            assert isinstance(word, Input)
            own = plain_luts(bits, node.op.threshold - word.min_value, lut_inputs)
        levels[net] = before + own
    return max(levels.values())


WORDS = st.integers(2, 10).flatmap(
    lambda bits: st.tuples(st.just(bits), st.lists(st.integers(1, (1 << bits) - 1), min_size=1, max_size=12))
)


@pytest.mark.parametrize("lut_inputs", LUT_INPUTS)
@given(word=WORDS, signed=st.booleans())
@settings(max_examples=30)
def test_every_word_is_encoded_in_fewer_luts(lut_inputs: int, word: tuple[int, list[int]], signed: bool) -> None:
    bits, thresholds = word[0], sorted(set(word[1]))
    plain = encoder(bits, thresholds, signed)
    shared = plain.copy()
    ExpandEncoder(lut_inputs).apply(shared)
    shared.verify()
    inputs = all_inputs(plain)
    expected = {f"y{number}": inputs[:, 0] - inputs.min() >= level for number, level in enumerate(thresholds)}
    assert as_lists(shared.evaluate(inputs)) == as_lists(expected)
    assert all(len(node.operands) <= lut_inputs for node in shared.nodes.values() if isinstance(node.op, Lut))
    compares = [node.op.threshold - int(inputs.min()) for node in shared.nodes.values() if isinstance(node.op, Compare)]
    assert all(plain_luts(bits, threshold, lut_inputs) <= 1 for threshold in compares)
    luts = count_luts(shared, bits, lut_inputs)
    assert luts == plan_comparisons(bits, tuple(thresholds), lut_inputs).luts
    assert luts <= count_luts(plain, bits, lut_inputs)
    assert count_levels(shared, bits, lut_inputs) <= count_levels(plain, bits, lut_inputs)


@pytest.mark.parametrize(
    ("bits", "thresholds", "lut_inputs", "plain", "shared"),
    [
        (8, [51, 102, 154], 6, 6, 4),  # other high parts: one low part for all
        (8, [1, 2, 3], 6, 6, 4),  # the same high part, compared once
        (8, [97, 98, 99], 6, 6, 5),  # twice, since words may be above it, too
        (8, [77], 6, 2, 2),
        (8, [1, 2, 3], 4, 8, 5),
        (12, list(range(100, 4000, 100)), 6, 76, 60),
        (16, list(range(20_000, 20_200, 5)), 6, 118, 51),
    ],
)
def test_how_many_luts_are_saved(bits: int, thresholds: list[int], lut_inputs: int, plain: int, shared: int) -> None:
    graph = encoder(bits, thresholds)
    assert count_luts(graph, bits, lut_inputs) == plain
    assert ExpandEncoder(lut_inputs).apply(graph).changed
    assert count_luts(graph, bits, lut_inputs) == shared


def test_comparators_that_are_there_twice_become_the_same_lut() -> None:
    graph = encoder(8, [51, 102, 102])
    ExpandEncoder().apply(graph)
    first, second = (graph.node(net) for net in (3, 5))
    assert isinstance(first.op, Lut)
    assert (first.op, first.operands) == (second.op, second.operands)


@pytest.mark.parametrize("signed", [False, True])
def test_words_too_wide_for_enumeration_are_proven(signed: bool, tmp_path: Path) -> None:
    graph = encoder(32, [1, 2**31 - 5, 2**31, *range(3 * 10**9, 3 * 10**9 + 400, 7)], signed)
    low, high = (-(2**31), 2**31 - 1) if signed else (0, 2**32 - 1)
    (step,) = run_passes(graph, [ExpandEncoder()], np.array([[low], [high]]), repeat=False)
    assert prove_step(step, tmp_path).by_sat >= 50


def test_comparators_of_one_lut_stay_comparators() -> None:
    """These are two LUTs of two bits, a wire, and one that is always 1."""
    graph = encoder(8, [64, 128, 192, 0])
    before = graph.snapshot()
    assert ExpandEncoder().apply(graph) == PassResult(changed=False)
    assert graph.snapshot() == before
