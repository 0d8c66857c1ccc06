"""Every command as a person meets it: help with an example, JSON, errors of one line, progress, interruption."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import typer
import yaml
from rich.console import Console
from typer.core import TyperGroup
from typer.testing import CliRunner

from difflut import load_model, save_model
from difflut.errors import PluginError
from difflut.models import read_model_info
from difflut.plugins import PLUGINS
from difflut.training import EpochReport, StepReport
from difflut_compiler import cli, progress
from difflut_compiler.cli import app
from difflut_compiler.errors import CompilerError
from difflut_compiler.lower import lower
from difflut_compiler.progress import (
    COMPILE_SHARES,
    VERIFY_SHARES,
    StepEstimate,
    duration,
    steps_shown,
    training_shown,
    trials_shown,
)
from tests.compiler.models import make_convnet, make_model
from tests.compiler.needs import need
from tests.compiler.test_output import snapshot

COMMANDS = cast(TyperGroup, typer.main.get_command(app)).commands
LISTS = ("encoders", "initializers", "layers", "models", "nodes", "passes", "regularizers", "targets", "tools")
ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty samples of four features in three classes."""
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    labels = np.arange(40) % 3
    rows = np.random.default_rng(0).normal(size=(40, 4)) + labels[:, None]
    np.savez(path, x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    return path


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "toy.yaml"
    model = {
        "model_type": "feedforward",
        "layer_type": "random",
        "node_type": "dwn",
        "encoder_config": {"name": "thermometer", "num_bits": 2},
        "node_input_dim": 3,
        "layer_widths": [9],
    }
    training = {"epochs": 2, "batch_size": 16, "threads": 1}
    path.write_text(yaml.safe_dump({"data": {"source": "npz"}, "model": model, "training": training}))
    return path


@pytest.fixture(scope="module")
def trained(config_file: Path, data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model.pth of a short training by the command line."""
    out = tmp_path_factory.mktemp("trained")
    assert run("train", config_file, "-o", out, "--data", data_file)[0] == 0
    return out / "model.pth"


@pytest.fixture(scope="module")
def compiled(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compiled")
    assert run("compile", trained, "-t", "verilog", "-o", out, "--no-count-luts")[0] == 0
    return out


# -- help --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_that_is_right(name: str) -> None:
    code, output, _ = run(name, "--help")
    assert code == 0
    assert "\x1b" not in output
    text = " ".join(output.split())
    epilog = COMMANDS[name].epilog or ""
    assert text.endswith(epilog)
    program, command, *words = shlex.split(epilog.removeprefix("Example: "))
    assert (program, command) == ("difflut", name)
    COMMANDS[name].make_context(name, words)  # raises what a user would be told


@pytest.mark.parametrize("entry", ["compile", "train"])
def test_commands_under_names_of_their_own_have_the_same_help(entry: str) -> None:
    script = f"import sys; from difflut_compiler.cli import {entry}_main as main; sys.argv[1:] = ['--help']; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment())
    assert " ".join(done.stdout.split()).endswith(COMMANDS[entry].epilog or "")


def test_every_command_is_on_the_page_about_them() -> None:
    text = (ROOT / "docs/USER_GUIDE/command_line.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"| `{name}` |" not in text] == []


# -- JSON --------------------------------------------------------------------------------------------------------------

JSON_CASES: dict[str, Callable[[dict[str, Path]], list[str | Path]]] = {
    "train": lambda have: [have["config"], "-o", have["out"], "--data", have["data"]],
    "publish": lambda have: [have["model"], "--name", "toy", "--data", have["data"], "-o", have["out"]],
    "info": lambda have: [have["model"]],
    "compile": lambda have: [have["model"], "-t", "verilog", "-o", have["out"], "--no-count-luts"],
    "verify": lambda have: [have["compiled"]],
    "report": lambda have: [have["compiled"]],
    "reload": lambda have: [have["reloadable"], have["model"], "-o", have["out"]],
    "infer": lambda have: [have["model"], "--data", have["data"]],
    "synth": lambda have: [have["compiled"], "--family", "xilinx"],
    "import": lambda have: [have["netlist"], "-o", have["out"].with_suffix(".json")],
    "sweep": lambda have: [have["sweep"], "-o", have["out"], "--data", have["data"]],
    "plot": lambda have: ["curves", have["model"].parent, "-o", have["out"].with_suffix(".svg")],
    **{name: lambda have: [] for name in LISTS},
}


@pytest.fixture(scope="module")
def reloadable(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reloadable")
    assert run("compile", trained, "-t", "verilog", "-o", out, "--reloadable", "--no-count-luts")[0] == 0
    return out


@pytest.fixture
def make_case(
    config_file: Path, data_file: Path, trained: Path, compiled: Path, reloadable: Path, tmp_path: Path
) -> Callable[[str], list[str | Path]]:
    """A function that returns arguments with which a command succeeds."""
    netlist = tmp_path / "and.blif"
    netlist.write_text(".model top\n.inputs a b\n.outputs y\n.names a b y\n11 1\n.end\n")
    sweep = {"base": str(config_file), "space": {"training.seed": [1, 2]}, "sampler": "grid"}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    have = {"config": config_file, "data": data_file, "model": trained, "compiled": compiled, "netlist": netlist}
    have |= {"out": tmp_path / "out", "sweep": tmp_path / "sweep.yaml", "reloadable": reloadable}
    return lambda name: JSON_CASES[name](have)


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_all_that_standard_output_holds(name: str, make_case: Callable[[str], list[str | Path]]) -> None:
    code, output, error = run(name, *make_case(name), "--json")
    assert code == 0, error
    assert error == ""
    assert json.loads(output)


@pytest.mark.parametrize("name", LISTS)
def test_a_plain_list_has_the_names_of_the_json_one_and_no_colours(name: str) -> None:
    rows = json.loads(run(name, "--json")[1])
    output = run(name)[1]
    assert "\x1b" not in output
    assert [row for row in rows if row not in output] == []


# -- errors ------------------------------------------------------------------------------------------------------------

ERROR_CASES: dict[str, list[str]] = {
    "train": ["absent.yaml", "-o", "out"],
    "publish": ["absent.pth", "--name", "mine", "--data", "digits"],
    "info": ["absent.pth"],
    "compile": ["absent.pth", "-t", "verilog"],
    "verify": ["absent"],
    "report": ["absent"],
    "reload": ["absent", "other.pth", "-o", "tables.hex"],
    "infer": ["absent.pth", "--data", "digits"],
    "synth": ["absent", "--family", "ecp5"],
    "import": ["absent.blif"],
    "sweep": ["absent.yaml", "-o", "out"],
    "plot": ["curves", "absent", "-o", "curves.svg"],
}


@pytest.mark.parametrize("name", ERROR_CASES)
def test_an_error_is_one_line_that_names_the_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for extra in ([], ["--json"]):
        code, output, error = run(name, *ERROR_CASES[name], *extra)
        assert (code, output) == (2, "")
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert "absent" in error
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", LISTS)
def test_a_list_with_a_broken_plugin_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lists that load plugins report one that cannot be loaded as an error, not as a fault of ours."""

    def fail(_: object) -> None:
        raise PluginError("the plugin toy cannot be loaded")

    monkeypatch.setattr(type(PLUGINS), "load", fail)
    code, output, error = run(name)
    if name in {"passes", "targets", "tools"}:
        assert (code, error) == (0, "")
    else:
        assert (code, output, error) == (2, "", "error: the plugin toy cannot be loaded\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_wrong_usage(name: str) -> None:
    code, output, error = run(name, "--colour-of-the-sky")
    assert (code, output) == (2, "")
    assert "--colour-of-the-sky" in error


def test_every_command_has_its_error_case() -> None:
    assert {*ERROR_CASES, *LISTS} == set(COMMANDS)


# -- info --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_model, make_convnet])
def test_info_counts_what_the_compiler_builds(make: Callable[[], Any], tmp_path: Path) -> None:
    """LUTs per layer are those of the lowered graph, whose layers are counted by another program."""
    model, path = make(), tmp_path / "model.pth"
    save_model(model, path)
    info = read_model_info(path)
    graph = lower(model, "net")
    nodes = [graph.node(net) for net in graph]
    for layer in info.layers:
        luts = [node for node in nodes if node.origin.layer.startswith(layer.name) and node.op.kind == "lut"]
        assert layer.luts == len(luts)
        assert layer.lut_inputs == tuple(sorted({len(node.operands) for node in luts}))
    assert info.luts == sum(node.op.kind == "lut" for node in nodes)
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.size_bytes == path.stat().st_size


def test_info_says_what_the_model_is(tmp_path: Path) -> None:
    path = tmp_path / "jets.pth"
    model = make_model(
        features=5,
        layer_widths=[14, 12],
        input_format={"bits": 6, "signed": True, "scale": 0.25},
        class_names=["quark", "[red]gluon[/red]", "W"],
        runtime={"output_tau": 2.0},
    )
    save_model(model, path)
    found = json.loads(run("info", path, "--json")[1])
    assert found["encoder"] == {"name": "thermometer", "num_bits": 3}
    assert found["input_format"] == {"bits": 6, "signed": True, "scale": 0.25}
    assert (found["input_size"], found["encoded_bits"], found["luts"]) == (5, 15, 26)
    assert found["class_names"] == ["quark", "[red]gluon[/red]", "W"]
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (found["runtime"], found["metadata"]) == ({"output_tau": 2.0}, {})
    text = " ".join(run("info", path)[1].split())
    for words in (
        f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}",
        "5 features, signed words of 6 bits, the lowest bit worth 0.25",
        "thermometer num_bits 3: 15 bits",
        "14 LUTs of 4 inputs: RandomLayer of DWNNode",
        "3: quark, [red]gluon[/red], W",
        "accuracy not in the file",
    ):
        assert words in text


def test_info_on_a_pretrained_model_states_its_accuracy() -> None:
    assert "97.49% of 359 test samples" in run("info", "digits")[1]
    assert json.loads(run("info", "digits", "--json")[1])["metadata"]["test_samples"] == 359


def test_info_does_not_stumble_over_strange_metadata(tmp_path: Path) -> None:
    model = make_model()
    model.config.metadata = {"test_accuracy": "excellent", "test_samples": "many"}
    save_model(model, tmp_path / "model.pth")
    code, output, _ = run("info", tmp_path / "model.pth")
    assert code == 0
    assert "not in the file" in output


# -- progress ----------------------------------------------------------------------------------------------------------


def test_time_left_follows_from_the_steps_that_are_done() -> None:
    estimate = StepEstimate({"load": 0, "a": 1, "b": 2, "c": 1}, now=0.0)
    assert estimate.seconds_left(0) is None
    estimate.begin("load", 0)
    estimate.begin("a", 50)  # what loading took says nothing
    assert estimate.seconds_left(51) is None
    estimate.begin("b", 60)  # a quarter took 10 s
    assert estimate.seconds_left(60) == pytest.approx(30)
    assert estimate.seconds_left(75) == pytest.approx(15)
    assert estimate.seconds_left(500) == pytest.approx(10)  # b is late; c is still to come
    estimate.begin("c", 560)  # three quarters took 510 s
    assert estimate.seconds_left(560) == pytest.approx(170)
    estimate.begin("something new", 600)
    assert estimate.seconds_left(600) is None


def test_what_is_known_beforehand_counts_until_a_step_is_done() -> None:
    estimate = StepEstimate({"a": 1, "b": 3}, now=0.0, expected_seconds=40)
    estimate.begin("a", 0)
    assert estimate.seconds_left(4) == pytest.approx(36)
    assert estimate.seconds_left(50) == pytest.approx(30)  # a is late; b is still to come
    estimate.begin("b", 50)
    assert estimate.seconds_left(60) == pytest.approx(140)


def test_expectations_follow_from_files_and_reports(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"1" * 500)
    assert progress.reading_seconds([tmp_path / "data.csv", tmp_path / "absent"], 250) == 2
    report = {"seconds": {"emit": 1.5, "check files": 2, "passes": "strange"}}
    assert progress.seconds_of_compile(report) == 3.5
    assert progress.seconds_of_compile(report, ["check files", "count LUTs"]) == 2
    assert progress.seconds_of_compile({"seconds": "strange"}) == 0


def test_the_steps_of_a_compile_are_those_whose_shares_are_known(compiled: Path) -> None:
    assert list(json.loads((compiled / "report.json").read_text())["seconds"]) == list(COMPILE_SHARES)
    assert sum(COMPILE_SHARES.values()) == 100


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 119, 121, 7100, 9000)] == [
        "0 s",
        "119 s",
        "2 min",
        "118 min",
        "2.5 h",
    ]


