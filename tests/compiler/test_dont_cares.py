"""Don't-cares: windows try all that can occur, no more pins stay than must, and nothing is proven that is not so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Compare, Input, Lut, Output, table_to_bools
from difflut_compiler.passes import PASSES, UseDontCares, run_passes
from difflut_compiler.passes.windows import grow_window
from difflut_compiler.verify.prove_passes import prove_step
from tests.compiler.random_graphs import SEEDS, Shape, all_inputs, make_graph, random_inputs, slow_values

SMALL = st.builds(
    Shape,
    features=st.integers(1, 2),
    bits=st.integers(1, 4),
    signed=st.booleans(),
    thresholds=st.integers(2, 5),
    widths=st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple),
    max_fan_in=st.integers(2, 6),
    classes=st.just(2),
)


def occurring_addresses(graph: LutGraph, net: int) -> set[int]:
    """Every address that some input of the circuit makes at a LUT, by trying all inputs."""
    pins = graph.node(net).operands
    rows = (slow_values(graph.snapshot(), row) for row in all_inputs(graph).tolist())
    return {sum(values[pin] << place for place, pin in enumerate(pins)) for values in rows}


def luts(graph: LutGraph) -> list[int]:
    return [net for net in graph if isinstance(graph.node(net).op, Lut)]


@given(SMALL, SEEDS)
@settings(max_examples=30)
def test_windows_try_at_least_all_that_occurs(shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    for net in luts(graph):
        pins = graph.node(net).operands
        window = grow_window(graph, pins, 256)
        values = window.values(pins).astype(np.int64)
        tried = set((values << np.arange(len(pins))[:, np.newaxis]).sum(axis=0).tolist())
        assert tried >= occurring_addresses(graph, net)


@given(SMALL, SEEDS)
@settings(max_examples=30)
def test_luts_of_comparators_keep_no_needless_pin(shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, 8)
    before = ("fold-constants", "drop-unused-inputs", "merge-duplicates")
    run_passes(graph, [*(PASSES[name] for name in before), UseDontCares()], inputs)
    for net in luts(graph):
        node = graph.node(net)
        assert isinstance(node.op, Lut)
        if not all(isinstance(graph.node(pin).op, Compare) for pin in node.operands) or node.op.fan_in == 1:
            continue
        occurring = occurring_addresses(graph, net)
        table = table_to_bools(node.op.table, node.op.fan_in)
        for pin in range(node.op.fan_in):
            pairs = [(address, address ^ 1 << pin) for address in occurring if address ^ 1 << pin in occurring]
            assert any(table[one] != table[other] for one, other in pairs), f"pin {pin} of {graph.describe(net)}"


def thermometer_graph(table: int) -> LutGraph:
    """A LUT of two comparators of one word, the higher one first."""
    graph = LutGraph("g", ["input", "encoder", "layers.0", "output"])
    word = graph.add(Input("x", 3), origin=Origin("input", 0))
    bits = [graph.add(Compare(level), (word,), origin=Origin("encoder", level)) for level in (5, 2)]
    lut = graph.add(Lut(2, table), bits, origin=Origin("layers.0", 0))
    graph.add(Output("y"), (lut,), origin=Origin("output", 0))
    return graph


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        (0b1000, [1]),  # both: the higher one
        (0b1110, [2]),  # either: the lower one
        (0b0110, [1, 2]),  # between them: needs both
        (0b0010, []),  # the higher one without the lower one: never
    ],
)
def test_of_two_levels_the_higher_one_implies_the_lower_one(table: int, kept: list[int], tmp_path: Path) -> None:
    graph = thermometer_graph(table)
    passes = [UseDontCares(), PASSES["fold-constants"], PASSES["absorb-inverters"]]
    steps = run_passes(graph, passes, all_inputs(graph))
    for step in steps:
        prove_step(step, tmp_path)
    (output,) = graph.outputs()
    (source,) = graph.node(output).operands
    node = graph.node(source)
    assert (list(node.operands) if isinstance(node.op, Lut) else [source] * isinstance(node.op, Compare)) == kept


def test_levels_of_different_words_are_free() -> None:
    graph = LutGraph("g", ["input", "encoder", "layers.0", "output"])
    words = [graph.add(Input(f"x{index}", 3), origin=Origin("input", index)) for index in range(2)]
    bits = [graph.add(Compare(2 + word), (word,), origin=Origin("encoder", word)) for word in words]
    lut = graph.add(Lut(2, 0b1000), bits, origin=Origin("layers.0", 0))
    graph.add(Output("y"), (lut,), origin=Origin("output", 0))
    assert not UseDontCares().apply(graph).changed


def test_an_address_that_occurs_is_no_dont_care(tmp_path: Path) -> None:
    """The opposite implication, and a level that is not opened: the proof takes neither on trust."""
    graph = thermometer_graph(0b1000)
    (step,) = run_passes(graph, [UseDontCares()], all_inputs(graph), repeat=False)
    assert step.opened == {1, 2}
    prove_step(step, tmp_path)
    lower = dataclasses.replace(step, after={**step.after, 3: step.after[3]._replace(operands=(2,))})
    for wrong in (lower, dataclasses.replace(step, opened=frozenset()), dataclasses.replace(step, opened={1})):
        with pytest.raises(MismatchError, match="use-dont-cares changed the function of a net"):
            prove_step(wrong, tmp_path)


@given(SMALL, SEEDS)
@settings(max_examples=15)
def test_what_the_pass_does_is_proven(tmp_path_factory: pytest.TempPathFactory, shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    for step in run_passes(graph, [UseDontCares()], random_inputs(graph, 16)):
        assert prove_step(step, tmp_path_factory.mktemp("step")).by_sat > 0
