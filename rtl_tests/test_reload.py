"""Tables that are written while the hardware is there: it then answers as another model of the same wiring."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from difflut import load_model, save_model
from difflut.models import BaseLUTModel
from difflut_compiler.compiled import load_compiled
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.interface import Interface
from difflut_compiler.ops import Input, Lut, Output, complement_table
from difflut_compiler.passes import run_passes
from difflut_compiler.reload import (
    FIXED_LAYERS,
    LOAD_BITS,
    check_same_but_tables,
    complement_tables,
    make_image,
    map_tables,
    reloadable_passes,
)
from difflut_compiler.schedule import Schedule, schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.tools import make_folder
from difflut_compiler.verify.languages import LANGUAGES
from difflut_compiler.verify.prove_files import prove_netlist
from difflut_compiler.verify.simulate import simulate
from test_interfaces import ghdl_lint
from tests.compiler.designs import HDL_TARGETS, edit
from tests.compiler.models import make_model
from tests.compiler.needs import need
from tests.compiler.random_graphs import Shape, all_inputs, make_graph, random_inputs
from tests.compiler.test_compile import refused, run, statuses
from tests.compiler.test_emit import verilator_lint

SHAPE = Shape(features=3, bits=5, widths=(40, 12), classes=5)
SAMPLES = 100
RELOADABLE = Interface(reloadable=True)
SIMULATOR_OF = {target: LANGUAGES[target].simulators[0] for target in HDL_TARGETS}


def prepare(original: LutGraph, target: str, pipeline: str = "layers") -> tuple[Schedule, BuildPlan]:
    graph = original.copy()
    run_passes(graph, reloadable_passes(graph, 6), random_inputs(graph, 64), repeat=False)
    scheduled = schedule(graph, pipeline)
    return scheduled, emit(scheduled, TARGETS[target], "net", RELOADABLE)


def run_twice(original: LutGraph, scheduled: Schedule, plan: BuildPlan, folder: Path) -> int:
    """Simulate with the tables that are there and with all of them inverted; returns the number of comparisons."""
    simulator = SIMULATOR_OF[plan.target]
    need(simulator)
    need("cocotb")
    inputs = random_inputs(original, SAMPLES)
    expected = {"class_index": original.evaluate(inputs)["class_index"]}
    other = complement_tables(scheduled.graph).evaluate(inputs)["class_index"]
    assert min(len(set(answers.tolist())) for answers in (expected["class_index"], other)) > 1
    return simulate(plan, scheduled.graph, inputs, expected, simulator, folder).comparisons


@pytest.mark.parametrize("pipeline", ["layers", "2"])
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_tables_are_proven_and_after_writing_others(target: str, pipeline: str, tmp_path: Path) -> None:
    original = make_graph(SHAPE, 3)
    scheduled, plan = prepare(original, target, pipeline)
    assert run_twice(original, scheduled, plan, make_folder(tmp_path, "simulation")) == 2 * SAMPLES
    finding = prove_netlist(plan, scheduled, original, make_folder(tmp_path, "proof"))
    assert "also proven against the lowered graph in one piece" in finding.reason
    assert "that they change when written is left to the simulation" in finding.reason


def test_tables_that_ghdl_misreads_are_proven_and_written(tmp_path: Path) -> None:
    """GHDL takes a constant for zero if of its bits only some of the highest 32 are set."""
    graph = LutGraph("high", ("input", "logic", "output"))
    bits = [graph.add(Input(f"x{n}", 1), origin=Origin("input", n)) for n in range(6)]
    for number, table in enumerate((1 << 63, 0x8000_0001 << 32, 0)):
        lut = graph.add(Lut(6, table), bits, origin=Origin("logic", number))
        graph.add(Output(f"y{number}"), (lut,), origin=Origin("output", number))
    scheduled, plan = prepare(graph, "vhdl")
    need("ghdl")
    need("cocotb")
    inputs = all_inputs(graph)
    folder = make_folder(tmp_path, "simulation")
    assert simulate(plan, scheduled.graph, inputs, graph.evaluate(inputs), "ghdl", folder).comparisons == 2 * 3 * 64
    assert prove_netlist(plan, scheduled, graph, make_folder(tmp_path, "proof")).comparisons > 0


MISTAKES = {
    "a bit of the data for another LUT": (r"(\.data\(load_data\[)3\]", r"\g<1>4]"),
    "a group under another number": (r"(write_0 = .*'d)0\)", r"\g<1>1)"),
    "also written with another group": (r"(write_1 = .*) == ", r"\1 <= "),
    "written without load": (r"load & (\(load_address)", r"1'b1 & \1"),
    "never written": (r"load & (\(load_address)", r"1'b0 & \1"),
    "other entries": (r"\.entry\(load_address\[(\d):0\]\)", r".entry(~load_address[\1:0])"),
    "other tables at the start": (r"cells\[place\] = CONTENTS", "cells[place] = ~CONTENTS"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_writing_is_noticed(mistake: str, tmp_path: Path) -> None:
    original = make_graph(SHAPE, 3)
    scheduled, plan = prepare(original, "verilog")
    mutant = edit(plan, *MISTAKES[mistake])
    assert mutant.files != plan.files
    with pytest.raises(MismatchError, match="answers are wrong"):
        run_twice(original, scheduled, mutant, tmp_path)


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_one_other_bit_at_the_start_is_refused_by_the_proof(target: str, tmp_path: Path) -> None:
    scheduled, plan = prepare(make_graph(SHAPE, 3), target)
    pattern = r'(contents => X")([0-9a-f]+)' if target == "vhdl" else r"(CONTENTS\(\d+'h)([0-9a-f]+)"

    def flip(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2], 16) ^ 1:0{len(match[2])}x}"

    with pytest.raises(MismatchError, match=r"the RTL is not the graph: .*lut layers\.0"):
        prove_netlist(edit(plan, pattern, flip), scheduled, None, tmp_path)


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_no_linter_has_a_warning(target: str, tmp_path: Path) -> None:
    lint = ghdl_lint if target == "vhdl" else verilator_lint
    shapes = [SHAPE, Shape(features=1, bits=2, thresholds=2, widths=(4,), classes=2), Shape(widths=(33,), max_fan_in=1)]
    for number, shape in enumerate(shapes):
        for pipeline in ("layers", "1", "period:6"):
            plan = prepare(make_graph(shape, 3), target, pipeline)[1]
            lint(dict(plan.files), make_folder(tmp_path, f"{number}_{pipeline.replace(':', '_')}"))


def test_an_image_has_every_entry_of_every_table_at_its_place() -> None:
    graph = make_graph(Shape(widths=(40, 3), max_fan_in=4), 3)
    loads, words = map_tables(graph), make_image(graph).tolist()
    assert len(words) == len(loads.groups) << loads.entry_bits
    for group, nets in enumerate(loads.groups):
        assert len(nets) <= LOAD_BITS
        assert len({graph.node(net).origin.layer for net in nets}) == 1
        for entry in range(1 << loads.entry_bits):
            word = words[group << loads.entry_bits | entry]
            for place, net in enumerate(nets):
                op = graph.node(net).op
                assert isinstance(op, Lut)
                assert word >> place & 1 == op.table >> entry % (1 << op.fan_in) & 1
            assert word >> len(nets) == 0
    reloadable = [net for nets in loads.groups for net in nets]
    luts = [net for net in graph if isinstance(graph.node(net).op, Lut)]
    assert sorted(reloadable) == [net for net in sorted(luts) if graph.node(net).origin.layer not in FIXED_LAYERS]


# -- by the command line -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models with the same wiring and thresholds, and other tables."""
    folder = tmp_path_factory.mktemp("models")
    model = make_model(features=4, layer_widths=[40, 12])
    save_model(model, folder / "model.pth")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    save_model(model, folder / "other.pth")
    return folder / "model.pth", folder / "other.pth"