class Clock:
    """Stands in for `time.monotonic`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress, "QUIET_SECONDS", 2.0)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_piped_steps_become_lines_once_they_take_long(clock: Clock) -> None:
    output = StringIO()
    with steps_shown({"a": 1, "b": 1, "c": 2}, Console(file=output)) as on_step:
        for step, seconds in {"a": 1, "b": 3, "c": 4}.items():
            on_step(step)
            clock.now += seconds
    assert output.getvalue() == "c: 4 s so far, about 4 s left\n"


def test_quiet_steps_say_nothing(clock: Clock) -> None:
    output = StringIO()
    with steps_shown({"a": 1}, Console(file=output), quiet=True) as on_step:
        on_step("a")
        clock.now += 60
        on_step("a")
    assert output.getvalue() == ""


def test_a_terminal_shows_step_and_time_left_and_cleans_up(clock: Clock) -> None:
    output = StringIO()
    with steps_shown({"a": 1, "b": 1}, Console(file=output, force_terminal=True, width=80)) as on_step:
        on_step("a")
        clock.now += 7
        on_step("b")
    text = output.getvalue()
    assert "7 s so far, about 7 s left" in text
    assert "\x1b[2K" in text  # the line is erased in the end


def pretend(steps: Iterable[str]) -> Callable[..., None]:
    """Stands in for long work: it announces its steps and then ends the command."""

    def work(*arguments: object, on_step: Callable[[str], None], **settings: object) -> None:
        for step in steps:
            on_step(step)
        raise CompilerError("all steps were shown")

    return work


PRETENDED = {
    "compile": ("difflut_compiler.driver.compile_model", COMPILE_SHARES),
    "verify": ("difflut_compiler.recheck.recheck", VERIFY_SHARES),
    "synth": ("difflut_compiler.synth.synthesise_network", ("synthesise",)),
}


def replace_in_commands(monkeypatch: pytest.MonkeyPatch, attribute: str, value: object) -> None:
    """In each module of the command line that has imported or defined it."""
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{cli.__name__}.")]
    having = [module for module in modules if hasattr(module, attribute)]
    assert having, attribute
    for module in having:
        monkeypatch.setattr(module, attribute, value)


@pytest.mark.parametrize("name", [name for name in JSON_CASES if name not in {*LISTS, "info"}])
def test_a_long_command_shows_the_time_left(
    name: str, make_case: Callable[[str], list[str | Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at the clock is three seconds after the one before, so every command is long."""
    if name in PRETENDED:
        work, steps = PRETENDED[name]
        monkeypatch.setattr(work, pretend(steps))
    shown = StringIO()
    terminal = Console(file=shown, force_terminal=True, width=120)
    ticks = count(step=3)
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    for attribute, value in {
        "error_console": lambda: terminal,
        "output_console": lambda: terminal,
        "GRAPH_BYTES_PER_SECOND": 10.0,
        "IMPORT_BYTES_PER_SECOND": 0.1,
        "DRAWING_SECONDS": 1000.0,
        "SYNTHESIS_TO_COMPILE": 1000.0,
    }.items():
        replace_in_commands(monkeypatch, attribute, value)
    code, _, _ = run(name, *make_case(name))
    assert code == (2 if name in PRETENDED else 0), shown.getvalue()
    assert re.search(r"about \d+ \w+ left|\d:\d\d:\d\d", shown.getvalue()), shown.getvalue()


