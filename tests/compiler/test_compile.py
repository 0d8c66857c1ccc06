"""Whole compiles by the command line: what is written, which exit code, which sentence."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from difflut import REGISTRY, save_model
from difflut_compiler import driver, tools, vectors
from difflut_compiler.cli import app
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.frontend import BankNets, LoadedModel
from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import graph_from_json
from difflut_compiler.interface import Interface
from difflut_compiler.ops import Lut
from difflut_compiler.passes import PASSES
from difflut_compiler.schedule import PIPELINES, Schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.targets.target import Target
from difflut_compiler.verify import check_files
from difflut_compiler.verify.certificate import rung_name
from difflut_compiler.verify.languages import LANGUAGES
from tests.compiler.designs import CIRCUIT_TARGETS, HDL_TARGETS
from tests.compiler.models import make_model
from tests.compiler.needs import need
from tests.compiler.test_output import snapshot

SIMULATORS_OF = {"verilog": ("iverilog", "verilator"), "systemverilog": ("iverilog", "verilator"), "vhdl": ("ghdl",)}
NOT_CHECKED = {"blif": {4}, "aiger": {4}, "c": {3}, "json": {4}}
"""The rungs that a form without a clock does not have."""

FORMAT = {"bits": 4, "signed": True, "scale": 0.5}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pth"
    save_model(make_model(features=4, layer_widths=[10, 9], input_format=FORMAT), path)
    return path


@pytest.fixture(autouse=True)
def few_random_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many samples are simulated does not matter here."""
    monkeypatch.setattr(vectors, "RANDOM_SAMPLES", 60)


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that makes tools look as if they were not installed."""
    which, package_folder = shutil.which, tools.package_folder

    def hide_tools(*names: str) -> None:
        def visible_command(name: str, *rest: Any, **settings: Any) -> str | None:
            return None if name in names else which(name, *rest, **settings)

        def visible_package(name: str) -> Path | None:
            return None if name in names else package_folder(name)

        monkeypatch.setattr(shutil, "which", visible_command)
        monkeypatch.setattr(tools, "package_folder", visible_package)
        tools.find_tool.cache_clear()

    yield hide_tools
    monkeypatch.undo()
    tools.find_tool.cache_clear()


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(code: int, *arguments: str | Path) -> str:
    """The sentence with which a command is refused."""
    exit_code, output, error = run(*arguments)
    assert (exit_code, output) == (code, ""), error
    assert error.startswith("error: ")
    assert error.count("\n") == 1, "an error is one line"
    assert "Traceback" not in error
    return error.removeprefix("error: ").strip()


def certificate_of(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "certificate.json").read_text())
    return data


def statuses(folder: Path) -> dict[int, str]:
    return {rung["id"]: rung["status"] for rung in certificate_of(folder)["rungs"]}


def reason(folder: Path, rung: int) -> str:
    return str(certificate_of(folder)["rungs"][rung - 1]["reason"])


# -- what is written ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lut_inputs", [4, 5])
def test_hardware_for_smaller_luts_is_proven(lut_inputs: int, model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--lut-inputs", str(lut_inputs), "--no-count-luts")
    code, _, error = run("compile", model_file, "-t", "verilog", "-o", out, *options)
    assert (code, error) == (0, "")
    assert statuses(out)[2] == statuses(out)[3] == "passed"
    text = (out / "rtl" / "network_class_counts.v").read_text()
    sizes = [int(size) for size in re.findall(r"localparam \[(\d+):0\]", text)]
    assert 0 < max(sizes) < 1 << lut_inputs


@pytest.mark.parametrize("lut_inputs", ["3", "7"])
def test_luts_of_other_sizes_are_refused(lut_inputs: str, model_file: Path, tmp_path: Path) -> None:
    sentence = refused(2, "compile", model_file, "-t", "verilog", "-o", tmp_path / "out", "--lut-inputs", lut_inputs)
    assert sentence == f"there are no LUTs of {lut_inputs} inputs; choose one of 4, 5, 6"


@pytest.mark.parametrize("pipeline", [*PIPELINES, "3"])
@pytest.mark.parametrize("target", HDL_TARGETS)
def test_a_fully_equipped_compile_passes_every_rung(
    target: str, pipeline: str, model_file: Path, tmp_path: Path
) -> None:
    need(SIMULATORS_OF[target][0])
    need("cocotb")
    out = tmp_path / "out"
    code, output, error = run(
        "compile",
        model_file,
        "-t",
        target,
        "-o",
        out,
        "--pipeline",
        pipeline,
        "--top",
        "classifier",
        "--count-luts" if pipeline == "layers" else "--no-count-luts",
    )
    assert (code, error) == (0, "")
    assert "Wrote" in output
    data = certificate_of(out)
    assert [rung["id"] for rung in data["rungs"]] == [1, 2, 3, 4, 5]
    for rung in data["rungs"]:
        assert set(rung) == {"id", "name", "status", "reason", "comparisons", "tool", "version", "seconds"}
        assert rung["name"] == rung_name(rung["id"])
        assert rung["status"] == "passed", rung
        assert rung["comparisons"] > 0
        assert rung["reason"]
        assert rung["tool"]
        assert rung["version"] not in ("", "unknown")
    assert data["target"] == target
    assert data["model_sha256"] == hashlib.sha256(model_file.read_bytes()).hexdigest()
    report = json.loads((out / "report.json").read_text())
    assert report["files_sha256"] == data["files_sha256"]
    assert report["latency_cycles"] == {"layers": 5, "3": 3, "none": 0}[pipeline]
    assert sorted(path.name for path in (out / "rtl").iterdir()) == sorted(report["files"])
    assert (out / "rtl" / f"classifier{TARGETS[target].suffix}").is_file()
    assert sorted(path.name for path in out.iterdir()) == [
        ".difflut-output",
        "certificate.json",
        "graph.json",
        "report.html",
        "report.json",
        "rtl",
        "summary.txt",
    ]
    graph_from_json((out / "graph.json").read_text())
    text = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
    assert str(tmp_path) not in text


@pytest.mark.parametrize("target", CIRCUIT_TARGETS)
def test_a_compile_without_hardware_checks_what_there_is_to_check(
    target: str, model_file: Path, tmp_path: Path
) -> None:
    need("gcc")
    out = tmp_path / "out"
    assert run("compile", model_file, "-t", target, "-o", out, "--top", "classifier")[0] == 0
    found = statuses(out)
    assert {rung for rung, status in found.items() if status != "passed"} == NOT_CHECKED[target]
    for rung in certificate_of(out)["rungs"]:
        assert rung["status"] == ("not checked" if rung["id"] in NOT_CHECKED[target] else "passed"), rung
        assert rung["reason"]
        if rung["status"] == "passed":
            assert rung["comparisons"] > 0
            assert rung["version"] not in ("", "unknown")
    product = LANGUAGES[TARGETS[target].language].product
    assert certificate_of(out)["rungs"][2]["name"] == f"{product} read back equals the optimised graph"
    report = json.loads((out / "report.json").read_text())
    assert (report["pipeline"], report["latency_cycles"], report["yosys_synthesis"]) == ("none", 0, None)
    written = out / TARGETS[target].folder
    assert sorted(path.name for path in written.iterdir()) == sorted(report["files"] + report["binary_files"])
    assert (written / f"classifier{TARGETS[target].suffix}").is_file()
    assert not (out / "rtl").exists()


COMPILE_FOR_EACH = """
import sys
from difflut_compiler.cli import compile_main