def classes_of(path: Path, inputs: np.ndarray) -> np.ndarray:
    model = load_model(path).eval()
    assert isinstance(model, BaseLUTModel)
    with torch.no_grad():
        classes = model(model.input_format.to_reals(torch.from_numpy(inputs))).argmax(dim=1)
    return np.array(classes.tolist())


@pytest.mark.parametrize("target", ["verilog", "vhdl"])
def test_hardware_of_one_model_answers_as_another_after_writing(
    target: str, models: tuple[Path, Path], tmp_path: Path
) -> None:
    need(SIMULATOR_OF[target])
    out, image = tmp_path / "out", tmp_path / "other.hex"
    code, output, error = run("compile", models[0], "-t", target, "-o", out, "--reloadable")
    assert code == 0, output + error
    assert set(statuses(out).values()) == {"passed"}
    assert "then again with every bit of every table inverted" in (out / "certificate.json").read_text()
    assert run("verify", out, "--model", models[0])[0] == 0

    code, output, error = run("reload", out, models[1], "-o", image, "--json")
    assert (code, json.loads(output)["image"]) == (0, str(image)), error
    words = [int(line, 16) for line in image.read_text().splitlines()]
    compiled = load_compiled(out)
    inputs = random_inputs(compiled.graph, SAMPLES)
    first, second = (classes_of(path, inputs) for path in models)
    assert (first != second).any()
    other = with_image(compiled.graph, words)
    assert (other.evaluate(inputs)["class_index"] == second).all()
    scheduled = schedule(compiled.graph, compiled.pipeline).graph
    folder = make_folder(tmp_path, "simulation")
    result = simulate(
        compiled.plan, scheduled, inputs, {"class_index": first}, SIMULATOR_OF[target], folder, then=other
    )
    assert result.comparisons == 2 * SAMPLES

    assert run("reload", out, models[0], "-o", image)[0] == 0
    assert image.read_text() == (out / "rtl" / "tables.hex").read_text()


