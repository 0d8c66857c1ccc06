"""The proof of the RTL: it accepts what is emitted, whatever the graph, and refuses another graph's hardware."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from difflut_compiler.circuits.blif import Circuit
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError, MismatchError, NotCheckedError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import MAX_FAN_IN, Add, Compare, Concat, Const, Greater, Input, Lut, Mux, Output, Register
from difflut_compiler.schedule import PIPELINES, schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify import languages, prove_files
from difflut_compiler.verify.certificate import Finding
from difflut_compiler.verify.equivalence import check_equivalence
from difflut_compiler.verify.ladder import check_mutation, flip_one_bit
from difflut_compiler.verify.netlist import read_back
from difflut_compiler.verify.prove_files import prove_netlist, prove_whole
from tests.compiler.designs import HDL_TARGETS, Design, design_of, edit, is_proven, make_design
from tests.compiler.needs import need_for_target
from tests.compiler.random_graphs import Shape, all_inputs, make_graph, random_inputs, slow_clocked, small_graph

SHAPES = {
    "plain": Shape(),
    "signed": Shape(signed=True, features=4, bits=6, classes=12, widths=(20, 25)),
    "one bit": Shape(bits=1, thresholds=1, widths=(6, 6), classes=2),
    "one signed bit": Shape(bits=1, signed=True, thresholds=2, features=2, classes=3),
    "one class": Shape(classes=1),
    "wide": Shape(features=3, bits=8, max_fan_in=7, widths=(30, 60), classes=5),
    "deep": Shape(widths=(6, 6, 6, 6), max_fan_in=2, classes=3),
}


def class_groups(graph: LutGraph) -> list[tuple[int, ...]]:
    """The bits that are counted for each class."""
    return [graph.node(net).operands for net in graph if graph.node(net).origin.layer == "class_counts"]


def check_many(shape: Shape, target: str, pipeline: str, seeds: range, folder: Path) -> None:
    need_for_target(target)
    for seed in seeds:
        design = make_design(shape, seed, target=target, pipeline=pipeline)
        place = folder / str(seed)
        (place / "whole").mkdir(parents=True)
        finding = prove_netlist(design.plan, design.scheduled, design.original, place)
        assert finding.comparisons > 0
        assert ("proven against the lowered graph in one piece" in finding.reason) == (
            max(map(len, class_groups(design.original))) <= prove_files.WHOLE_PROOF_MAX_COUNT
        )


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("pipeline", [*PIPELINES, "3", "period:6"])
@pytest.mark.parametrize("shape", SHAPES)
def test_emitted_hardware_is_proven(shape: str, target: str, pipeline: str, tmp_path: Path) -> None:
    check_many(SHAPES[shape], target, pipeline, range(2), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("pipeline", [*PIPELINES, "3", "period:6"])
@pytest.mark.parametrize("shape", SHAPES)
def test_emitted_hardware_of_many_graphs_is_proven(shape: str, target: str, pipeline: str, tmp_path: Path) -> None:
    check_many(SHAPES[shape], target, pipeline, range(2, 40), tmp_path)


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_hardware_with_adders_is_proven(shape: str, target: str, pipeline: str, tmp_path: Path) -> None:
    need_for_target(target)
    design = design_of(make_graph(SHAPES[shape], 0), target=target, pipeline=pipeline, adders=True)
    assert prove_netlist(design.plan, design.scheduled, design.original, tmp_path).comparisons > 0


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("fan_in", [6, 7])
def test_tables_of_zeros_and_ones_in_every_half_and_quarter_are_proven(
    fan_in: int, target: str, tmp_path: Path
) -> None:
    """Tools that read large constants word by word must read them all."""
    need_for_target(target)
    graph = LutGraph("network", ["input", "encoder", "layers.0", "output"])
    words = [graph.add(Input(f"x{index}", 1, False), origin=Origin("input", index)) for index in range(fan_in)]
    bits = [graph.add(Compare(1), (word,), origin=Origin("encoder", index)) for index, word in enumerate(words)]
    word_values = itertools.product([0, 0xFFFFFFFF, 0x1234567F], repeat=1 << fan_in - 5)
    tables = [sum(value << 32 * index for index, value in enumerate(values)) for values in word_values]
    luts = [graph.add(Lut(fan_in, table), bits, origin=Origin("layers.0", index)) for index, table in enumerate(tables)]
    for index, lut in enumerate(luts):
        graph.add(Output(f"y{index}"), (lut,), origin=Origin("output", index))
    scheduled = schedule(graph, "none")
    finding = prove_netlist(emit(scheduled, TARGETS[target], "net"), scheduled, None, tmp_path)
    assert finding.comparisons >= len(tables)


def test_the_largest_tables_of_vhdl_are_proven(tmp_path: Path) -> None:
    """GHDL writes them digit by digit, more of them than Yosys takes."""
    need_for_target("vhdl")
    graph = LutGraph("network", ["input", "logic", "output"])
    bits = [graph.add(Input(f"x{index}", 1), origin=Origin("input", index)) for index in range(MAX_FAN_IN)]
    lut = graph.add(Lut(MAX_FAN_IN, 1 << 60_000 | 1 << 300 | 1), bits, origin=Origin("logic", 0))
    graph.add(Output("y"), (lut,), origin=Origin("output", 0))
    scheduled = schedule(graph, "none")
    assert prove_netlist(emit(scheduled, TARGETS["vhdl"], "net"), scheduled, None, tmp_path).comparisons == 2


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_two_words_compared_both_ways_are_proven(target: str, tmp_path: Path) -> None:
    """A synthesiser may make one comparison of the other and of equality, which is no longer true of cut nets."""
    need_for_target(target)
    graph = LutGraph("network", ["input", "encoder", "layers.0", "output"])
    word = graph.add(Input("x", 4, False), origin=Origin("input", 0))
    bits = [graph.add(Compare(at), (word,), origin=Origin("encoder", at)) for at in (3, 6, 9, 12)]
    words = [graph.add(Concat(), bits[at : at + 2], origin=Origin("layers.0", at)) for at in (0, 2)]
    for index, pair in enumerate([words, words[::-1]]):
        wins = graph.add(Greater(), pair, origin=Origin("output", index))
        graph.add(Output(f"y{index}"), (wins,), origin=Origin("output", index))
    scheduled = schedule(graph, "none")
    finding = prove_netlist(emit(scheduled, TARGETS[target], "net"), scheduled, graph, tmp_path)
    assert finding.comparisons >= len(bits) + 2


@pytest.mark.parametrize("target", [*HDL_TARGETS, "blif"])
def test_outputs_called_like_nets_are_proven(target: str, tmp_path: Path) -> None:
    """``n4`` is what a proof may call net 4."""
    need_for_target(target)
    graph = LutGraph("network", ["input", "logic", "output"])
    bits = [graph.add(Input(f"x{index}", 1), origin=Origin("input", index)) for index in range(3)]
    luts = [graph.add(Lut(3, table), bits, origin=Origin("logic", table)) for table in (0x96, 0xE8)]
    for index, lut in enumerate(luts):
        graph.add(Output(f"n{luts[1 - index]}"), (lut,), origin=Origin("output", index))
    scheduled = schedule(graph, "none")
    finding = prove_netlist(emit(scheduled, TARGETS[target], "net"), scheduled, graph, tmp_path)
    assert finding.comparisons >= 4


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("chosen", [0, 1])
def test_a_choice_by_a_constant_is_proven(chosen: int, target: str, tmp_path: Path) -> None:
    """It stays in the graph where the chosen word is narrower than the other one."""
    need_for_target(target)
    graph = LutGraph("network", ["input", "logic", "output"])
    narrow, wide = (graph.add(Input(f"x{bits}", bits), origin=Origin("input", bits)) for bits in (1, 3))
    select = graph.add(Const(chosen), origin=Origin("logic", 0))
    word = graph.add(Mux(), (select, narrow, wide), origin=Origin("logic", 1))
    graph.add(Output("y"), (word,), origin=Origin("output", 0))
    scheduled = schedule(graph, "none")
    finding = prove_netlist(emit(scheduled, TARGETS[target], "net"), scheduled, graph, tmp_path)
    assert finding.comparisons >= 3


def test_nets_called_almost_like_those_of_ghdl_are_proven(tmp_path: Path) -> None:
    """GHDL calls its own wires ``n12_o``."""
    need_for_target("vhdl")
    graph = LutGraph("network", ["input", "n", "output"])
    bits = [graph.add(Input(f"x{index}", 1), origin=Origin("input", index)) for index in range(3)]
    word = graph.add(Concat(), bits, origin=Origin("n", 12, "o"))
    graph.add(Output("y"), (word,), origin=Origin("output", 0))
    scheduled = schedule(graph, "layers")
    finding = prove_netlist(emit(scheduled, TARGETS["vhdl"], "net"), scheduled, graph, tmp_path)
    assert finding.comparisons >= 6


# -- hardware of a changed graph ---------------------------------------------------------------------------------------


def flip_table(graph: LutGraph, net: int) -> bool:
    op = graph.node(net).op
    if isinstance(op, Lut):
        graph.replace(net, Lut(op.fan_in, op.table ^ 1), graph.node(net).operands)
    return isinstance(op, Lut)


def flip_counter_table(graph: LutGraph, net: int) -> bool:
    return graph.node(net).origin.layer == "class_counts" and flip_table(graph, net)


def move_threshold(graph: LutGraph, net: int) -> bool:
    op = graph.node(net).op
    if isinstance(op, Compare):
        graph.replace(net, Compare(op.threshold + (1 if op.threshold <= 0 else -1)), graph.node(net).operands)
    return isinstance(op, Compare)


def swap_operands(kind: type, first: int, second: int) -> Callable[[LutGraph, int], bool]:
    def change(graph: LutGraph, net: int) -> bool:
        node = graph.node(net)
        operands = list(node.operands)
        if not isinstance(node.op, kind) or len(operands) <= second or operands[first] == operands[second]:
            return False
        operands[first], operands[second] = operands[second], operands[first]
        graph.replace(net, node.op, operands)
        return True

    return change


def same_operand_twice(kind: type) -> Callable[[LutGraph, int], bool]:
    def change(graph: LutGraph, net: int) -> bool:
        node = graph.node(net)
        if not isinstance(node.op, kind) or len(node.operands) < 2:
            return False
        operands = (node.operands[0], node.operands[0], *node.operands[2:])
        try:
            graph.replace(net, node.op, operands)
        except CompilerError:
            return False
        return operands != node.operands

    return change


def next_constant(graph: LutGraph, net: int) -> bool:
    op = graph.node(net).op
    if isinstance(op, Const):
        graph.replace(net, Const(op.value ^ 1, op.bits), ())
    return isinstance(op, Const)


def skip_register(graph: LutGraph, net: int) -> bool:
    if not isinstance(graph.node(net).op, Register):
        return False
    graph.redirect({net: graph.node(net).operands[0]})
    return True


def add_register(graph: LutGraph, net: int) -> bool:
    node = graph.node(net)
    if not isinstance(node.op, Lut):
        return False
    layer = graph.node(node.operands[0]).origin.layer
    extra = graph.add(Register(), node.operands[:1], origin=Origin(layer, 999, "extra"))
    graph.replace(net, node.op, (extra, *node.operands[1:]))
    return True


CHANGES: dict[str, Callable[[LutGraph, int], bool]] = {
    "table bit": flip_table,
    "threshold": move_threshold,
    "LUT pins swapped": swap_operands(Lut, 0, 1),
    "LUT reads a pin twice": same_operand_twice(Lut),
    "table bit of a counter": flip_counter_table,
    "bits of a count swapped": swap_operands(Concat, 0, 1),
    "count joins a bit twice": same_operand_twice(Concat),
}
WORD_CHANGES = {
    "comparison swapped": swap_operands(Greater, 0, 1),
    "multiplexer swapped": swap_operands(Mux, 1, 2),
    "constant": next_constant,
    "sum of the same twice": same_operand_twice(Add),
}
CLOCKED_CHANGES = {"register missing": skip_register, "register too many": add_register}
ALL_CHANGES = CHANGES | WORD_CHANGES | CLOCKED_CHANGES


def mutants(design: Design, change: Callable[[LutGraph, int], bool]) -> list[tuple[BuildPlan, bool]]:
    """Hardware of changed graphs, and whether the change shows at the outputs."""
    inputs = np.concatenate([all_inputs(design.original)] * 2)[:4096]
    expected = slow_clocked(design.graph, inputs, design.plan.latency_cycles)
    found = []
    for net in sorted(design.graph):
        graph = design.graph.copy()
        if change(graph, net):
            plan = emit(replace(design.scheduled, graph=graph), TARGETS[design.plan.target], "net")
            found.append((plan, slow_clocked(graph, inputs, design.plan.latency_cycles) != expected))
    return found


def check_change(name: str, design: Design, folder: Path, limit: int) -> None:
    visible = [plan for plan, shows in mutants(design, ALL_CHANGES[name]) if shows]
    assert visible, "no such change shows at the outputs"
    for number, plan in enumerate(visible[:limit]):
        place = folder / str(number)
        place.mkdir()
        assert not is_proven(design, plan, place)


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("change", CHANGES | WORD_CHANGES)
def test_hardware_of_another_graph_is_refused(change: str, target: str, tmp_path: Path) -> None:
    need_for_target(target)
    design = design_of(small_graph(True), target=target, pipeline="none", adders=change in WORD_CHANGES)
    check_change(change, design, tmp_path, limit=2)


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("change", CLOCKED_CHANGES)
def test_hardware_with_other_registers_is_refused(change: str, target: str, tmp_path: Path) -> None:
    need_for_target(target)
    check_change(change, design_of(small_graph(True), target=target, pipeline="layers"), tmp_path, limit=2)


@pytest.mark.slow
@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize("change", ALL_CHANGES)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_every_visible_change_is_refused(seed: int, change: str, target: str, tmp_path: Path) -> None:
    need_for_target(target)
    shape = Shape(features=2, bits=2, signed=True, thresholds=3, widths=(10, 30), max_fan_in=5, classes=3)
    pipeline = "layers" if change in CLOCKED_CHANGES else "none"
    design = design_of(make_graph(shape, seed), target=target, pipeline=pipeline, adders=change in WORD_CHANGES)
    if not any(shows for _, shows in mutants(design, ALL_CHANGES[change])):
        return  # this graph has no such operation
    check_change(change, design, tmp_path, limit=1000)


# -- the proof in one piece, the flipped bit, the checker --------------------------------------------------------------


def test_the_proof_in_one_piece_refuses_hardware_of_another_network(tmp_path: Path) -> None:
    design, other = make_design(Shape(), 1), make_design(Shape(), 2)
    netlist = read_back(design.plan, tmp_path)
    assert "also proven" in prove_whole(netlist, design.original, tmp_path)
    with pytest.raises(MismatchError, match="the RTL is not the lowered graph"):
        prove_whole(netlist, other.original, tmp_path)


def test_a_large_design_says_that_it_is_not_proven_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prove_files, "WHOLE_PROOF_MAX_LUTS", 3)
    design = make_design(Shape(), 1)
    assert prove_whole(read_back(design.plan, tmp_path), design.original, tmp_path).startswith("too large for a proof")


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_one_flipped_bit_is_seen_and_refused(target: str, tmp_path: Path) -> None:
    need_for_target(target)
    design = design_of(small_graph(True), target=target, pipeline="layers")
    inputs = random_inputs(design.original, 100)
    expected = design.original.evaluate(inputs)
    mutation = flip_one_bit(design.plan, design.scheduled, inputs, expected)
    assert mutation.visible_samples.size > 0
    assert mutation.plan.digest() != design.plan.digest()
    assert not is_proven(design, mutation.plan, tmp_path)
    finding = check_mutation(design.plan, design.scheduled, inputs, expected, None, tmp_path)
    assert finding.comparisons == 1
    assert "caught by the proof" in finding.reason


def test_a_proof_that_notices_nothing_fails_the_last_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design = design_of(small_graph(True), target="verilog", pipeline="layers")
    inputs = random_inputs(design.original, 100)
    blind = replace(languages.LANGUAGES["verilog"], prove=lambda *arguments: Finding(1, "all equal", "tool", "1"))
    monkeypatch.setitem(languages.LANGUAGES, "verilog", blind)
    with pytest.raises(MismatchError, match="was not noticed by the proof"):
        check_mutation(design.plan, design.scheduled, inputs, design.original.evaluate(inputs), None, tmp_path)


def test_undefined_values_are_refused(tmp_path: Path) -> None:
    design = design_of(small_graph(True), target="verilog", pipeline="layers")
    mutant = edit(design.plan, r"(layer_0_d\[0\] = )[^;]*;", r"\g<1>1'bx;")
    assert not is_proven(design, mutant, tmp_path)


@pytest.mark.parametrize(
    ("golden", "revised", "equivalent"),
    [
        ([".names a b y", "11 1"], [".names b a y", "11 1"], True),
        ([".names a b y", "11 1"], [".names a b y", "1- 1"], False),
        ([".names y"], [".names a y", "1 1"], False),
        ([".names y"], [".names y"], True),
        ([".names y", "1"], [".names y"], False),
    ],
)
def test_the_checker_tells_equal_from_different(
    golden: list[str], revised: list[str], equivalent: bool, tmp_path: Path
) -> None:
    left, right = (Circuit(["a", "b"], ["y"], lines) for lines in (golden, revised))
    assert check_equivalence(left, right, tmp_path).equivalent == equivalent


@pytest.mark.parametrize("different", range(3))
def test_the_checker_names_the_output_that_differs(different: int, tmp_path: Path) -> None:
    outputs = ["x", "y", "z"]
    tables = [[f".names a b {output}", "11 1"] for output in outputs]
    left = Circuit(["a", "b"], outputs, [line for table in tables for line in table])
    tables[different][1] = "10 1"
    right = Circuit(["a", "b"], outputs, [line for table in tables for line in table])
    assert check_equivalence(left, right, tmp_path).message == f"{outputs[different]} differs"


def test_circuits_with_other_ports_are_not_compared(tmp_path: Path) -> None:
    one = Circuit(["a"], ["y"], [".names a y", "1 1"])
    with pytest.raises(CompilerError, match="cannot be compared"):
        check_equivalence(one, replace(one, inputs=["b"]), tmp_path)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("Networks are UNDECIDED", NotCheckedError, "did not decide"),
        ("Reading network from file has failed.", CompilerError, "gave no verdict"),
    ],
)
def test_a_checker_without_a_verdict_proves_nothing(
    answer: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (Circuit(["a"], ["y"], [".names a y", row]) for row in ("1 1", "- 1"))
    monkeypatch.setattr("difflut_compiler.verify.equivalence.run_abc", lambda commands, folder: answer)
    with pytest.raises(error, match=message):
        check_equivalence(one, other, tmp_path)


GATES = {
    "the same table": ([".names a b y", "11 1"], [".names a b y", "11 1"], 1),
    "pins in another order": ([".names a b y", "11 1"], [".names b a y", "11 1"], 0),
    "the same table of inner nets": (
        [".names a g", "1 1", ".names g y", "1 1"],
        [".names a g", "1 1", ".names g y", "1 1"],
        0,
    ),
    "an output that is read": (
        [".names a y", "1 1", ".names y z", "0 1"],
        [".names a y", "1 1", ".names y z", "0 1"],
        0,
    ),
}


@pytest.mark.parametrize("kind", GATES)
def test_only_the_same_table_of_inputs_needs_no_checker(kind: str, tmp_path: Path) -> None:
    golden, revised, same_tables = GATES[kind]
    outputs = ["y", "z"] if "z" in golden[-2] else ["y"]
    left, right = (Circuit(["a", "b"], outputs, lines) for lines in (golden, revised))
    verdict = check_equivalence(left, right, tmp_path)
    assert (verdict.equivalent, verdict.same_tables) == (True, same_tables)


def test_the_same_name_for_other_inner_nets_is_not_the_same_table(tmp_path: Path) -> None:
    golden = Circuit(["a"], ["y"], [".names a g", "1 1", ".names g y", "1 1"])
    revised = Circuit(["a"], ["y"], [".names a g", "0 1", ".names g y", "1 1"])
    assert not check_equivalence(golden, revised, tmp_path).equivalent


def test_an_output_that_is_driven_twice_is_refused(tmp_path: Path) -> None:
    golden = Circuit(["a"], ["y"], [".names a y", "1 1"])
    revised = Circuit(["a"], ["y"], [".names a y", "0 1", ".names a y", "1 1"])
    with pytest.raises(MismatchError, match="drives y twice"):
        check_equivalence(golden, revised, tmp_path)