def test_training_lines_have_the_time_left(clock: Clock) -> None:
    output = StringIO()
    with training_shown(Console(file=output, width=200), quiet=False) as (on_step, on_epoch):
        for epoch in (1, 2):
            for step in (1, 2):
                clock.now += 6
                on_step(StepReport(epoch, 2, step, 2, 0.5))
            on_epoch(EpochReport(epoch, 2, 0.5, 0.25, 0.5, 0.75, 0.1, epoch == 2, 12.0))
    assert output.getvalue().splitlines() == [
        "epoch   1/2: step 2/2; about 12 s left",
        "epoch   1/2: loss 0.5000, train 25.00%, eval mode train 50.00%, validation 75.00%; about 12 s left",
        "epoch   2/2: step 2/2",
        "epoch   2/2: loss 0.5000, train 25.00%, eval mode train 50.00%, validation 75.00% (best)",
    ]


def test_a_resumed_training_does_not_count_what_was_done_before(clock: Clock) -> None:
    output = StringIO()
    with training_shown(Console(file=output, width=200), quiet=False) as (on_step, _):
        clock.now += 10
        on_step(StepReport(9, 10, 1, 1, 0.5))
    assert output.getvalue() == "epoch   9/10: step 1/1; about 10 s left\n"


def test_trials_have_the_time_left_also_within_a_long_one(clock: Clock) -> None:
    """Two trials were there before; of the third, half is done after 12 s, so it and the fourth take 36 s more."""
    output = StringIO()
    with trials_shown(Console(file=output, width=200), quiet=False) as (on_trial, on_part):
        clock.now += 12
        on_part(2, 4, 0.5)
        clock.now += 12
        on_trial(3, 4, "trial 2: fine")
    assert output.getvalue().splitlines() == [
        "2 of 4 trials done, 50% of another; about 36 s left",
        "trial 2: fine; about 24 s left",
    ]


