"""What must never be proven: hardware and pass records that differ where a careless comparison does not look."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from difflut import save_model
from difflut.layers import (
    BaseLUTLayer,
    ConvolutionalLayer,
    ConvolutionConfig,
    LearnableLayer,
    OrPool2d,
    RandomLayer,
    WiredBank,
)
from difflut.rules import Pins, WiredPins
from difflut.utils.modules import GroupSum
from difflut_compiler import frontend, lower
from difflut_compiler.circuits.blif import Circuit
from difflut_compiler.driver import CompileRequest, compile_model
from difflut_compiler.emit import emit
from difflut_compiler.errors import CompilerError, GraphError, MismatchError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.frontend import LoadedModel, load_model, trace_wiring
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.graph_file import graph_from_json, graph_to_json
from difflut_compiler.interface import PLAIN, Interface
from difflut_compiler.ops import Compare, Input, Lut, Mux, Output
from difflut_compiler.passes import EXPAND, OPTIMISE, PassStep, run_passes
from difflut_compiler.reference import read_reference
from difflut_compiler.schedule import schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.tools import make_folder
from difflut_compiler.vectors import make_vectors
from difflut_compiler.verify.certificate import climb
from difflut_compiler.verify.equivalence import check_equivalence
from difflut_compiler.verify.ladder import ModelAnswers, check_lowering, check_mutation, check_passes
from difflut_compiler.verify.netlist import read_back
from difflut_compiler.verify.prove_files import prove_netlist, prove_whole
from difflut_compiler.verify.prove_passes import prove_step
from tests.compiler.designs import HDL_TARGETS, Design, edit, is_proven, make_design
from tests.compiler.models import make_convnet, make_model
from tests.compiler.needs import need_for_target
from tests.compiler.random_graphs import Shape, make_graph, random_inputs

SHAPE = Shape(widths=(12, 12), classes=3)

# Each is a change of the emitted text: target, pattern, replacement.
INTRUSIONS = {
    "the clock as data": ("verilog", r"assign class_index = (\w+);", r"assign class_index = \1 ^ {2{clk}};"),
    "the clock as data, vhdl": ("vhdl", r"class_index <= (\w+);", r"class_index <= \1 xor (clk & clk);"),
    "a further input": ("verilog", r"(input  wire clk,\n)(  input  wire \[\d+:0\] feat)", r"\1  input  wire spy,\n\2"),
    "an undefined constant": ("verilog", r"assign class_index = (\w+);", r"assign class_index = \1 | 2'b0x;"),
    "an undefined table entry": ("verilog", r"(localparam \[7:0\] LUT_\w+ = 8'h)(\w\w);", r"\1x0;"),
    "an undefined table entry, vhdl": ("vhdl", r'lut\(X"[0-9a-f]{2}"', 'lut("1101X100"'),
    "what synthesisers do not see": (
        "verilog",
        r"assign class_index = (\w+);",
        "assign class_index = \\1\n`ifndef SYNTHESIS\n^ 2'd1\n`endif\n;",
    ),
    "what some tools do not see": (
        "verilog",
        r"assign class_index = (\w+);",
        "assign class_index = \\1 /* synopsys translate_off */ ^ 2'd1 /* synopsys translate_on */;",
    ),
    "what some tools do not see, vhdl": (
        "vhdl",
        r"class_index <= (\w+);",
        'class_index <= \\1\n-- pragma translate_off\nxor "01"\n-- pragma translate_on\n;',
    ),
    **{
        f"what some tools do not see, {comment}": (
            "vhdl",
            r"class_index <= (\w+);",
            f'class_index <= \\1\n-- {comment.format("off")}\nxor "01"\n-- {comment.format("on")}\n;',
        )
        for comment in (
            "pragma translate {}",
            "pragma synthesis_{}",
            "synopsys synthesis_{}",
            "synthesis translate {}",
            "rtl_synthesis {}",
        )
    },
    "a wider output": ("verilog", r"output wire \[1:0\] class_index", "output wire [2:0] class_index"),
    "a wider input": ("verilog", r"wire \[\d+:0\] (features,\n  output wire)", r"wire [99:0] \1"),
}


@pytest.mark.parametrize("intrusion", INTRUSIONS)
def test_hardware_that_reads_or_says_more_is_refused(intrusion: str, tmp_path: Path) -> None:
    target, pattern, change = INTRUSIONS[intrusion]
    need_for_target(target)
    design = make_design(SHAPE, 1, target=target)
    changed = edit(design.plan, pattern, change)
    assert not is_proven(design, changed, tmp_path)


def one_table(layer: str = "logic", target: str = "verilog") -> Design:
    """A network of one LUT of four inputs, of which the last one does not matter."""
    graph = LutGraph("halves", ("input", layer, "output"))
    bits = [graph.add(Input(f"x{n}", 1), origin=Origin("input", n)) for n in range(4)]
    lut = graph.add(Lut(4, 0xC9C9), bits, origin=Origin(layer, 0))
    graph.add(Output("y"), (lut,), origin=Origin("output", 0))
    scheduled = schedule(graph, "layers")
    return Design(graph, scheduled, emit(scheduled, TARGETS[target], "net"))


def test_an_index_beyond_the_end_of_a_table_is_refused(tmp_path: Path) -> None:
    """What is there is undefined, also where the network's table happens not to depend on that."""
    need_for_target("verilog")
    design = one_table()
    assert is_proven(design, design.plan, make_folder(tmp_path, "whole"))
    half = edit(design.plan, r"\[15:0\] LUT_0 = 16'hc9c9", "[7:0] LUT_0 = 8'hc9")
    assert not is_proven(design, half, make_folder(tmp_path, "half"))


