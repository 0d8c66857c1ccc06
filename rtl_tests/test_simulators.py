"""Compiled networks in every simulator: they answer as the model, and each way not to check anything is a failure."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from difflut_compiler import tools
from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError, MismatchError, ToolMissingError
from difflut_compiler.graph import LutGraph
from difflut_compiler.lower import lower
from difflut_compiler.schedule import PIPELINES
from difflut_compiler.verify import simulate as simulation
from difflut_compiler.verify.languages import LANGUAGES, choose_simulator
from difflut_compiler.verify.simulate import SimulationResult, simulate
from tests.compiler.designs import HDL_TARGETS, Design, design_of, edit
from tests.compiler.models import make_model
from tests.compiler.needs import need
from tests.compiler.random_graphs import Inputs, all_inputs, random_inputs, small_graph

FAST = ("iverilog", "ghdl")
"""Simulators that build in a second; Verilator compiles C++ for ten."""
LANGUAGE_OF = {"iverilog": "verilog", "verilator": "verilog", "ghdl": "vhdl"}
Answers = dict[str, np.ndarray]


def need_simulator(simulator: str) -> None:
    need(simulator)
    need("cocotb")


def test_every_simulator_of_a_hardware_language_is_tried() -> None:
    assert set(FAST) | {"verilator"} == set(LANGUAGE_OF)
    assert {name for target in HDL_TARGETS for name in LANGUAGES[target].simulators} == set(LANGUAGE_OF)


# -- networks answer as their models -----------------------------------------------------------------------------------


def model_answers(model: torch.nn.Module, inputs: Inputs, scale: float) -> Answers:
    with torch.no_grad():
        scores = model.eval()(torch.from_numpy(inputs).to(torch.float32) * scale)
    return {"class_index": np.array([row.index(max(row)) for row in scores.tolist()])}


def compiled_model(size: str, signed: bool, target: str, pipeline: str) -> tuple[Design, Inputs, Answers]:
    """Hardware of a model with random weights, samples, and what the model answers to them."""
    sizes = {
        "narrow": {"features": 1, "layer_widths": [4], "num_classes": 2, "node_input_dim": 2},
        "wide": {"features": 12, "layer_widths": [150, 130], "num_classes": 10, "node_input_dim": 6},
    }
    input_format = {"bits": 5, "signed": signed, "scale": 0.25 if signed else 1.0}
    model = make_model(**sizes[size], input_format=input_format, seed=5)  # type: ignore[arg-type]
    graph = lower(model, "network")
    inputs = all_inputs(graph) if size == "narrow" else random_inputs(graph, 200)
    return (
        design_of(graph, target=target, pipeline=pipeline),
        inputs,
        model_answers(model, inputs, input_format["scale"]),
    )


def check_model(size: str, signed: bool, simulator: str, pipeline: str, folder: Path) -> SimulationResult:
    need_simulator(simulator)
    design, inputs, expected = compiled_model(size, signed, LANGUAGE_OF[simulator], pipeline)
    assert len(set(expected["class_index"].tolist())) > 1
    result = simulate(design.plan, design.graph, inputs, expected, simulator, folder)
    assert result.comparisons == result.samples == len(inputs)
    assert result.outputs["class_index"].tolist() == expected["class_index"].tolist()
    return result


@pytest.mark.parametrize("simulator", FAST)
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", ["narrow", "wide"])
def test_the_simulated_network_answers_as_the_model(
    size: str, signed: bool, pipeline: str, simulator: str, tmp_path: Path
) -> None:
    check_model(size, signed, simulator, pipeline, tmp_path)


@pytest.mark.parametrize("simulator", ["iverilog", "verilator"])
def test_a_network_in_systemverilog(simulator: str, tmp_path: Path) -> None:
    need_simulator(simulator)
    design, inputs, expected = compiled_model("wide", True, "systemverilog", "layers")
    assert simulate(design.plan, design.graph, inputs, expected, simulator, tmp_path).comparisons == len(inputs)


def test_a_network_in_verilator(tmp_path: Path) -> None:
    check_model("wide", True, "verilator", "layers", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", ["narrow", "wide"])
def test_networks_in_verilator(size: str, signed: bool, pipeline: str, tmp_path: Path) -> None:
    check_model(size, signed, "verilator", pipeline, tmp_path)


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize("simulator", FAST)
def test_a_network_that_always_gives_the_same_answer(simulator: str, tmp_path: Path) -> None:
    need_simulator(simulator)
    graph = lower(make_model(num_classes=1, layer_widths=[4]), "network")
    design = design_of(graph, target=LANGUAGE_OF[simulator], pipeline="layers")
    inputs = random_inputs(graph, 10)
    expected = {"class_index": np.zeros(10, dtype=np.int64)}
    assert simulate(design.plan, design.graph, inputs, expected, simulator, tmp_path).comparisons == 10


# -- the traps ---------------------------------------------------------------------------------------------------------


def case(simulator: str, pipeline: str = "layers") -> tuple[Design, Inputs, Answers]:
    """A small design with all its inputs and right answers."""
    need_simulator(simulator)
    design = design_of(small_graph(True), target=LANGUAGE_OF[simulator], pipeline=pipeline)
    inputs = all_inputs(design.original)
    return design, inputs, {"class_index": np.array(design.expected(inputs))}


@pytest.mark.parametrize("simulator", FAST)
def test_one_wrong_expectation_is_a_mismatch(simulator: str, tmp_path: Path) -> None:
    design, inputs, expected = case(simulator)
    right = int(expected["class_index"][41])
    expected["class_index"][41] = (right + 1) % 3
    with pytest.raises(MismatchError, match=rf"1 of 64 answers are wrong, first sample 41: class_index is {right}"):
        simulate(design.plan, design.graph, inputs, expected, simulator, tmp_path)


@pytest.mark.parametrize("simulator", FAST)
@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_latency_that_is_wrong_by_one_cycle_is_a_mismatch(wrong: int, simulator: str, tmp_path: Path) -> None:
    design, inputs, expected = case(simulator)
    plan = dataclasses.replace(design.plan, latency_cycles=design.plan.latency_cycles + wrong)
    with pytest.raises(MismatchError, match="answers are wrong"):
        simulate(plan, design.graph, inputs, expected, simulator, tmp_path)


DEAD = {
    "iverilog": (r"assign class_index = .*;", "assign class_index = 2'd0;"),
    "ghdl": (r"class_index <= .*;", 'class_index <= "00";'),
}
UNDEFINED = {
    "iverilog": (r"assign class_index = .*;", "assign class_index = 2'bx;"),
    "ghdl": (r"class_index <= .*;", 'class_index <= "XX";'),
}
FLIPPED = {
    "iverilog": (r"LUT_0 = 8'he8", "LUT_0 = 8'h17"),
    "ghdl": (r'layer_0_d\(0\) <= lut\(X"e8"', 'layer_0_d(0) <= lut(X"17"'),
}


@pytest.mark.parametrize("simulator", FAST)
@pytest.mark.parametrize("change", [DEAD, UNDEFINED, FLIPPED], ids=["dead", "undefined", "wrong table"])
def test_wrong_hardware_is_a_mismatch(change: dict[str, tuple[str, str]], simulator: str, tmp_path: Path) -> None:
    design, inputs, expected = case(simulator)
    mutant = edit(design.plan, *change[simulator])
    with pytest.raises(MismatchError, match="answers are wrong"):
        simulate(mutant, design.graph, inputs, expected, simulator, tmp_path)


@pytest.mark.parametrize("simulator", FAST)
def test_hardware_that_does_not_build_is_an_error(simulator: str, tmp_path: Path) -> None:
    design, inputs, expected = case(simulator)
    files = {**design.plan.files, next(iter(design.plan.files)): "this is no hardware\n"}
    with pytest.raises(CompilerError, match="its log says"):
        simulate(dataclasses.replace(design.plan, files=files), design.graph, inputs, expected, simulator, tmp_path)


@pytest.mark.parametrize("simulator", FAST)
def test_a_port_that_is_not_there_is_an_error(simulator: str, tmp_path: Path) -> None:
    design, inputs, expected = case(simulator)
    with pytest.raises(CompilerError, match="the bench stopped before its end"):
        simulate(design.plan, design.graph, inputs, {"score": expected["class_index"]}, simulator, tmp_path)


def test_a_bench_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design, inputs, expected = case("iverilog")
    monkeypatch.setitem(simulation.BENCHES, "plain", "no_such_bench")
    with pytest.raises(CompilerError, match="simulation"):
        simulate(design.plan, design.graph, inputs, expected, "iverilog", tmp_path)


@pytest.mark.parametrize("filter_name", ["COCOTB_TESTCASE", "COCOTB_TEST_FILTER"])
def test_a_test_filter_of_the_user_does_not_reach_the_bench(
    filter_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design, inputs, expected = case("iverilog")
    monkeypatch.setenv(filter_name, "nothing_matches_this")
    assert simulate(design.plan, design.graph, inputs, expected, "iverilog", tmp_path).comparisons == 64


def test_a_bench_without_a_test_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design, inputs, expected = case("iverilog")
    benches = tmp_path / "benches"
    benches.mkdir()
    (benches / "network_bench.py").write_text('"""Nothing to run."""\n')
    monkeypatch.setattr(simulation, "data", lambda folder: benches)
    with pytest.raises(CompilerError, match="simulation"):
        simulate(design.plan, design.graph, inputs, expected, "iverilog", tmp_path)


IDLE_BENCHES = {
    "that compares nothing": "pass",
    "that says it compared something": (
        "from pathlib import Path\n"
        '    Path("outcome.json").write_text(\'{"comparisons": 3, "mismatch_count": 0, "outputs": {}}\')'
    ),
    "that fails": "raise AssertionError('no')",
}


@pytest.mark.parametrize("what", IDLE_BENCHES)
def test_a_bench_without_all_comparisons_is_an_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design, inputs, expected = case("iverilog")
    benches = tmp_path / "benches"
    benches.mkdir()
    (benches / "network_bench.py").write_text(
        f"import cocotb\n\n\n@cocotb.test()\nasync def network_matches_model(dut):\n    {IDLE_BENCHES[what]}\n"
    )
    monkeypatch.setattr(simulation, "data", lambda folder: benches)
    with pytest.raises(CompilerError, match=r"bench stopped before its end|made 3 of 64 comparisons|simulation: no"):
        simulate(design.plan, design.graph, inputs, expected, "iverilog", tmp_path)


def test_results_of_an_earlier_run_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation is not run the second time, and the files of the first do not pass for its own."""
    design, inputs, expected = case("iverilog")
    simulate(design.plan, design.graph, inputs, expected, "iverilog", tmp_path)
    assert (tmp_path / "results.xml").is_file()
    monkeypatch.setattr(simulation, "run_tool", lambda *arguments, **settings: None)
    with pytest.raises(CompilerError, match="the simulation left no result file"):
        simulate(design.plan, design.graph, inputs, expected, "iverilog", tmp_path)