# -- interruption ------------------------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1", **more}


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """A command that shows every step as a line, and whose processes can be told by their environment."""
    script = "from difflut_compiler import cli, progress; progress.QUIET_SECONDS = 0; cli.main()"
    # What a shell starts in the background ignores Ctrl-C, and so do its children; the tests may run there.
    script = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {script}"
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(DIFFLUT_TEST_MARK=MARK),
    )


def is_marked(process: Path) -> bool:
    """Whether a process, a folder of /proc, was started by `start`, directly or not, and is alive."""
    try:
        return f"DIFFLUT_TEST_MARK={MARK}".encode() in (process / "environ").read_bytes()
    except OSError:  # it has gone, or is somebody else's
        return False


def interrupt_at(process: subprocess.Popen[str], stream: str, words: str, number: signal.Signals) -> str:
    """Send a signal when a line with these words appears; return what standard error held afterwards."""
    for line in getattr(process, stream):
        if words in line:
            break
    else:
        pytest.fail(f"{words!r} never appeared: {process.communicate()}")
    process.send_signal(number)
    error = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == 130, error
    assert [one.name for one in Path("/proc").glob("[0-9]*") if is_marked(one)] == []
    return error


MARK = uuid.uuid4().hex
PATIENCE_SECONDS = 300
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_interrupted_training_leaves_a_usable_model_and_goes_on(
    number: signal.Signals, config_file: Path, data_file: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load(config_file.read_text())
    settings["training"]["epochs"] = 150
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(settings))
    command: list[str | Path] = ["train", tmp_path / "long.yaml", "-o", tmp_path / "out", "--data", data_file]
    error = interrupt_at(start(*command), "stdout", "epoch   3/150", number)
    assert error.splitlines()[-1] == "error: interrupted; what was finished before is still there"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["last.ckpt", "model.pth"]
    load_model(tmp_path / "out/model.pth").predict(torch.zeros(1, 4))
    code, output, _ = run(*command, "--resume")
    assert code == 0
    assert "epoch   3/150" not in output
    assert "epoch 150/150" in output