@pytest.mark.parametrize("operator", ["/", "%"])
def test_a_division_by_zero_is_refused(operator: str, tmp_path: Path) -> None:
    """What comes of it is undefined: no bit of it is what the table says, although tools choose one."""
    need_for_target("verilog")
    design = one_table()
    for bit in range(4):
        quotient = f"4'd8 {operator} {{1'b0, features[2:0]}}"
        choice = rf"logic_d[0] = features[2:0] == 0 ? |(({quotient}) & 4'd{1 << bit}) : \1;"
        divided = edit(design.plan, r"logic_d\[0\] = (.*);", choice)
        assert not is_proven(design, divided, make_folder(tmp_path, f"{bit}"))


@pytest.mark.parametrize("name", ["translate_off", "pragma", "synthesis"])
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_a_layer_may_have_the_name_of_a_directive(name: str, target: str, tmp_path: Path) -> None:
    need_for_target(target)
    design = one_table(name, target)
    assert is_proven(design, design.plan, tmp_path)


def test_the_proof_in_one_piece_refuses_a_net_that_nothing_drives(tmp_path: Path) -> None:
    need_for_target("verilog")
    design = make_design(SHAPE, 1)
    changed = edit(design.plan, r"assign class_index = (\w+);", r"assign class_index = \1 ^ {2{clk}};")
    with pytest.raises(MismatchError, match="no data of the circuit"):
        prove_whole(read_back(changed, tmp_path), design.original, tmp_path)


def test_a_circuit_with_an_undriven_net_is_not_compared(tmp_path: Path) -> None:
    need_for_target("verilog")
    golden = Circuit(["a"], ["y"], [".names a y", "1 1"])
    revised = Circuit(["a"], ["y"], [".names a ghost y", "1- 1", "-1 1"])
    with pytest.raises(MismatchError, match="nothing drives"):
        check_equivalence(golden, revised, tmp_path)


# -- records of passes -------------------------------------------------------------------------------------------------


def optimised() -> tuple[LutGraph, list[PassStep], LutGraph]:
    lowered = make_graph(SHAPE, 3)
    graph, inputs = lowered.copy(), random_inputs(lowered, 16)
    steps = run_passes(graph, OPTIMISE, inputs)
    return lowered, steps + run_passes(graph, EXPAND, inputs, repeat=False), graph


def flip_a_table(graph: LutGraph) -> LutGraph:
    changed = graph.copy()
    net = next(net for net in changed if isinstance(changed.node(net).op, Lut))
    op = changed.node(net).op
    assert isinstance(op, Lut)
    changed.replace(net, Lut(op.fan_in, op.table ^ 1), changed.node(net).operands)
    return changed


def test_steps_must_end_at_the_graph_that_is_scheduled(tmp_path: Path) -> None:
    lowered, steps, graph = optimised()
    check_passes(lowered, steps, graph, schedule(graph, "layers"), 16, tmp_path)
    wrong = flip_a_table(graph)
    with pytest.raises(MismatchError, match="between the recorded steps"):
        check_passes(lowered, steps, wrong, schedule(wrong, "layers"), 16, tmp_path)