def test_nothing_expected_is_an_error(tmp_path: Path) -> None:
    design, inputs, _ = case("iverilog")
    with pytest.raises(CompilerError, match="simulation"):
        simulate(design.plan, design.graph, inputs[:0], {"class_index": np.zeros(0, int)}, "iverilog", tmp_path)


def test_fewer_samples_than_answers_is_an_error(tmp_path: Path) -> None:
    design, inputs, expected = case("iverilog")
    with pytest.raises(CompilerError, match="simulation"):
        simulate(design.plan, design.graph, inputs[:-1], expected, "iverilog", tmp_path)


# -- missing simulators ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("simulator", LANGUAGE_OF)
def test_a_missing_simulator_is_an_error_with_a_hint(simulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find_tool", lambda name: None)
    with pytest.raises(ToolMissingError, match=f"{simulator} is not installed: .*install"):
        choose_simulator(LANGUAGE_OF[simulator], simulator)


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed"), ("", "1 skipped")])
def test_a_missing_simulator_is_skipped_here_and_a_failure_in_ci(ci: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from tests.compiler.needs import need\n"
        "def test_it(monkeypatch):\n"
        "    monkeypatch.setattr('tests.compiler.needs.find_tool', lambda name: None)\n"
        "    need('ghdl')\n"
    )
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"CI": ci, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(tmp_path / "test_it.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert outcome in done.stdout
    assert "ghdl is not installed: install the system package ghdl" in done.stdout


# -- the job -----------------------------------------------------------------------------------------------------------


def spy_on_job(plan: BuildPlan, graph: LutGraph, inputs: Inputs, folder: Path) -> dict[str, object]:
    expected = {"class_index": np.zeros(len(inputs), dtype=np.int64)}
    simulation._write_job(plan, simulation._stimulus(plan, graph, inputs, expected), "iverilog", folder)
    stimulus: dict[str, object] = json.loads((folder / "stimulus.json").read_text())
    return stimulus


def test_features_are_packed_in_twos_complement(tmp_path: Path) -> None:
    design = design_of(small_graph(True), target="verilog", pipeline="layers")
    stimulus = spy_on_job(design.plan, design.graph, np.array([[-1, 0], [0, -4], [3, 1]]), tmp_path)
    assert stimulus["features"] == ["7", "20", "b"]
    assert stimulus["latency_cycles"] == design.plan.latency_cycles


def test_the_simulated_files_are_the_emitted_ones(tmp_path: Path) -> None:
    design = design_of(small_graph(True), target="verilog", pipeline="none")
    spy_on_job(design.plan, design.graph, np.array([[0, 0]]), tmp_path)
    assert {name: (tmp_path / name).read_text() for name in design.plan.files} == design.plan.files