def test_an_interrupted_sweep_keeps_what_was_finished_and_goes_on(
    config_file: Path, data_file: Path, tmp_path: Path
) -> None:
    sweep = {"base": str(config_file), "space": {"training.seed": [1, 2, 3, 4]}, "sampler": "grid"}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    command: list[str | Path] = ["sweep", tmp_path / "sweep.yaml", "-o", tmp_path / "out", "--data", data_file]
    error = interrupt_at(start(*command), "stdout", "trial 1:", signal.SIGTERM)
    assert error.splitlines()[-1] == "error: interrupted; what was finished before is still there"
    for model in (tmp_path / "out").glob("trial-000[01]-*/model.pth"):
        load_model(model)
    code, output, _ = run(*command)
    assert code == 0
    assert "trial 0:" not in output
    assert "trial 3:" in output
    assert "4 of 4 trials complete, 0 failed" in output


INTERRUPTIONS: dict[str, tuple[Callable[[dict[str, Path]], list[str | Path]], str, signal.Signals]] = {
    "compile": (
        lambda have: [have["model"], "-t", "vhdl", "-o", have["out"], "--no-count-luts"],
        "check files",
        signal.SIGINT,
    ),
    "verify": (lambda have: [have["out"]], "check files", signal.SIGTERM),
    "synth": (lambda have: [have["out"], "--family", "xilinx"], "synthesise", signal.SIGTERM),
    "publish": (
        lambda have: [have["model"], "--name", "toy", "--data", have["data"], "-o", have["out"]],
        "load",
        signal.SIGINT,
    ),
    "infer": (
        lambda have: [have["model"], "--data", have["rows"], "-o", have["out"] / "predictions.csv"],
        "read data",
        signal.SIGTERM,
    ),
    "import": (lambda have: [have["netlist"], "-o", have["out"] / "graph.json"], "read", signal.SIGINT),
}
"""How to run a command for a while, words in what it says of its progress, and the signal that then comes.

What is over sooner than a signal arrives reads from a pipe.
"""