model, folder, *targets = sys.argv[1:]
for target in targets:
    sys.argv[1:] = [model, "-t", target, "-o", f"{folder}/{target}", "--no-count-luts"]
    try:
        compile_main()
    except SystemExit as end:
        assert end.code in (0, None), end.code
"""


@pytest.fixture(scope="module")
def compiled_elsewhere(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders with a compile for each target: of model files in two places, by two processes with two hash seeds."""
    folders = []
    for seed in ("1", "2"):
        folder = tmp_path_factory.mktemp("elsewhere")
        model = Path(shutil.copy(model_file, folder))
        # Without a PATH there are no simulators, whose answers do not matter here.
        environment = {"PATH": "", "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", COMPILE_FOR_EACH, str(model), str(folder), *TARGETS]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        folders.append(folder)
    return folders


@pytest.mark.parametrize("target", TARGETS)
def test_the_hardware_of_a_model_file_is_the_same_bytes_every_time(target: str, compiled_elsewhere: list[Path]) -> None:
    hardware = []
    for out in (folder / target for folder in compiled_elsewhere):
        files = {path.name: path.read_bytes() for path in (out / TARGETS[target].folder).iterdir()}
        hardware.append({**files, "graph": (out / "graph.json").read_bytes()})
    assert hardware[0] == hardware[1]
    assert len(hardware[0]) > 1