def test_steps_must_begin_at_the_lowered_graph(tmp_path: Path) -> None:
    lowered, steps, graph = optimised()
    with pytest.raises(MismatchError, match="between the recorded steps"):
        check_passes(flip_a_table(lowered), steps, graph, schedule(graph, "layers"), 16, tmp_path)


def test_no_step_may_be_missing(tmp_path: Path) -> None:
    lowered, steps, graph = optimised()
    with pytest.raises(MismatchError, match="between the recorded steps"):
        check_passes(lowered, steps[:-1], graph, schedule(graph, "layers"), 16, tmp_path)


@pytest.mark.parametrize("kind", ["input", "output"])
def test_ports_cannot_be_replaced(kind: str, tmp_path: Path) -> None:
    graph = make_graph(SHAPE, 3)
    ports = [net for net in graph if graph.node(net).op.kind == kind]
    other = ports[1] if kind == "input" else next(net for net in graph if isinstance(graph.node(net).op, Lut))
    snapshot = graph.snapshot()
    step = PassStep("swindle", snapshot, snapshot, {ports[0]: other}, 0.0)
    with pytest.raises(MismatchError, match="must stay"):
        prove_step(step, tmp_path)


def test_a_replacement_must_exist(tmp_path: Path) -> None:
    graph = make_graph(SHAPE, 3)
    net = next(net for net in graph if isinstance(graph.node(net).op, Lut))
    before = graph.snapshot()
    after = {other: node for other, node in before.items() if other != net}
    with pytest.raises(MismatchError, match="not there"):
        prove_step(PassStep("swindle", before, after, {net: 10**6}, 0.0), tmp_path)


def test_an_output_that_reads_another_net_is_refused(tmp_path: Path) -> None:
    graph = make_graph(SHAPE, 3)
    before = graph.snapshot()
    output = graph.outputs()[0]
    lut = max(net for net in graph if isinstance(graph.node(net).op, Lut))
    graph.nodes[output] = graph.node(output)._replace(op=Output("class_index"), operands=(lut,), width=1)
    with pytest.raises(MismatchError):
        prove_step(PassStep("swindle", before, graph.snapshot(), {}, 0.0), tmp_path)


# -- the lowered graph against the model -------------------------------------------------------------------------------


def flip_first_table(graph: LutGraph) -> None:
    net = min(net for net in graph if isinstance(graph.node(net).op, Lut))
    op = graph.node(net).op
    assert isinstance(op, Lut)
    graph.replace(net, Lut(op.fan_in, op.table ^ 1), graph.node(net).operands)


def swap_first_pins(graph: LutGraph) -> None:
    net = min(net for net in graph if isinstance(graph.node(net).op, Lut))
    first, second, *others = graph.node(net).operands
    graph.replace(net, graph.node(net).op, (second, first, *others))


def raise_first_threshold(graph: LutGraph) -> None:
    net = min(net for net in graph if isinstance(graph.node(net).op, Compare))
    op = graph.node(net).op
    assert isinstance(op, Compare)
    graph.replace(net, Compare(op.threshold + 1), graph.node(net).operands)


@pytest.mark.parametrize("change", [flip_first_table, swap_first_pins, raise_first_threshold])
def test_a_single_wrong_part_of_a_graph_fails_the_first_rung(
    change: Callable[[LutGraph], None], tmp_path: Path
) -> None:
    save_model(make_model(), tmp_path / "model.pth")
    loaded = load_model(tmp_path / "model.pth")
    graph, count_nets, bank_nets = loaded.lower("net")
    change(graph)
    vectors = make_vectors(graph, None)
    layers = loaded.layer_answers(vectors.made, bank_nets)
    # As if the fault did not show in any vote, so that only the comparison of the parts can notice it.
    votes = evaluate_nets(graph, vectors.inputs, count_nets).T
    answers = ModelAnswers(graph.evaluate(vectors.inputs)["class_index"], votes, "")
    with pytest.raises(MismatchError, match="graph and model differ in the"):
        check_lowering(graph, count_nets, vectors.inputs, answers, layers, "vectors")


class Reversed(BaseLUTLayer):
    """Reads its pins in another order than its mapping says."""

    def select_pins(self, features: Tensor) -> Pins:
        return WiredPins(features, self.mapping().flip(1))


