"""Networks behind valid bits and AXI4-Stream: nothing lost, nothing twice, and benches that notice if it were."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from difflut import save_model
from difflut_compiler.compiled import load_compiled
from difflut_compiler.driver import CompileRequest, compile_model
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.interface import INTERFACES as INTERFACE_KINDS
from difflut_compiler.interface import PLAIN, Interface, stream_out_bits
from difflut_compiler.ops import ArgMax, Input, Lut, Output
from difflut_compiler.schedule import PIPELINES, schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.tools import make_folder
from difflut_compiler.verify.languages import LANGUAGES
from difflut_compiler.verify.prove_files import prove_netlist
from difflut_compiler.verify.simulate import SimulationResult, simulate
from tests.compiler.designs import HDL_TARGETS, Design, design_of, edit, is_proven, make_design
from tests.compiler.models import make_model
from tests.compiler.needs import need
from tests.compiler.random_graphs import Shape, make_graph, random_inputs
from tests.compiler.test_compile import refused, run, statuses
from tests.compiler.test_emit import run_clean, verilator_lint, write

VALID, BYTE, NARROW, WIDE = (
    Interface("valid"),
    Interface("axi-stream", 8),
    Interface("axi-stream", 16),
    Interface("axi-stream", 64),
)
INTERFACES = [pytest.param(one, id=f"{one.kind}-{one.stream_bits}") for one in (VALID, BYTE, NARROW, WIDE)]
CONTROLLED = [
    pytest.param(
        Interface(clock_enable=enable, reset=reset), id="-".join(Interface("plain", 32, enable, reset).controls)
    )
    for enable, reset in ((True, False), (False, True), (True, True))
]
SHAPE = Shape(features=3, bits=5, widths=(14, 12), classes=5)
SAMPLES = 300
SIMULATOR_OF = {target: LANGUAGES[target].simulators[0] for target in HDL_TARGETS}


def design_with(
    interface: Interface, target: str = "verilog", pipeline: str = "layers", shape: Shape = SHAPE
) -> tuple[Design, BuildPlan]:
    design = make_design(shape, 3, target=target, pipeline=pipeline)
    return design, emit(design.scheduled, TARGETS[target], "net", interface)


def run_plan(design: Design, plan: BuildPlan, simulator: str, folder: Path, samples: int = SAMPLES) -> SimulationResult:
    need(simulator)
    need("cocotb")
    inputs = random_inputs(design.original, samples)
    expected = {"class_index": design.original.evaluate(inputs)["class_index"]}
    assert len(set(expected["class_index"].tolist())) > 2
    return simulate(plan, design.graph, inputs, expected, simulator, folder)


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("target", ["verilog", "vhdl"])
def test_all_answers_arrive_in_order(target: str, interface: Interface, pipeline: str, tmp_path: Path) -> None:
    design, plan = design_with(interface, target, pipeline)
    result = run_plan(design, plan, SIMULATOR_OF[target], tmp_path)
    assert result.comparisons == SAMPLES


@pytest.mark.parametrize("pipeline", ["layers", "3"])
@pytest.mark.parametrize("interface", CONTROLLED)
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_enable_and_reset(target: str, interface: Interface, pipeline: str, tmp_path: Path) -> None:
    design, plan = design_with(interface, target, pipeline)
    assert run_plan(design, plan, SIMULATOR_OF[target], tmp_path).comparisons == SAMPLES


def test_a_reset_shows_through_the_logic_behind_the_last_registers(tmp_path: Path) -> None:
    """A graph file may have logic in the layer of its output."""
    need("iverilog")
    need("cocotb")
    graph = LutGraph("late", ("input", "logic", "output"))
    bits = [graph.add(Input(f"x{number}", 1), origin=Origin("input", number)) for number in range(2)]
    first = graph.add(Lut(2, 0b0110), bits, origin=Origin("logic", 0))
    last = graph.add(Lut(1, 0b01), (first,), origin=Origin("output", 0))
    graph.add(Output("y"), (last,), origin=Origin("output", 1))
    scheduled = schedule(graph, "layers")
    plan = emit(scheduled, TARGETS["verilog"], "net", Interface(reset=True))
    inputs = random_inputs(graph, SAMPLES)
    assert plan.latency_cycles == 1
    assert simulate(plan, scheduled.graph, inputs, graph.evaluate(inputs), "iverilog", tmp_path).samples == SAMPLES


@pytest.mark.parametrize("target", ["verilog", "systemverilog"])
def test_a_stream_in_verilator(target: str, tmp_path: Path) -> None:
    design, plan = design_with(BYTE, target)
    assert run_plan(design, plan, "verilator", tmp_path).comparisons == SAMPLES


@pytest.mark.slow
@pytest.mark.parametrize(("target", "simulator"), [("verilog", "verilator"), ("verilog", "iverilog"), ("vhdl", "ghdl")])
@pytest.mark.parametrize("interface", INTERFACES)
def test_ten_thousand_samples(interface: Interface, target: str, simulator: str, tmp_path: Path) -> None:
    design, plan = design_with(interface, target)
    assert run_plan(design, plan, simulator, tmp_path, samples=10_000).comparisons == 10_000


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_the_network_inside_is_proven_as_ever(target: str, interface: Interface, tmp_path: Path) -> None:
    if target == "vhdl":
        need("ghdl")
    design, plan = design_with(interface, target)
    assert plan.core == "net_core"
    assert is_proven(design, plan, tmp_path)


@pytest.mark.parametrize("interface", CONTROLLED)
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_what_registers_do_is_proven(target: str, interface: Interface, tmp_path: Path) -> None:
    if target == "vhdl":
        need("ghdl")
    design, plan = design_with(interface, target)
    finding = prove_netlist(plan, design.scheduled, design.original, tmp_path)
    assert "what registers do proven for every value of " + " and ".join(interface.controls) in finding.reason
    plain = prove_netlist(design.plan, design.scheduled, None, make_folder(tmp_path, "plain"))
    assert finding.comparisons == plain.comparisons * 2 ** len(interface.controls)


# -- what the benches notice -------------------------------------------------------------------------------------------

STREAM_MISTAKES = {
    "no back-pressure": (r"assign s_axis_tready = .*;", "assign s_axis_tready = aresetn;"),
    "never ready": (r"assign s_axis_tready = .*;", "assign s_axis_tready = 1'b0;"),
    "ready one sample in two": (r"(assign s_axis_tready = aresetn) .*;", r"\1 & (occupied < 2);"),
    "one beat too few": (r"beat == (\d+)'d1", r"beat == \1'd0"),
    "beats in another order": (r"\{s_axis_tdata, sample\[(\d+):(\d+)\]\}", r"{sample[15-8:0], s_axis_tdata}"),
    "an incomplete sample is kept": (r"\(complete \| s_axis_tlast\)", "complete"),
    "TLAST of another sample": (r"is_last\[5\], class_index", "is_last[4], class_index"),
    "no TLAST": (r"assign m_axis_tlast = .*;", "assign m_axis_tlast = 1'b0;"),
    "an answer too early": (r"answered = under_way\[5\]", "answered = under_way[4]"),
    "answers change while they wait": (
        r"(first = fifo\[read_place) *\]",
        r"\1 + 4'd0 ^ {3'd0, aclk & ~m_axis_tready}]",
    ),
    "an answer twice": (r"(read_place <= read_place) \+ .*;", r"\1 + ((give & (read_place != 4'd7)) ? 4'd1 : 4'd0);"),
    "answers forgotten in a full FIFO": (r"wire give = .*;", "wire give = m_axis_tvalid;"),
    "padding not zero": (r"assign m_axis_tdata = \{5'd0", "assign m_axis_tdata = {5'd1"),
    "reset leaves samples under way": (r"under_way <= aresetn \? (.*) : .*;", r"under_way <= \1;"),
    "reset leaves answers": (r"(?s)if \(~aresetn\) begin(.*?)stored <= \d'd0;", r"if (~aresetn) begin\1"),
}
VALID_MISTAKES = {
    "valid one cycle early": (r"assign out_valid = under_way\[\d\];", "assign out_valid = under_way[3];"),
    "always valid": (r"assign out_valid = .*;", "assign out_valid = 1'b1;"),
    "never valid": (r"assign out_valid = .*;", "assign out_valid = 1'b0;"),
    "reset does nothing": (r"if \(rst\)", "if (1'b0)"),
    "in_valid ignored": (r", in_valid\}", ", 1'b1}"),
}
CONTROL_MISTAKES = {
    "enable ignored": (r"else if \(enable\)", "else if (1'b1)"),
    "never enabled": (r"else if \(enable\)", "else if (1'b0)"),
    "enable inverted": (r"else if \(enable\)", "else if (~enable)"),
    "reset ignored": (r"if \(rst\)", "if (1'b0)"),
    "reset needs the enable": (r"if \(rst\)", "if (rst & enable)"),
    "reset to one": (r"(class_index_q|argmax_\w+_q) <= (\d)'d0;", r"\1 <= \2'd1;"),
}
MISTAKES = [pytest.param(BYTE, *change, id=name) for name, change in STREAM_MISTAKES.items()]
MISTAKES += [pytest.param(VALID, *change, id=name) for name, change in VALID_MISTAKES.items()]


@pytest.mark.parametrize(("interface", "pattern", "change"), MISTAKES)
def test_a_mistake_in_the_interface_is_noticed(interface: Interface, pattern: str, change: str, tmp_path: Path) -> None:
    design, plan = design_with(interface)
    mutant = edit(plan, pattern, change)
    assert mutant.files != plan.files
    with pytest.raises(MismatchError, match="simulation: "):
        run_plan(design, mutant, "iverilog", tmp_path)


# Samples of many beats arrive more slowly than answers are taken, whatever the sender does.
SLOW = Shape(features=130, bits=8, widths=(20, 15), classes=5)


@pytest.mark.slow
def test_a_sample_may_be_of_any_number_of_beats(tmp_path: Path) -> None:
    design, plan = design_with(BYTE, shape=SLOW)
    assert plan.interface.beats(plan.feature_bits) == 130
    assert run_plan(design, plan, "iverilog", tmp_path, samples=160).comparisons == 160


@pytest.mark.slow
def test_a_stream_of_slow_samples_is_filled_too(tmp_path: Path) -> None:
    design, plan = design_with(BYTE, shape=SLOW)
    mutant = edit(plan, *STREAM_MISTAKES["no back-pressure"])
    with pytest.raises(MismatchError, match="simulation: "):
        run_plan(design, mutant, "iverilog", tmp_path, samples=160)


@pytest.mark.parametrize("mistake", CONTROL_MISTAKES)
def test_a_mistake_in_enable_or_reset_is_noticed_and_refused(mistake: str, tmp_path: Path) -> None:
    """In the last layer, where the simulation sees each; the proof sees them anywhere."""
    design, plan = design_with(Interface(clock_enable=True, reset=True))
    pattern, change = CONTROL_MISTAKES[mistake]
    mutant = edit(plan, pattern, change, which=-1)
    assert mutant.files != plan.files
    with pytest.raises(MismatchError, match="simulation: "):
        run_plan(design, mutant, "iverilog", make_folder(tmp_path, "simulation"))
    assert not is_proven(design, mutant, make_folder(tmp_path, "proof"))
    assert not is_proven(design, edit(plan, *CONTROL_MISTAKES["enable ignored"]), make_folder(tmp_path, "first"))


# -- lint --------------------------------------------------------------------------------------------------------------

LINT_SHAPES = [SHAPE, Shape(features=1, bits=1, thresholds=1, widths=(4,), classes=2), Shape(classes=1), Shape(bits=8)]
LINT_CASES = [
    *itertools.product(LINT_SHAPES, PIPELINES),
    *itertools.product([SHAPE], ["1", "3", "period:6"]),
]
GHDL_WARNINGS = """attribute binding body default-binding delayed-checks hide library nested-comment others parenthesis
    port-bounds pure reserved runtime-error shared specs static universal unused useless vital-generic""".split()
PLAIN_PORTS = [pytest.param(PLAIN, id="plain"), *CONTROLLED]


def test_every_interface_and_target_is_linted() -> None:
    kinds = {one.values[0].kind for one in (*INTERFACES, *PLAIN_PORTS) if isinstance(one.values[0], Interface)}
    assert kinds == set(INTERFACE_KINDS)
    assert {LANGUAGES[target].simulators for target in HDL_TARGETS} == {("iverilog", "verilator"), ("ghdl",)}


def with_votes(shape: Shape) -> LutGraph:
    """A random graph that also has the votes of every class as outputs."""
    graph = make_graph(shape, 3)
    (argmax,) = (net for net in graph if isinstance(graph.node(net).op, ArgMax))
    for number, votes in enumerate(graph.node(argmax).operands):
        graph.add(Output(f"score_{number}"), (votes,), origin=Origin("output", number + 1))
    return graph


@pytest.mark.parametrize("interface", [*INTERFACES, *PLAIN_PORTS])
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_no_linter_has_a_warning(target: str, interface: Interface, tmp_path: Path) -> None:
    """Verilator or GHDL, with every warning there is, for every pipelining."""
    for number, (shape, pipeline) in enumerate(LINT_CASES):
        design = design_of(with_votes(shape), target=target, pipeline=pipeline)
        files = dict(emit(design.scheduled, TARGETS[target], "net", interface).files)
        if target == "vhdl":
            ghdl_lint(files, make_folder(tmp_path, str(number)))
        else:
            verilator_lint(files, make_folder(tmp_path, str(number)))


def ghdl_lint(files: dict[str, str], folder: Path) -> None:
    ghdl = str(need("ghdl"))
    warnings = [f"-W{name}" for name in GHDL_WARNINGS]
    run_clean([ghdl, "-a", "--std=08", "--warn-error", *warnings, *write(files, folder)], folder)
    run_clean([ghdl, "--elab-run", "--std=08", "net", "--no-run"], folder)


def test_a_warning_of_ghdl_is_an_error(tmp_path: Path) -> None:
    files = dict(make_design(SHAPE, 3, target="vhdl").plan.files)
    architecture = "architecture rtl of net is\n"
    unread = "  function unread(x : std_logic) return std_logic is begin return x; end function;\n"
    assert architecture in files["net.vhd"]
    files["net.vhd"] = files["net.vhd"].replace(architecture, architecture + unread)
    with pytest.raises(AssertionError, match='function "unread" is never referenced'):
        ghdl_lint(files, tmp_path)


# -- compiles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "interface"), [("verilog", "axi-stream"), ("vhdl", "axi-stream"), ("verilog", "valid")]
)
def test_a_compile_with_an_interface_and_scores(target: str, interface: str, tmp_path: Path) -> None:
    need(SIMULATOR_OF[target])
    need("cocotb")
    fields = {"bits": 4, "signed": True, "scale": 0.5}
    save_model(make_model(features=4, layer_widths=[10, 9], input_format=fields), tmp_path / "model.pth")
    out = tmp_path / "out"
    options = ["--interface", interface, "--stream-width", "8", "--scores", "--no-count-luts"]
    code, output, error = run("compile", tmp_path / "model.pth", "-t", target, "-o", out, *options)
    assert code == 0, output + error
    assert set(statuses(out).values()) == {"passed"}
    report = json.loads((out / "report.json").read_text())
    assert list(report["outputs"]) == ["class_index", "score_0", "score_1", "score_2"]
    assert report["core"] == "network_core"
    assert report["interface"] == asdict(Interface(interface, 8))
    assert f"the {interface} interface around it is left to the simulation" in (out / "certificate.json").read_text()
    assert load_compiled(out).plan.interface == Interface(interface, 8)
    rungs = json.loads((out / "certificate.json").read_text())["rungs"]
    (simulated,) = [rung["reason"] for rung in rungs if rung["id"] == 4]
    is_stream = interface == "axi-stream"
    assert ("answers in order, none lost" in simulated, "after exactly" in simulated) == (is_stream, not is_stream)
    for name in ("summary.txt", "report.html"):
        assert ("one sample per 2 beats" in (out / name).read_text()) == is_stream


@pytest.mark.parametrize("target", ["verilog", "vhdl"])
def test_a_compile_with_enable_and_reset(target: str, tmp_path: Path) -> None:
    need(SIMULATOR_OF[target])
    need("cocotb")
    save_model(make_model(features=4, layer_widths=[10, 9]), tmp_path / "model.pth")
    out = tmp_path / "out"
    code, output, error = run("compile", tmp_path / "model.pth", "-t", target, "-o", out, "--clock-enable", "--reset")
    assert code == 0, output + error
    assert set(statuses(out).values()) == {"passed"}
    assert "for every value of enable and rst" in (out / "certificate.json").read_text()
    assert load_compiled(out).plan.interface == Interface(clock_enable=True, reset=True)
    assert run("verify", out)[0] == 0


def test_scores_are_the_votes_of_the_model(tmp_path: Path) -> None:
    model = make_model(features=4, layer_widths=[20, 18])
    save_model(model, tmp_path / "model.pth")
    request = CompileRequest(tmp_path / "model.pth", "json", "network", scores=True)
    result = compile_model(request)
    inputs = random_inputs(result.graph, 50)
    import torch

    with torch.no_grad():
        votes = model.class_counts(model.input_format.to_reals(torch.from_numpy(inputs))).numpy()
    found = result.graph.evaluate(inputs)
    assert np.array_equal(np.stack([found[f"score_{number}"] for number in range(3)], axis=1), votes)
    assert result.certificate.rungs[0].status == "passed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-t", "verilog", "--interface", "wishbone"], "there is no interface 'wishbone'; choose one of plain, valid"),
        (["-t", "verilog", "--interface", "axi-stream", "--stream-width", "12"], "a stream has whole bytes"),
        (["-t", "verilog", "--interface", "axi-stream", "--stream-width", "0"], "a stream has whole bytes"),
        (["-t", "c", "--interface", "valid"], "the target c has no interface valid"),
        (["-t", "c", "--reset"], "a circuit without pipeline has none"),
        (["-t", "vhdl", "--clock-enable", "--pipeline", "none"], "a circuit without pipeline has none"),
        (["-t", "vhdl", "--clock-enable", "--interface", "valid"], "the interface valid has its own"),
    ],
)
def test_an_interface_that_there_is_not_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    save_model(make_model(), tmp_path / "model.pth")
    assert message in refused(2, "compile", tmp_path / "model.pth", "-o", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_an_output_with_a_name_of_the_interface_is_refused() -> None:
    graph = LutGraph("wire", ("input", "logic", "output"))
    bit = graph.add(Input("x", 1), origin=Origin("input", 0))
    lut = graph.add(Lut(1, 1), (bit,), origin=Origin("logic", 0))
    graph.add(Output("sample"), (lut,), origin=Origin("output", 0))
    with pytest.raises(CompilerError, match="an output is called 'sample', a name that the interface uses"):
        emit(schedule(graph, "layers"), TARGETS["verilog"], "net", BYTE)
    assert emit(schedule(graph, "layers"), TARGETS["verilog"], "net").outputs == {"sample": 1}


def test_an_output_with_the_name_of_a_control_is_refused() -> None:
    graph = LutGraph("wire", ("input", "logic", "output"))
    bit = graph.add(Input("x", 1), origin=Origin("input", 0))
    graph.add(Output("enable"), (bit,), origin=Origin("output", 0))
    assert emit(schedule(graph, "layers"), TARGETS["verilog"], "net").outputs == {"enable": 1}
    with pytest.raises(CompilerError, match="an output is called 'enable', a name that the interface uses"):
        emit(schedule(graph, "layers"), TARGETS["verilog"], "net", Interface(clock_enable=True))


def test_widths_of_streams() -> None:
    assert [BYTE.beats(bits) for bits in (1, 8, 9, 16, 17)] == [1, 1, 2, 2, 3]
    assert [stream_out_bits(bits) for bits in (1, 8, 9)] == [8, 8, 16]
