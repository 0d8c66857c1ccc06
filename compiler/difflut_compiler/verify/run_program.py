"""Running a C target: the header and its self-test, compiled, on its own samples and on those of the compile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.graph import LutGraph
from difflut_compiler.tools import execute, require_tool, run_tool
from difflut_compiler.verify.simulate import SimulationResult, compare_answers

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
STANDARD = {"gcc": ("-std=c99",), "g++": ("-x", "c++", "-std=c++11")}


def run_program(
    plan: BuildPlan,
    graph: LutGraph,  # noqa: ARG001 - one signature for all languages
    inputs: NDArray[np.int64],
    expected: Mapping[str, NDArray[np.int64]],
    compiler: str,
    folder: Path,
) -> SimulationResult:
    """Compile the program without a warning, run its self-test, and compare its answers to ``inputs``.

    Raises :class:`MismatchError` on a wrong answer.
    """
    program = compile_program(plan, compiler, folder)
    self_test = execute([program], folder)
    if self_test.returncode != 0 or not re.fullmatch(r"[1-9]\d* samples, 0 wrong answers\n", self_test.stdout):
        raise MismatchError(f"the program's self-test fails: {self_test.stdout.strip() or self_test.stderr.strip()}")
    rows = "".join(" ".join(map(str, row)) + "\n" for row in inputs.tolist())
    run = execute([program, "-"], folder, standard_input=rows)
    if run.returncode != 0:
        raise CompilerError(f"the program stopped with exit code {run.returncode}: {run.stderr.strip()}")
    answers = np.array(run.stdout.split(), dtype=np.int64).reshape(-1, len(plan.outputs))
    if len(answers) != len(inputs):
        raise CompilerError(f"the program gave {len(answers)} answers to {len(inputs)} samples")
    outputs = dict(zip(plan.outputs, answers.T, strict=True))
    return SimulationResult(compiler, len(inputs), compare_answers(outputs, expected), outputs)


def compile_program(plan: BuildPlan, compiler: str, folder: Path) -> Path:
    """Build the self-test in ``folder``; raises :class:`CompilerError` on a warning or an error."""
    plan.write(folder)
    program = folder.resolve() / "self_test"
    command: list[str | Path] = [
        require_tool(compiler),
        *STANDARD[compiler],
        *WARNINGS,
        "-O1",
        "-o",
        program,
        f"{plan.top}_test.c",
    ]
    run_tool(compiler, command, folder, log=folder / "compiler.log")
    return program