def test_wiring_is_observed_not_asked_for() -> None:
    model = make_model()
    model.layers[1] = Reversed(14, 12, "dwn", n=4)
    with torch.no_grad():
        model.lut_layers()[1].bank.get_parameter("luts").fill_(-1)  # of tables that are all 0, no answer shows a pin
    loaded = LoadedModel(model.eval(), "")
    graph, count_nets, bank_nets = loaded.lower("net")
    vectors = make_vectors(graph, None)
    layers = loaded.layer_answers(vectors.made, bank_nets)
    with pytest.raises(MismatchError, match=r"differ in the wiring of layers\.1"):
        check_lowering(graph, count_nets, vectors.inputs, loaded.answers(vectors.inputs), layers, "vectors")


@pytest.mark.parametrize("outputs", [1, 3])
def test_observed_wiring_is_that_of_the_banks(outputs: int) -> None:
    for layer in (
        RandomLayer(9, 7, "dwn", n=3, node_kwargs={"output_dim": outputs}),
        LearnableLayer(9, 7, "fourier", n=3, node_kwargs={"output_dim": outputs}),
    ):
        layer.eval()
        (pins,) = trace_wiring("layer", layer, (9,))
        assert np.array_equal(pins, layer.mapping().repeat_interleave(outputs, dim=0))
        assert "forward_pins" not in vars(layer.bank)


@pytest.mark.parametrize("padding", [0, 1])
def test_observed_wiring_of_a_convolution_is_that_of_its_banks(padding: int) -> None:
    config = ConvolutionConfig(
        in_channels=2, out_channels=3, receptive_field=3, stride=2, padding=padding, tree_depth=2
    )
    layer = ConvolutionalLayer(config, "dwn", n_inputs_per_node=2, image_shape=(2, 5, 6)).eval()
    traced = trace_wiring("layer", layer, (2, 5, 6))
    for pins, wired in zip(traced, layer.wired_banks(), strict=True):
        assert np.array_equal(pins, wired.pins)


class Negated(ConvolutionalLayer):
    def forward(self, x: Tensor) -> Tensor:
        return 1 - super().forward(x)


def test_a_stage_that_changes_what_its_tables_answer_is_noticed() -> None:
    config = ConvolutionConfig(in_channels=1, out_channels=2, receptive_field=2, tree_depth=1)
    layer = Negated(config, "dwn", n_inputs_per_node=2, image_shape=(1, 3, 3))
    with pytest.raises(MismatchError, match="stage does not answer what its last look-up tables do"):
        trace_wiring("stage", layer.eval(), (1, 3, 3))


@pytest.mark.parametrize("values_at_once", [1 << 24, 100])
@pytest.mark.parametrize("stride", [None, 1, 3])
def test_the_windows_of_pooling_are_observed(
    stride: int | None, values_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "VALUES_AT_ONCE", values_at_once)
    stage = OrPool2d(3, stride, image_shape=(2, 5, 6))
    banks = stage.wired_banks()
    traced = trace_wiring("pool", stage, (2, 5, 6))
    assert all(np.array_equal(pins, wired.pins) for pins, wired in zip(traced, banks, strict=True))
    assert len(banks) == 2  # a window of nine bits takes two levels
    for bank, read in ((0, 0), (0, -1), (1, 0)):
        pins = banks[bank].pins.clone()
        pins[-1, 1] = read if read != pins[-1, 0] else pins[-1, 0]
        changed = [dataclasses.replace(wired, pins=pins) if wired is banks[bank] else wired for wired in banks]
        monkeypatch.setattr(OrPool2d, "wired_banks", lambda _, changed=changed: changed)
        with pytest.raises(MismatchError, match="pool does not pool the bits that its look-up tables read"):
            trace_wiring("pool", stage, (2, 5, 6))


