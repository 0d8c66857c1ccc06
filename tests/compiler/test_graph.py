"""The graph: evaluation, rules, text and files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflut_compiler import evaluation
from difflut_compiler.errors import CompilerError, GraphError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.graph_file import graph_from_json, graph_to_json
from difflut_compiler.ops import (
    OP_BY_KIND,
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
)
from tests.compiler.random_graphs import (
    SEEDS,
    SHAPES,
    Shape,
    as_lists,
    make_graph,
    random_inputs,
    slow_outputs,
    slow_values,
)


def tiny_graph() -> LutGraph:
    """Two comparators, one LUT, an output: nets 0 to 4."""
    graph = LutGraph("tiny", ["input", "encoder", "layers.0", "output"])
    word = graph.add(Input("feature_0", 3, signed=True), origin=Origin("input", 0))
    bits = [graph.add(Compare(level), (word,), origin=Origin("encoder", level)) for level in (1, 2)]
    lut = graph.add(Lut(2, 0b0110), bits, origin=Origin("layers.0", 0))
    graph.add(Output("y"), (lut,), origin=Origin("output", 0))
    return graph


def test_text_of_a_tiny_graph() -> None:
    assert str(tiny_graph()) == (
        "graph tiny layers input encoder layers.0 output\n"
        "%0:3 = input name=feature_0 bits=3 signed=True () # input[0]\n"
        "%1:1 = compare threshold=1 (%0) # encoder[1]\n"
        "%2:1 = compare threshold=2 (%0) # encoder[2]\n"
        "%3:1 = lut fan_in=2 table=0x6 (%1 %2) # layers.0[0]\n"
        "%4:1 = output name=y (%3) # output[0]"
    )


@given(SHAPES, SEEDS, st.integers(1, 70))
def test_evaluate_equals_the_slow_evaluator(shape: Shape, seed: int, samples: int) -> None:
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, samples, seed)
    assert as_lists(graph.evaluate(inputs)) == slow_outputs(graph, inputs)


@pytest.mark.slow
@settings(max_examples=3000)
@given(SHAPES, SEEDS, st.integers(1, 200))
def test_evaluate_equals_the_slow_evaluator_on_many(shape: Shape, seed: int, samples: int) -> None:
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, samples, seed)
    assert as_lists(graph.evaluate(inputs)) == slow_outputs(graph, inputs)


@pytest.mark.parametrize("samples", [0, 1, 2, 63, 64, 65, 127, 128, 129, 192, 200])
@pytest.mark.parametrize("chunk", [1, 64, 100, 128])
def test_sample_counts_around_words_and_chunks(samples: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "SAMPLES_PER_CHUNK", chunk)
    graph = make_graph(Shape(signed=True), seed=5)
    inputs = random_inputs(graph, samples)
    assert graph.evaluate(inputs)["class_index"].tolist() == slow_outputs(graph, inputs)["class_index"]


def test_little_scratch_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph(Shape(widths=(30, 20)), seed=6)
    inputs = random_inputs(graph, 100)
    monkeypatch.setattr(evaluation, "LUT_SCRATCH_BYTES", 1)
    assert as_lists(graph.evaluate(inputs)) == slow_outputs(graph, inputs)


def graph_of_every_op() -> LutGraph:
    """Words of many widths through every kind of node there is."""
    graph = LutGraph("all", ["input", "logic", "output"])
    word, one_bit = (
        graph.add(Input(f"feature_{index}", bits, signed=True), origin=Origin("input", index))
        for index, bits in enumerate((3, 1))
    )
    index = 0

    def add(op: object, *operands: int) -> int:
        nonlocal index
        index += 1
        return graph.add(op, operands, origin=Origin("logic", index))  # type: ignore[arg-type]

    bits = [add(Compare(level), word) for level in (-2, 0, 2)]
    sign = add(Compare(0), one_bit)
    lut = add(Lut(3, 0b1001_0110), *bits)
    count = add(PopCount(), *bits, lut, sign, add(Bit(1), word), add(Bit(0), one_bit))
    total = add(Add(4), count, add(Const(5, 3)))
    wins = add(Greater(), count, total)
    chosen = add(Mux(), lut, count, total)
    winner = add(ArgMax(), count, chosen, add(Register(), total), wins, add(Concat(), lut, sign, wins))
    for number, (name, net) in enumerate([("winner", winner), ("chosen", chosen), ("sign", sign)]):
        graph.add(Output(name), (net,), origin=Origin("output", number))
    graph.verify()
    return graph


def test_every_operation_evaluates_in_a_graph() -> None:
    graph = graph_of_every_op()
    assert {graph.node(net).op.kind for net in graph} == set(OP_BY_KIND)
    inputs = np.array([[word, bit] for word in range(-4, 4) for bit in (-1, 0)])
    assert as_lists(graph.evaluate(inputs)) == slow_outputs(graph, inputs)


def test_internal_nets_can_be_asked_for() -> None:
    graph = make_graph(Shape(), seed=2)
    row = random_inputs(graph, 1)
    nets = sorted(graph)
    expected = slow_values(graph.snapshot(), row[0].tolist())
    assert evaluation.evaluate_nets(graph, row, nets)[:, 0].tolist() == [expected[net] for net in nets]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((4, 2), dtype=np.int64), r"shape \(4, 2\)"),
        (np.zeros(4, dtype=np.int64), r"shape \(4,\)"),
        (np.zeros((4, 1)), "float64"),
        (np.array([[4]]), "feature_0 has values 4 to 4"),
        (np.array([[-5]]), "its port takes -4 to 3"),
    ],
)
def test_inputs_that_the_port_cannot_carry_are_refused(inputs: np.ndarray, message: str) -> None:
    with pytest.raises(CompilerError, match=message):
        tiny_graph().evaluate(inputs)


# -- rules -------------------------------------------------------------------------------------------------------------


def place(graph: LutGraph, net: int, **changes: Any) -> None:
    """Put a node into the graph that its own methods would refuse."""
    graph.nodes[net] = graph.node(net)._replace(**changes)


def forget_an_edge(graph: LutGraph) -> None:
    assert graph.dag.has_edge(2, 3)  # from now on the edges are there
    place(graph, 3, operands=(1, 1))


def make_loop(graph: LutGraph) -> None:
    second = graph.add(Lut(1, 1), (3,), origin=Origin("layers.0", 1))
    graph.replace(3, Lut(2, 6), (1, second))


BREAKS: dict[str, tuple[Callable[[LutGraph], object], str]] = {
    "unknown layer": (
        lambda graph: place(graph, 3, origin=Origin("layers.7", 0)),
        r"lut layers.7\[0\] \(net 3\): layer 'layers.7' is not one of",
    ),
    "reads a later layer": (
        lambda graph: place(graph, 1, origin=Origin("output", 8)),
        r"lut layers.0\[0\] \(net 3\) reads the later compare output\[8\]",
    ),
    "same origin twice": (
        lambda graph: place(graph, 2, origin=Origin("encoder", 1)),
        r"compare encoder\[1\] \(net 2\): another node has the same origin",
    ),
    "no output": (lambda graph: graph.remove([4]), "graph 'tiny' has no output"),
    "wrong width": (lambda graph: place(graph, 3, width=2), r"\(net 3\) is 2 bits wide, its operands make 1"),
    "operands without edges": (
        forget_an_edge,
        r"layers.0\[0\] \(net 3\): edges and operands disagree",
    ),
    "wrong arity": (lambda graph: place(graph, 3, operands=(1,)), r"layers.0\[0\] \(net 3\): takes 2 operands"),
    "table too large": (lambda graph: place(graph, 3, op=Lut(2, 16)), r"layers.0\[0\] \(net 3\): table does not fit"),
    "loop": (make_loop, r"the graph has a loop: .*layers.0\[[01]\].* -> .*layers.0\[[01]\]"),
}


def test_a_legal_graph_passes() -> None:
    tiny_graph().verify()


@pytest.mark.parametrize("rule", BREAKS)
def test_a_broken_rule_is_reported_with_its_node(rule: str) -> None:
    graph = tiny_graph()
    breaks, message = BREAKS[rule]
    breaks(graph)
    with pytest.raises(GraphError, match=message):
        graph.verify()


def test_adding_names_the_place_that_is_wrong() -> None:
    graph = tiny_graph()
    with pytest.raises(GraphError, match=r"lut at layers.0\[9\]: reads bits only"):
        graph.add(Lut(1, 1), (0,), origin=Origin("layers.0", 9))
    with pytest.raises(GraphError, match="net 77 is read but not in the graph"):
        graph.add(Lut(1, 1), (77,), origin=Origin("layers.0", 9))


@pytest.mark.parametrize("op", [Lut(1, 0b10), PopCount(), Concat(), ArgMax(), Output("y")])
def test_only_comparators_and_bits_read_signed_words(op: AnyOp) -> None:
    """Hardware has no sign for anything else: a bit that is -1 in the graph would be 1."""
    graph = LutGraph("signed", ["input", "output"])
    bit = graph.add(Input("feature_0", 1, signed=True), origin=Origin("input", 0))
    graph.add(Compare(0), (bit,), origin=Origin("output", 0))
    with pytest.raises(GraphError, match="reads a signed word, which only comparators and bits do"):
        graph.add(op, (bit,), origin=Origin("output", 1))


def test_a_net_that_is_read_cannot_be_removed() -> None:
    graph = tiny_graph()
    with pytest.raises(GraphError, match=r"compare encoder\[1\] \(net 1\) cannot be removed: lut layers.0\[0\]"):
        graph.remove([1])


def test_redirect_moves_all_readers_and_pins() -> None:
    graph = tiny_graph()
    graph.replace(3, Lut(2, 0b1000), (1, 1))
    graph.redirect({1: 2})
    graph.verify()
    assert graph.node(3).operands == (2, 2)
    assert 1 not in graph


def test_a_copy_is_independent() -> None:
    graph = tiny_graph()
    before = graph_to_json(graph)
    other = graph.copy()
    other.replace(3, Lut(1, 1), (1,))
    other.add(Const(1), origin=Origin("layers.0", 5))
    assert graph_to_json(graph) == before


def test_size_counts_kinds_levels_and_luts() -> None:
    size = tiny_graph().size()
    assert dict(size.count_by_kind) == {"compare": 2, "input": 1, "lut": 1, "output": 1}
    assert dict(size.lut6_by_layer) == {"input": 0, "encoder": 2, "layers.0": 1, "output": 0}
    assert (size.lut6_total, size.levels) == (3, 2)


# -- files -------------------------------------------------------------------------------------------------------------


@given(SHAPES, SEEDS)
def test_json_round_trip_is_equal_and_byte_stable(shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    text = graph_to_json(graph)
    again = graph_from_json(text)
    assert again.snapshot() == graph.snapshot()
    assert (again.name, again.layers) == (graph.name, graph.layers)
    assert graph_to_json(again) == text
    fresh = again.add(Const(1), origin=Origin("input", 999))
    assert fresh not in graph


def test_json_round_trip_of_every_operation() -> None:
    graph = graph_of_every_op()
    assert graph_from_json(graph_to_json(graph)).snapshot() == graph.snapshot()


DIGEST_SCRIPT = """
import hashlib
from difflut_compiler.emit import emit
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from difflut_compiler.graph_file import graph_to_json
from difflut_compiler.schedule import schedule
from difflut_compiler.targets import TARGETS, HardwareTarget
from tests.compiler.random_graphs import Shape, make_graph, random_inputs
graph = make_graph(Shape(widths=(20, 15), classes=5), seed=3)
before = graph_to_json(graph)
inputs = random_inputs(graph, 64)
run_passes(graph, OPTIMISE, inputs)
run_passes(graph, EXPAND, inputs, repeat=False)
plans = [emit(schedule(graph, "none"), target, "net") for target in TARGETS.values()]
clocked = [target for target in TARGETS.values() if isinstance(target, HardwareTarget)]
plans += [emit(schedule(graph, "layers"), target, "net") for target in clocked]
text = "".join([before, str(graph), graph_to_json(graph), *(plan.digest() for plan in plans)])
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_graphs_and_hardware_are_the_same_in_every_process() -> None:
    """Whatever the hash seed, graph, passes and emitted text are the same bytes."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST_SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "271828")
    }
    assert len(digests) == 1
    assert len(next(iter(digests)).strip()) == hashlib.sha256().digest_size * 2