def with_image(graph: LutGraph, words: list[int]) -> LutGraph:
    """The network after an image was written, by what the manual says about addresses."""
    other, loads = graph.copy(), map_tables(graph)
    for group, nets in enumerate(loads.groups):
        for place, net in enumerate(nets):
            node = graph.node(net)
            assert isinstance(node.op, Lut)
            bits = [words[(group << loads.entry_bits) + entry] >> place & 1 for entry in range(1 << node.op.fan_in)]
            table = sum(bit << entry for entry, bit in enumerate(bits))
            other.replace(net, Lut(node.op.fan_in, table), node.operands)
    return other


def in_larger_steps(path: Path) -> BaseLUTModel:
    """The model for input words whose steps mean twice as much: on integers it answers the same."""
    model = load_model(path)
    assert isinstance(model, BaseLUTModel)
    model.config.input_format = {**asdict(model.input_format), "scale": 2 * model.input_format.scale}
    model.encoder.thresholds.mul_(2)
    return model


def test_models_that_differ_in_more_than_tables_are_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    out, image = tmp_path / "out", tmp_path / "other.hex"
    assert run("compile", models[0], "-t", "verilog", "-o", out, "--reloadable", "--simulator", "iverilog")[0] == 0
    save_model(make_model(features=4, layer_widths=[40, 12], seed=9), tmp_path / "wiring.pth")
    assert "is not the same; only tables can be reloaded" in refused(
        2, "reload", out, tmp_path / "wiring.pth", "-o", image
    )
    save_model(in_larger_steps(models[1]), tmp_path / "scale.pth")
    step = load_compiled(out).report["input"]["scale"]
    assert refused(2, "reload", out, tmp_path / "scale.pth", "-o", image) == (
        f"another network: a step of its input words is {2 * step:g}, that of the hardware {step:g}"
    )
    graph = load_compiled(out).graph
    moved = graph.copy()
    net = min(net for net in graph if graph.node(net).origin.layer == "encoder")
    op = graph.node(net).op
    assert isinstance(op, Lut)
    moved.replace(net, complement_table(op), graph.node(net).operands)
    check_same_but_tables(graph, complement_tables(graph))
    with pytest.raises(CompilerError, match=rf"another network: lut encoder\[\d+\] \(net {net}\) is not the same"):
        check_same_but_tables(graph, moved)
    assert not image.exists()


def test_hardware_without_a_load_port_is_refused(models: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("compile", models[0], "-t", "json", "-o", out)[0] == 0
    message = refused(2, "reload", out, models[1], "-o", tmp_path / "other.hex")
    assert message == f"the tables in {out} cannot be reloaded; compile with --reloadable"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-t", "c"], "reloadable tables need a clock"),
        (["-t", "verilog", "--pipeline", "none"], "reloadable tables need a clock"),
        (["-t", "verilog", "--reset"], "reloadable tables go with plain ports"),
        (["-t", "verilog", "--interface", "valid"], "reloadable tables go with plain ports"),
        (["-t", "verilog", "--lut-budget", "0.1", "--data", "digits"], "cannot be approximated"),
    ],
)
def test_what_does_not_go_with_reloading_is_refused(
    options: list[str], message: str, models: tuple[Path, Path], tmp_path: Path
) -> None:
    assert message in refused(2, "compile", models[0], "-o", tmp_path / "out", "--reloadable", *options)