def test_wrong_windows_fail_the_first_rung(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lowering and check ask the same method; bits that are rarely 1 do not show on vectors that it is wrong."""
    save_model(make_convnet(), tmp_path / "model.pth")
    ask = OrPool2d.wired_banks

    def lose_last_pixel(stage: OrPool2d) -> list[WiredBank]:
        first, *others = ask(stage)
        pins = first.pins.clone()
        pins[:, 3] = pins[:, 2]
        return [dataclasses.replace(first, pins=pins), *others]

    monkeypatch.setattr(OrPool2d, "wired_banks", lose_last_pixel)
    with pytest.raises(MismatchError, match=r"layers\.1 does not pool the bits"):
        read_reference(tmp_path / "model.pth", "net", None)


def test_a_vote_for_another_class_fails_the_first_rung(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also if it is of bits that are the same on all vectors, as those of rare patterns are."""
    model = make_model()
    luts = model.lut_layers()[-1].bank.get_parameter("luts")
    with torch.no_grad():
        luts[:] = -1
        luts[:, 0] = 1
    save_model(model, tmp_path / "model.pth")
    first_rung = read_reference(tmp_path / "model.pth", "net", None).first_rung
    assert first_rung.status == "passed"
    lower_sum = lower._LOWERINGS[GroupSum]

    def swap_votes(state: lower.Lowering, name: str, group_sum: GroupSum) -> None:
        state.bits[0], state.bits[-1] = state.bits[-1], state.bits[0]
        lower_sum(state, name, group_sum)
        state.bits[0], state.bits[-1] = state.bits[-1], state.bits[0]

    monkeypatch.setitem(lower._LOWERINGS, GroupSum, swap_votes)
    first_rung = read_reference(tmp_path / "model.pth", "net", None).first_rung
    assert (first_rung.status, first_rung.reason) == (
        "failed",
        "graph and model differ in the bits that vote for class 0",
    )


# -- names from a graph file -------------------------------------------------------------------------------------------


def named(layer: str = "logic", output: str = "y", parts: tuple[str, str] = ("", "")) -> LutGraph:
    graph = LutGraph("named", ("input", layer, "output"))
    bit = graph.add(Input("x", 1), origin=Origin("input", 0))
    for number, part in enumerate(parts):
        lut = graph.add(Lut(1, number + 1), (bit,), origin=Origin(layer, 7 if part else number, part))
        graph.add(Output(output if number else "z"), (lut,), origin=Origin("output", number))
    return graph


@pytest.mark.parametrize("target", HDL_TARGETS)
@pytest.mark.parametrize(
    ("graph", "interface", "name"),
    [
        (named(output="logic_q"), PLAIN, "logic_q"),
        (named(output="logic_stage"), PLAIN, "logic_stage"),
        (named(output="net"), PLAIN, "net"),
        (named(layer="functions"), PLAIN, "net_functions"),
        (named(layer="core"), Interface("valid"), "net_core"),
        (named(layer="table"), Interface(reloadable=True), "net_table"),
        (named(parts=("a.b", "a_b")), PLAIN, "LUT_7_a_b"),
    ],
)
def test_two_things_of_one_name_are_refused(graph: LutGraph, interface: Interface, name: str, target: str) -> None:
    with pytest.raises(CompilerError, match=f"two things in the hardware would be called {name};"):
        emit(schedule(graph, "layers"), TARGETS[target], "net", interface)


def test_two_outputs_of_one_name_are_refused() -> None:
    with pytest.raises(GraphError, match="several outputs called 'z'"):
        graph_from_json(graph_to_json(named(output="z")))


def test_a_graph_with_registers_is_not_compiled(tmp_path: Path) -> None:
    """It would be scheduled again, and its evaluation looks through registers."""
    path = tmp_path / "graph.json"
    path.write_text(graph_to_json(schedule(named(), "layers").graph))
    with pytest.raises(CompilerError, match="has registers; give the graph without them"):
        read_reference(path, "net", None)


# -- what tools misread, and what the certificate says -----------------------------------------------------------------


@pytest.mark.parametrize("literal", ['X"8000000000000000"', 'x"0000_0001_0000_0000"', f'"1{"0" * 63}"'])
def test_a_constant_that_ghdl_misreads_is_not_proven(literal: str, tmp_path: Path) -> None:
    need_for_target("vhdl")
    graph = LutGraph("zero", ("input", "logic", "output"))
    bits = [graph.add(Input(f"x{n}", 1), origin=Origin("input", n)) for n in range(6)]
    lut = graph.add(Lut(6, 0), bits, origin=Origin("logic", 0))
    graph.add(Output("y"), (lut,), origin=Origin("output", 0))
    scheduled = schedule(graph, "layers")
    design = Design(graph, scheduled, emit(scheduled, TARGETS["vhdl"], "net"))
    assert is_proven(design, design.plan, tmp_path)
    assert not is_proven(design, edit(design.plan, r'not lut\(X"f+"', f"lut({literal}"), tmp_path)


@pytest.mark.parametrize(
    ("signed", "comparison"),
    [
        (True, "signed(features(0 downto 0)) >= -2"),
        (True, "signed(features(1 downto 0)) >= 2"),
        (False, "unsigned(features(1 downto 0)) >= 4"),
        (False, "unsigned(features(1 downto 0)) < 5"),
        (False, "Unsigned ( features ( 1 downto 0 ) ) /= 9"),
        (False, "unsigned(features) >= 1"),
        (False, "5 <= unsigned(features(1 downto 0))"),
        (True, "-3 <= signed(features(1 downto 0))"),
        (False, "unsigned(features(1 downto 0)) >= 2#101#"),
        (False, "unsigned(features(1 downto 0)) >= 3 + 2"),
        (False, "unsigned(features(1 downto 0)) >= (5)"),
        (False, "extend(features, 2) >= 5"),
        (False, "unsigned(features(1 downto 0)) >= /* a comment */ 5"),
        (False, "/* -- */ unsigned(features(1 downto 0)) >= 5"),
        (False, '">="(unsigned(features(1 downto 0)), 5)'),
        (False, "unsigned(features(1 downto 0)) >= integer'(5)"),
        (False, """unsigned(features(1 downto 0)) >= natural'value("5")"""),
        (False, "unsigned(features(1 downto 0)) >= abs 5"),
        (False, "unsigned(features(1 downto 0)) >= character'pos('E')"),
        (False, "unsigned(features(1 downto 0)) >= features'length + 3"),
        (False, "(5) <= unsigned(features(1 downto 0))"),
    ],
)
def test_a_number_that_ghdl_cuts_is_not_proven(signed: bool, comparison: str, tmp_path: Path) -> None:
    """It synthesises a comparison with the lowest bits of the number, as many as the vector has."""
    need_for_target("vhdl")
    graph = LutGraph("cut", ("input", "encoder", "output"))
    word = graph.add(Input("x", 2, signed), origin=Origin("input", 0))
    compare = graph.add(Compare(1), (word,), origin=Origin("encoder", 0))
    graph.add(Output("y"), (compare,), origin=Origin("output", 0))
    scheduled = schedule(graph, "layers")
    design = Design(graph, scheduled, emit(scheduled, TARGETS["vhdl"], "net"))
    assert is_proven(design, design.plan, tmp_path)
    mutant = edit(design.plan, r"(?:un)?signed\(features\(1 downto 0\)\) >= 1", comparison)
    with pytest.raises(MismatchError, match=r"GHDL (would|may) cut the number in"):
        prove_netlist(mutant, scheduled, None, make_folder(tmp_path, "mutant"))


@pytest.mark.parametrize("threshold", [2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_thresholds_beyond_the_integers_of_vhdl(threshold: int, target: str, tmp_path: Path) -> None:
    need_for_target(target)
    graph = LutGraph("wide", ("input", "encoder", "output"))
    word = graph.add(Input("x", 32), origin=Origin("input", 0))
    compare = graph.add(Compare(threshold), (word,), origin=Origin("encoder", 0))
    graph.add(Output("y"), (compare,), origin=Origin("output", 0))
    scheduled = schedule(graph, "layers")
    design = Design(graph, scheduled, emit(scheduled, TARGETS[target], "net"))
    assert is_proven(design, design.plan, tmp_path)


@pytest.mark.parametrize("target", ["verilog", "aiger"])
def test_a_flipped_bit_that_no_output_shows(target: str, tmp_path: Path) -> None:
    """Then it is the same circuit, which is no evidence, but no failure either."""
    need_for_target(target)
    graph = LutGraph("hidden", ("input", "logic", "output"))
    one, two = (graph.add(Input(f"x{n}", 1), origin=Origin("input", n)) for n in range(2))
    hidden = graph.add(Lut(1, 0b10), (one,), origin=Origin("logic", 0))
    same = graph.add(Mux(), (hidden, two, two), origin=Origin("logic", 1))
    graph.add(Output("y"), (same,), origin=Origin("output", 0))
    scheduled = schedule(graph, "none")
    plan = emit(scheduled, TARGETS[target], "net")
    inputs = random_inputs(graph, 16)
    rung = climb(5, lambda: check_mutation(plan, scheduled, inputs, graph.evaluate(inputs), None, tmp_path))
    assert rung.status == "not checked"
    assert "shows at no output, so that it may be the same circuit" in rung.reason


def test_the_certificate_of_a_graph_speaks_of_no_model(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_text(graph_to_json(named()))
    for target in ("json", "blif"):
        rungs = compile_model(CompileRequest(path, target, "net")).certificate.rungs
        text = " ".join(rung.name + rung.reason for rung in rungs[1:])
        assert "the graph that was given" in text
        assert "model" not in text