def test_json_is_all_that_standard_output_holds(model_file: Path, tmp_path: Path, hide: Callable[..., None]) -> None:
    hide("pyosys", "cocotb", "ghdl", "gcc", "g++")  # what they find does not matter here
    code, output, _ = run("compile", model_file, "-t", "verilog", "-o", tmp_path, "--json", "--no-count-luts")
    assert code == 0
    data = json.loads(output)
    assert data["certificate"] == certificate_of(tmp_path)
    assert data["yosys_synthesis"] is None


def write_data(folder: Path, samples: int) -> Path:
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(samples, 4)).astype(np.float32), random.integers(0, 3, samples)
    labels[:3] = (0, 1, 2)
    np.savez(folder / "data.npz", x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    return folder / "data.npz"


def test_accuracy_of_more_data_than_are_simulated(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("iverilog")
    need("cocotb")
    monkeypatch.setattr(check_files, "SIMULATION_BUDGET", 0)
    data, out = write_data(tmp_path, 100), tmp_path / "out"
    code, output, error = run("compile", model_file, "-t", "verilog", "-o", out, "--data", data, "--no-count-luts")
    assert code == 0, error
    accuracy = json.loads((out / "report.json").read_text())["accuracy"]
    assert accuracy["simulated"] is None
    assert accuracy["model"] == accuracy["graph"]
    assert "RTL not simulated on all of them" in " ".join(output.split())
    assert "64 of " in reason(out, 4)


def test_data_are_checked_and_accuracies_agree(model_file: Path, tmp_path: Path) -> None:
    need("iverilog")
    need("cocotb")
    data = write_data(tmp_path, 40)
    out = tmp_path / "out"
    code, _, error = run("compile", model_file, "-t", "verilog", "-o", out, "--data", data, "--no-count-luts")
    assert code == 0, error
    accuracy = json.loads((out / "report.json").read_text())["accuracy"]
    assert accuracy["samples"] == 40
    assert accuracy["model"] == accuracy["graph"] == accuracy["simulated"]
    assert ", 40 data samples" in reason(out, 1)


def test_an_earlier_result_is_replaced(model_file: Path, tmp_path: Path, hide: Callable[..., None]) -> None:
    hide("pyosys", "cocotb", "ghdl", "gcc", "g++")  # what they find does not matter here
    for target in ("verilog", "vhdl", "c", "json", "verilog"):
        assert run("compile", model_file, "-t", target, "-o", tmp_path, "--no-count-luts")[0] == 0
        folders = [path for path in tmp_path.iterdir() if path.is_dir()]
        assert [folder.name for folder in folders] == [TARGETS[target].folder]
        assert TARGETS[target].suffix in {path.suffix for path in folders[0].iterdir()}


def test_pass_options_show_every_pass(model_file: Path, tmp_path: Path, hide: Callable[..., None]) -> None:
    hide("pyosys", "cocotb", "ghdl", "gcc", "g++")  # what they find does not matter here
    code, _, error = run(
        "compile",
        model_file,
        "-t",
        "verilog",
        "-o",
        tmp_path,
        "--print-between-passes",
        "--time-passes",
        "--no-count-luts",
    )
    assert code == 0
    assert "-- after expand-argmax\ngraph network layers" in error
    assert "pass expand-argmax: " in error


# -- a check that fails ------------------------------------------------------------------------------------------------


def emit_another_network(scheduled: Schedule, target: Target, top: str, interface: Interface) -> BuildPlan:
    """Hardware in which one bit of one table is wrong, in a LUT that the answers depend on."""
    graph = scheduled.graph.copy()
    net = max(net for net in graph if isinstance(graph.node(net).op, Lut))
    op = graph.node(net).op
    assert isinstance(op, Lut)
    graph.replace(net, Lut(op.fan_in, op.table ^ (1 << (1 << op.fan_in)) - 1), graph.node(net).operands)
    return emit(Schedule(graph, scheduled.pipeline, scheduled.latency_cycles), target, top, interface)


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_wrong_hardware_is_not_written(
    target: str, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(SIMULATORS_OF[target][0])
    need("cocotb")
    monkeypatch.setattr(driver, "emit", emit_another_network)
    code, output, _ = run("compile", model_file, "-t", target, "-o", tmp_path, "--no-count-luts")
    assert code == 1
    assert "A check failed: no files were written." in output
    assert not (tmp_path / "rtl").exists()
    found = statuses(tmp_path)
    assert found[1] == found[2] == "passed"
    assert found[3] == "failed"
    assert "the RTL is not the graph" in reason(tmp_path, 3)
    assert found[4] == "failed"
    assert "answers are wrong" in reason(tmp_path, 4)


def test_hardware_of_an_earlier_compile_does_not_outlive_a_failure(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("compile", model_file, "-t", "verilog", "-o", tmp_path, "--no-count-luts")[0] == 0
    monkeypatch.setattr(driver, "emit", emit_another_network)
    assert run("compile", model_file, "-t", "verilog", "-o", tmp_path, "--no-count-luts")[0] == 1
    assert not (tmp_path / "rtl").exists()


def test_a_model_that_answers_otherwise_fails_the_first_rung(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lower_another(self: Any, name: str) -> tuple[LutGraph, list[int], BankNets]:
        graph, counts, bank_nets = lower(self, name)
        net = max(net for net in graph if isinstance(graph.node(net).op, Lut))
        op = graph.node(net).op
        assert isinstance(op, Lut)
        graph.replace(net, Lut(op.fan_in, op.table ^ (1 << (1 << op.fan_in)) - 1), graph.node(net).operands)
        return graph, counts, bank_nets

    lower = LoadedModel.lower
    monkeypatch.setattr(LoadedModel, "lower", lower_another)
    code, _, _ = run("compile", model_file, "-t", "verilog", "-o", tmp_path, "--no-count-luts")
    assert code == 1
    assert statuses(tmp_path)[1] == "failed"
    assert "of graph and model differ" in reason(tmp_path, 1)
    assert not (tmp_path / "rtl").exists()


@pytest.mark.parametrize("target", CIRCUIT_TARGETS)
def test_wrong_files_are_not_written(
    target: str, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("gcc")
    monkeypatch.setattr(driver, "emit", emit_another_network)
    assert run("compile", model_file, "-t", target, "-o", tmp_path, "--no-count-luts")[0] == 1
    assert not (tmp_path / TARGETS[target].folder).exists()
    expected = {3: "failed", 4: "failed"} | dict.fromkeys(NOT_CHECKED[target], "not checked")
    assert {rung: statuses(tmp_path)[rung] for rung in (3, 4)} == expected


# -- missing tools -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_without_a_simulator_the_certificate_says_so(
    target: str, model_file: Path, tmp_path: Path, hide: Callable[..., None]
) -> None:
    hide("iverilog", "verilator", "ghdl")
    code, output, _ = run("compile", model_file, "-t", target, "-o", tmp_path, "--no-count-luts")
    assert code == 0
    assert "not checked" in output
    found = statuses(tmp_path)
    assert (found[1], found[2], found[4]) == ("passed", "passed", "not checked")
    for tool in SIMULATORS_OF[target]:
        assert f"{tool} is not installed" in reason(tmp_path, 4)
        assert tools.INSTALL_HINTS[tool] in reason(tmp_path, 4)
    # Verilog is still proven; VHDL cannot be read without GHDL.
    expected = "not checked" if target == "vhdl" else "passed"
    assert found[3] == found[5] == expected
    assert (tmp_path / "rtl").is_dir()


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_without_yosys_the_certificate_says_so(
    target: str, model_file: Path, tmp_path: Path, hide: Callable[..., None]
) -> None:
    need(SIMULATORS_OF[target][0])
    need("cocotb")
    hide("pyosys")
    assert run("compile", model_file, "-t", target, "-o", tmp_path)[0] == 0
    assert statuses(tmp_path) == {1: "passed", 2: "not checked", 3: "not checked", 4: "passed", 5: "not checked"}
    for rung in (2, 3, 5):
        assert "is not installed" in reason(tmp_path, rung)
        assert "pip install pyosys" in reason(tmp_path, rung)
    assert json.loads((tmp_path / "report.json").read_text())["yosys_synthesis"] is None


def test_without_cocotb_the_flipped_bit_is_still_caught_by_the_proof(
    model_file: Path, tmp_path: Path, hide: Callable[..., None]
) -> None:
    hide("cocotb")
    assert run("compile", model_file, "-t", "verilog", "-o", tmp_path, "--no-count-luts")[0] == 0
    assert statuses(tmp_path) == {1: "passed", 2: "passed", 3: "passed", 4: "not checked", 5: "passed"}
    assert "cocotb is not installed" in reason(tmp_path, 4)
    assert reason(tmp_path, 5).endswith("caught by the proof")


@pytest.mark.parametrize(
    ("target", "simulator", "hidden"),
    [
        ("verilog", "iverilog", "iverilog"),
        ("verilog", "verilator", "verilator"),
        ("verilog", "iverilog", "cocotb"),
        ("vhdl", "ghdl", "ghdl"),
    ],
)
def test_a_simulator_that_was_asked_for_must_be_there(
    target: str, simulator: str, hidden: str, model_file: Path, tmp_path: Path, hide: Callable[..., None]
) -> None:
    need(simulator)
    need("cocotb")
    hide(hidden)
    out = tmp_path / "out"
    message = refused(3, "compile", model_file, "-t", target, "-o", out, "--simulator", simulator)
    assert message == f"{hidden} is not installed: {tools.INSTALL_HINTS[hidden]}"
    assert not out.exists()


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-t", "abel"], "there is no target 'abel'; choose one of verilog, systemverilog, vhdl, blif, aiger, c, json"),
        (
            ["-t", "verilog", "--pipeline", "deep"],
            "there is no pipeline 'deep'; choose layers, none, a number of stages",
        ),
        (["-t", "verilog", "--simulator", "ghdl"], "ghdl does not simulate verilog; choose iverilog or verilator"),
        (["-t", "vhdl", "--simulator", "iverilog"], "iverilog does not simulate vhdl; choose ghdl"),
        (["-t", "vhdl", "--simulator", "questa"], "questa does not simulate vhdl; choose ghdl"),
        (["-t", "c", "--simulator", "iverilog"], "iverilog does not simulate c; choose gcc or g++"),
        (["-t", "blif", "--simulator", "iverilog"], "iverilog does not simulate blif; a netlist is proven for every"),
        (["-t", "c", "--pipeline", "layers"], "the target c has no clock; it takes only the pipeline none"),
        (["-t", "verilog", "--top", "a b;x"], "the top name 'a b;x' is not a portable identifier"),
        (["-t", "verilog", "--top", "signal"], "the top name 'signal' is a reserved word of Verilog or VHDL"),
        (["-t", "verilog", "--top", "module"], "the top name 'module' is a reserved word of Verilog or VHDL"),
        (["-t", "verilog", "--data", "nothing.txt"], "the data 'nothing.txt' is neither digits nor the path of"),
        (["-t", "verilog", "--data", "nothing.npz"], "nothing.npz"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    arguments: list[str], message: str, model_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert message in refused(2, "compile", model_file, "-o", out, *arguments)
    assert not out.exists()


def test_data_with_the_wrong_number_of_features_are_refused(model_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    rows, labels = np.zeros((6, 5), dtype=np.float32), np.array([0, 1, 2, 0, 1, 2])
    np.savez(data, x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    message = refused(2, "compile", model_file, "-t", "verilog", "-o", tmp_path / "out", "--data", data)
    assert message == f"the data {data} has 5 features, the model takes 4"
    assert not (tmp_path / "out").exists()


def test_data_with_other_classes_are_refused(model_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    rows, labels = np.zeros((2, 4), dtype=np.float32), np.array([0, 1])
    np.savez(data, x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    message = refused(2, "compile", model_file, "-t", "verilog", "-o", tmp_path / "out", "--data", data)
    assert "has the classes ['0', '1'], the model has ['0', '1', '2']" in message


class Evil:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {Path.home() / 'difflut_was_here'}",)


def truncate(content: bytes, path: Path) -> None:
    path.write_bytes(content[: len(content) // 2])


def tamper(content: bytes, path: Path) -> None:
    """One bit in the middle of the weights."""
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        entry = max((info for info in archive.infolist() if "/data/" in info.filename), key=lambda info: info.file_size)
    place = content.index(entry.filename.encode()) + len(entry.filename) + 70
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


BAD_FILES: dict[str, Callable[[bytes, Path], object]] = {
    "empty": lambda content, path: path.write_bytes(b""),
    "text": lambda content, path: path.write_text("hello"),
    "truncated": truncate,
    "tampered": tamper,
    "somebody else's tensors": lambda content, path: torch.save({"weight": torch.zeros(3)}, path),
    "a bare tensor": lambda content, path: torch.save(torch.zeros(3), path),
    "pickled code": lambda content, path: path.write_bytes(pickle.dumps(Evil())),
    "pickled code in a torch archive": lambda content, path: torch.save({"model": Evil()}, path),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_model_file_is_refused_by_name(kind: str, model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    BAD_FILES[kind](model_file.read_bytes(), path)
    message = refused(2, "compile", path, "-t", "verilog", "-o", tmp_path / "out")
    assert str(path) in message
    assert not (tmp_path / "out").exists()
    assert not (Path.home() / "difflut_was_here").exists()


def test_a_missing_model_file_is_refused(tmp_path: Path) -> None:
    message = refused(2, "compile", tmp_path / "none.pth", "-t", "verilog", "-o", tmp_path / "out")
    assert str(tmp_path / "none.pth") in message
    assert snapshot(tmp_path) == {}


def test_a_folder_is_no_model_file(tmp_path: Path) -> None:
    assert str(tmp_path) in refused(2, "compile", tmp_path, "-t", "verilog", "-o", tmp_path / "out")


def test_a_folder_of_other_files_is_left_alone(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    message = refused(2, "compile", model_file, "-t", "verilog", "-o", tmp_path)
    assert "holds files that are no earlier result" in message
    assert snapshot(tmp_path) == {"thesis.tex": "important"}


def test_an_error_in_the_middle_leaves_an_earlier_result_alone(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("compile", model_file, "-t", "verilog", "-o", tmp_path, "--no-count-luts")[0] == 0
    before = snapshot(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr("difflut_compiler.verify.netlist.YOSYS_SCRIPT", "no_such_command")
    message = refused(2, "compile", model_file, "-t", "verilog", "-o", tmp_path, "--no-count-luts")
    assert "no_such_command" in message
    (tmp_path / "bin").rmdir()
    assert snapshot(tmp_path) == before


def test_debug_shows_where_an_error_comes_from(model_file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compile", str(model_file), "-t", "abel", "-o", str(tmp_path), "--debug"])
    assert result.exit_code == 2
    traceback, _, sentence = result.stderr.rpartition("\nerror: ")
    assert "Traceback" in traceback
    assert "in find_target" in traceback
    assert "there is no target 'abel'" in sentence


# -- names and lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stem", "top"), [("model", "network"), ("jets", "jets"), ("My Model", "network")])
def test_the_top_is_named_after_the_model_file(stem: str, top: str, model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.pth"
    shutil.copy(model_file, path)
    assert run("compile", path, "-t", "verilog", "--no-count-luts")[0] == 0
    assert (tmp_path / f"{top}_verilog" / "rtl" / f"{top}.v").is_file()


BLOCKS = {
    "nodes": REGISTRY.list_nodes,
    "layers": lambda: [*REGISTRY.list_layers(), *REGISTRY.list_convolutional_layers()],
    "encoders": REGISTRY.list_encoders,
    "models": REGISTRY.list_models,
    "initializers": REGISTRY.list_initializers,
    "regularizers": REGISTRY.list_regularizers,
}


@pytest.mark.parametrize("command", BLOCKS)
def test_every_building_block_is_listed_with_one_sentence(command: str) -> None:
    rows = json.loads(run(command, "--json")[1])
    assert list(rows) == BLOCKS[command]()
    for name, text in rows.items():
        assert re.fullmatch(r"[A-Z0-9][^`]*\.", text), f"{name}: {text}"
        assert len(text) <= 110, f"{name}: {text}"


@pytest.mark.parametrize("command", [*BLOCKS, "passes", "targets", "tools"])
def test_lists_say_what_there_is(command: str) -> None:
    code, output, _ = run(command, "--json")
    assert code == 0
    rows = json.loads(output)
    assert rows
    assert all(isinstance(text, str) and text for text in rows.values())
    code, plain, _ = run(command)
    assert code == 0
    assert all(name in plain for name in rows)


def test_lists_are_those_of_the_code() -> None:
    assert list(json.loads(run("passes", "--json")[1])) == list(PASSES)
    assert list(json.loads(run("targets", "--json")[1])) == list(TARGETS)
    assert list(json.loads(run("tools", "--json")[1])) == ["kernels", "gpu kernels", "inference", *tools.INSTALL_HINTS]


@pytest.mark.parametrize("entry", ["main", "compile_main", "train_main"])
def test_help_needs_no_torch(entry: str) -> None:
    script = (
        f"import sys; from difflut_compiler.cli import {entry}\n"
        f"sys.argv = ['difflut', '--help']\n"
        f"try: {entry}()\n"
        f"except SystemExit as end: code = end.code\n"
        f"print(code, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "0 False False"


def test_no_command_is_wrong_usage() -> None:
    assert run("compile")[0] == 2
    assert run("fly")[0] == 2
