"""The schedule: latency, balanced registers, and the check of both."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflut_compiler.costs.estimate import node_delays, timed_families
from difflut_compiler.emit import emit
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Const, Input, Lut, Output, Register
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from difflut_compiler.schedule import PIPELINES, schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify.prove_schedule import check_schedule
from tests.compiler.designs import Design, is_proven
from tests.compiler.random_graphs import (
    SEEDS,
    SHAPES,
    Shape,
    all_inputs,
    make_graph,
    random_inputs,
    slow_clocked,
    slow_outputs,
)


def skipping_graph() -> LutGraph:
    """Layer 2 reads layer 1 and layer 0; both outputs come from different layers."""
    graph = LutGraph("g", ["input", "layers.0", "layers.1", "layers.2", "output"])
    words = [graph.add(Input(f"x{index}", 1), origin=Origin("input", index)) for index in range(2)]
    first = graph.add(Lut(2, 0b0110), words, origin=Origin("layers.0", 0))
    other = graph.add(Lut(2, 0b0111), words, origin=Origin("layers.0", 1))
    second = graph.add(Lut(2, 0b1000), (first, other), origin=Origin("layers.1", 0))
    third = graph.add(Lut(3, 0b1001_0110), (second, first, words[0]), origin=Origin("layers.2", 0))
    one = graph.add(Const(1), origin=Origin("layers.2", 1))
    for number, (name, net) in enumerate([("late", third), ("early", first), ("constant", one)]):
        graph.add(Output(name), (net,), origin=Origin("output", number))
    graph.verify()
    return graph


def registers(graph: LutGraph) -> list[int]:
    return [net for net in graph if isinstance(graph.node(net).op, Register)]


def test_a_pin_that_reads_two_layers_back_is_delayed() -> None:
    graph = skipping_graph()
    scheduled = schedule(graph, "layers")
    scheduled.graph.verify()
    assert scheduled.latency_cycles == 3
    third = scheduled.graph.node(5)
    depths = []
    for operand in third.operands:
        depth = 0
        while isinstance(scheduled.graph.node(operand).op, Register):
            operand, depth = scheduled.graph.node(operand).operands[0], depth + 1
        depths.append((operand, depth))
    # One register behind layer 1, two behind layer 0, two for the input, which is read in layer 0 without any.
    assert depths == [(4, 1), (2, 2), (0, 2)]
    assert check_schedule(graph, scheduled) == len(scheduled.graph)


def test_registers_are_shared_by_all_readers() -> None:
    scheduled = schedule(skipping_graph(), "layers").graph
    sources = [scheduled.node(net).operands[0] for net in registers(scheduled)]
    assert len(sources) == len(set(sources))


def graph_with_ports_in(first: str, second: str, early: str, late: str) -> LutGraph:
    """Two inputs and two outputs in the given layers of three, between which every layer has a LUT."""
    graph = LutGraph("g", ["a", "b", "c", "d"])
    x = graph.add(Input("x", 1), origin=Origin(first, 0))
    one = graph.add(Lut(1, 0b01), (x,), origin=Origin("b", 1))
    y = graph.add(Input("y", 1), origin=Origin(second, 2))
    two = graph.add(Lut(2, 0b0110), (one, y), origin=Origin("c", 3))
    graph.add(Output("early"), (one,), origin=Origin(early, 4))
    graph.add(Output("late"), (two,), origin=Origin(late, 5))
    graph.verify()
    return graph


@pytest.mark.parametrize("pipeline", [*PIPELINES, "1", "2", "3"])
@pytest.mark.parametrize("ports", ["aabc", "aabd", "aadd", "bbcd", "acbc", "aadc", "bcdd"])
def test_a_sample_enters_and_leaves_at_once_in_whatever_layers_its_ports_are(
    ports: str, pipeline: str, tmp_path: Path
) -> None:
    graph = graph_with_ports_in(*ports)
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0, 1], [0, 0]])
    scheduled = schedule(graph, pipeline)
    scheduled.graph.verify()
    check_schedule(graph, scheduled)
    assert scheduled.latency_cycles == (int(pipeline) if pipeline.isdigit() else {"none": 0, "layers": 2}[pipeline])
    assert slow_clocked(scheduled.graph, inputs, scheduled.latency_cycles) == slow_outputs(graph, inputs)
    if pipeline == "layers":
        design = Design(graph, scheduled, emit(scheduled, TARGETS["verilog"], "net"))
        assert is_proven(design, design.plan, tmp_path)


def test_a_graph_of_a_single_layer_has_no_registers() -> None:
    graph = LutGraph("g", ["all"])
    word = graph.add(Input("x", 1), origin=Origin("all", 0))
    graph.add(Output("y"), (word,), origin=Origin("all", 0))
    scheduled = schedule(graph, "layers")
    assert (scheduled.latency_cycles, registers(scheduled.graph)) == (0, [])
    check_schedule(graph, scheduled)


def test_without_a_pipeline_nothing_is_added() -> None:
    graph = skipping_graph()
    scheduled = schedule(graph, "none")
    assert scheduled.latency_cycles == 0
    assert scheduled.graph.snapshot() == graph.snapshot()


def test_a_circuit_of_constants_has_no_clock_and_no_latency() -> None:
    graph = LutGraph("g", ["input", "layers.0", "output"])
    graph.add(Input("x", 3), origin=Origin("input", 0))
    one = graph.add(Const(1), origin=Origin("layers.0", 0))
    graph.add(Output("y"), (one,), origin=Origin("output", 0))
    scheduled = schedule(graph, "layers")
    assert (scheduled.latency_cycles, registers(scheduled.graph)) == (0, [])
    check_schedule(graph, scheduled)


@pytest.mark.parametrize("pipeline", ["sometimes", "0", "-1", "1.5", "10001", "period:", "period:x", "period:-1", ""])
def test_an_unknown_pipeline_is_refused(pipeline: str) -> None:
    with pytest.raises(CompilerError, match=r"there is no pipeline .*; choose layers, none, a number of stages"):
        schedule(skipping_graph(), pipeline)


def test_a_family_without_delays_is_refused() -> None:
    with pytest.raises(CompilerError, match=r"no delays are known for the family 'nobody'; choose one of .*ecp5"):
        schedule(skipping_graph(), "period:5:nobody")


@pytest.mark.parametrize("family", timed_families())
def test_a_period_that_one_operation_does_not_keep_is_refused_and_the_shortest_named(family: str) -> None:
    with pytest.raises(CompilerError, match=r"no pipeline makes a period of 0.1 ns: lut .* takes .* ns") as refused:
        schedule(skipping_graph(), f"period:0.1:{family}")
    shortest = re.search(r"ask for (period:([0-9.]+):\w+), or more", str(refused.value))
    assert shortest is not None
    schedule(skipping_graph(), shortest[1])
    with pytest.raises(CompilerError, match="no pipeline makes a period"):
        schedule(skipping_graph(), f"period:{float(shortest[2]) - 0.01:.2f}:{family}")


@pytest.mark.parametrize("expand", [False, True])
@given(
    shape=SHAPES,
    seed=SEEDS,
    pipeline=st.sampled_from([*PIPELINES, "1", "2", "5", "30", "period:20", "period:60:ice40"]),
)
@settings(max_examples=40)
def test_one_sample_per_cycle_comes_out_after_the_latency(expand: bool, shape: Shape, seed: int, pipeline: str) -> None:
    graph = make_graph(shape, seed)
    inputs = random_inputs(graph, 12, seed)
    if expand:
        run_passes(graph, OPTIMISE, inputs)
        run_passes(graph, EXPAND, inputs, repeat=False)
    scheduled = schedule(graph, pipeline)
    scheduled.graph.verify()
    check_schedule(graph, scheduled)
    expected = int(pipeline) if pipeline.isdigit() else {"none": 0, "layers": len(graph.layers) - 2}.get(pipeline)
    if expected is not None:
        assert scheduled.latency_cycles == (expected if registers(scheduled.graph) else 0)
    assert bool(registers(scheduled.graph)) <= (pipeline != "none")
    assert slow_clocked(scheduled.graph, inputs, scheduled.latency_cycles) == slow_outputs(graph, inputs)
    assert graph.evaluate(inputs)["class_index"].tolist() == slow_outputs(graph, inputs)["class_index"]


def longest_path_ns(graph: LutGraph, family: str) -> float:
    """The slowest path of a scheduled graph, from the delays of its nodes."""
    delays, path = node_delays(graph, family)
    end: dict[int, float] = {}
    for net in graph.order():
        node = graph.node(net)
        before = [0.0 if isinstance(graph.node(pin).op, Register) else end[pin] for pin in node.operands]
        end[net] = delays[net] + max(before, default=0.0)
    return path + max(end.values())


def expanded_graph(votes: int) -> LutGraph:
    graph = make_graph(Shape(features=2, bits=6, widths=(votes,), classes=4), 5)
    inputs = random_inputs(graph, 16)
    run_passes(graph, OPTIMISE, inputs)
    run_passes(graph, EXPAND, inputs, repeat=False)
    return graph


@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_shorter_periods_take_more_stages_and_are_kept(family: str) -> None:
    graph = expanded_graph(60)
    stages = []
    for share in (1.0, 0.5, 0.25):
        period_ns = round(longest_path_ns(graph, family) * share + 0.01, 3)
        scheduled = schedule(graph, f"period:{period_ns}:{family}")
        assert longest_path_ns(scheduled.graph, family) <= period_ns
        check_schedule(graph, scheduled)
        stages.append(scheduled.latency_cycles)
    assert stages == sorted(set(stages))
    assert stages[0] == 1


def test_more_stages_are_shorter_and_reach_into_sums_and_the_argmax() -> None:
    graph = expanded_graph(60)
    lengths = []
    for count in (1, 2, 4, 8):
        scheduled = schedule(graph, str(count))
        assert scheduled.latency_cycles == count
        lengths.append(longest_path_ns(scheduled.graph, "ecp5"))
    assert lengths == sorted(set(lengths), reverse=True)
    layers = {scheduled.graph.node(net).origin.layer for net in registers(scheduled.graph)}
    assert {"class_counts", "argmax"} <= layers


# -- the check ---------------------------------------------------------------------------------------------------------


def bypass(graph: LutGraph) -> None:
    register = registers(graph)[0]
    graph.redirect({register: graph.node(register).operands[0]})


def bypass_for_one_reader(graph: LutGraph) -> None:
    lut = graph.node(5)
    graph.replace(5, lut.op, (graph.node(lut.operands[0]).operands[0], *lut.operands[1:]))


def add_one_more(graph: LutGraph) -> None:
    lut = graph.node(5)
    extra = graph.add(Register(), lut.operands[:1], origin=Origin("layers.2", 99))
    graph.replace(5, lut.op, (extra, *lut.operands[1:]))


def delay_an_output(graph: LutGraph) -> None:
    (late, *_) = graph.outputs()
    extra = graph.add(Register(), graph.node(late).operands, origin=Origin("layers.2", 99))
    graph.replace(late, graph.node(late).op, (extra,))


def change_a_table(graph: LutGraph) -> None:
    graph.replace(4, Lut(2, 0b1001), graph.node(4).operands)


def swap_pins(graph: LutGraph) -> None:
    graph.replace(5, graph.node(5).op, tuple(reversed(graph.node(5).operands)))


def rewire_an_output(graph: LutGraph) -> None:
    late, early, _ = graph.outputs()
    graph.replace(early, graph.node(early).op, graph.node(late).operands)


def remove_an_output(graph: LutGraph) -> None:
    graph.remove(graph.outputs()[1:2])


def add_logic(graph: LutGraph) -> None:
    graph.add(Lut(1, 1), (0,), origin=Origin("layers.0", 9))


@pytest.mark.parametrize(
    "spoil",
    [
        bypass,
        bypass_for_one_reader,
        add_one_more,
        delay_an_output,
        change_a_table,
        swap_pins,
        rewire_an_output,
        remove_an_output,
        add_logic,
    ],
)
def test_a_wrong_schedule_is_refused(spoil: Callable[[LutGraph], Any]) -> None:
    graph = skipping_graph()
    scheduled = schedule(graph, "layers")
    spoil(scheduled.graph)
    with pytest.raises(MismatchError):
        check_schedule(graph, scheduled)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_latency_is_refused(wrong: int) -> None:
    graph = skipping_graph()
    scheduled = schedule(graph, "layers")
    with pytest.raises(MismatchError, match=f"is late by 3, not {3 + wrong}"):
        check_schedule(graph, replace(scheduled, latency_cycles=3 + wrong))


def test_samples_of_different_cycles_really_differ() -> None:
    """The oracle of these tests sees a missing register."""
    graph = skipping_graph()
    scheduled = schedule(graph, "layers")
    bypass_for_one_reader(scheduled.graph)
    inputs = all_inputs(graph)
    assert slow_clocked(scheduled.graph, inputs, 3) != slow_outputs(graph, inputs)