BRIEF = {*LISTS, "reload", "info", "plot", "report"}
"""Commands that are over in seconds on small networks and write one file or none; tests/compiler/test_output.py
interrupts the writing of one.
"""


@pytest.mark.parametrize("name", INTERRUPTIONS)
def test_an_interrupted_command_leaves_earlier_results_as_they_were(
    name: str, trained: Path, compiled: Path, data_file: Path, tmp_path: Path
) -> None:
    need("iverilog")
    make, words, number = INTERRUPTIONS[name]
    pipes = {"rows": tmp_path / "rows.csv", "netlist": tmp_path / "net.blif"}
    for pipe in pipes.values():
        os.mkfifo(pipe)  # nobody writes into it, so who reads it waits
    have = {"model": trained, "out": tmp_path / "out", "data": data_file, **pipes}
    shutil.copytree(compiled, have["out"])
    (have["out"] / "predictions.csv").write_text("class_index\n1\n")
    before = snapshot(have["out"])
    error = interrupt_at(start(name, *make(have)), "stderr", words, number)
    assert "error: interrupted" in error
    after = snapshot(have["out"])
    assert {path: text for path, text in after.items() if text is not None or path in before} == before


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ZeroDivisionError("by nothing"), 70)])
def test_what_ends_a_program_outside_of_its_commands_has_an_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def program() -> None:
        raise error

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # pytest keeps its own
    with pytest.raises(SystemExit) as end:
        cli._run(program)
    assert end.value.code == code
    assert ("by nothing" in capsys.readouterr().err) == (code == 70)


def test_every_command_has_its_interruption() -> None:
    """A new command is interrupted by a test above, or is brief."""
    assert {"train", "sweep", *INTERRUPTIONS, *BRIEF} == set(COMMANDS)


# -- shells and terminals ----------------------------------------------------------------------------------------------


def test_shell_completion_is_installed_and_knows_the_commands(tmp_path: Path) -> None:
    program = "import sys; sys.argv[0] = 'difflut'; from difflut_compiler.cli import main; main()"
    # The shell is the one that runs the command, whatever runs the tests.
    install = ["bash", "-c", '"$0" -c "$1" --install-completion; exit $?', sys.executable, program]
    subprocess.run(install, check=True, capture_output=True, env=environment(HOME=str(tmp_path)))
    assert ".bash_completions/difflut.sh" in (tmp_path / ".bashrc").read_text()
    assert "_DIFFLUT_COMPLETE=complete_bash" in (tmp_path / ".bash_completions" / "difflut.sh").read_text()
    asked = environment(_DIFFLUT_COMPLETE="complete_bash", COMP_WORDS="difflut ", COMP_CWORD="1")
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=asked)
    assert answer.stdout.split() == sorted(COMMANDS, key=list(COMMANDS).index)


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals(variables: dict[str, str], coloured: bool) -> None:
    here, there = pty.openpty()
    program = "from difflut_compiler.cli import main; main()"
    terminal = {**environment(TERM="xterm-256color", COLUMNS="80"), **variables}
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        if name not in variables:
            terminal.pop(name, None)
    command = [sys.executable, "-c", program, "plot", "magic", ".", "-o", "."]
    subprocess.run(command, stderr=there, env=terminal, check=False)
    text = os.read(here, 4096).decode()
    for end in (here, there):
        os.close(end)
    assert "there is no plot 'magic'" in text
    assert ("\x1b[1;31m" in text) == coloured
