"""From a random graph to hardware, in one step."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph
from difflut_compiler.passes import EXPAND, OPTIMISE, ExpandWords, run_passes
from difflut_compiler.schedule import Schedule, schedule
from difflut_compiler.targets import TARGETS, HardwareTarget
from difflut_compiler.verify.languages import language_of
from tests.compiler.random_graphs import PLAIN, Inputs, Shape, make_graph, random_inputs, slow_outputs, with_adders

HDL_TARGETS = [name for name, target in TARGETS.items() if isinstance(target, HardwareTarget)]
CIRCUIT_TARGETS = [name for name in TARGETS if name not in HDL_TARGETS]


@dataclass(frozen=True)
class Design:
    """A graph as it was made, optimised and scheduled, and its hardware."""

    original: LutGraph
    scheduled: Schedule
    plan: BuildPlan

    @property
    def graph(self) -> LutGraph:
        return self.scheduled.graph

    def expected(self, inputs: Inputs) -> list[int]:
        """The classes according to the slow evaluator and the graph before any pass."""
        return slow_outputs(self.original, inputs)["class_index"]


def make_design(
    shape: Shape = PLAIN, seed: int = 0, *, target: str = "verilog", pipeline: str = "layers", adders: bool = False
) -> Design:
    """Hardware of a random graph, as by `design_of`; the passes run once for all targets and pipelines."""
    original, optimised = _optimised_graph(shape, seed, adders)
    return _finish(original.copy(), optimised.copy(), target, pipeline)


def design_of(original: LutGraph, *, target: str, pipeline: str, adders: bool = False) -> Design:
    """Hardware of a graph; with ``adders``, by small counters and adders of words, which are compared as such."""
    return _finish(original, _optimise(original, adders=adders), target, pipeline)


@cache
def _optimised_graph(shape: Shape, seed: int, adders: bool) -> tuple[LutGraph, LutGraph]:
    graph = make_graph(shape, seed)
    return graph, _optimise(graph, adders=adders)


def _optimise(original: LutGraph, *, adders: bool = False) -> LutGraph:
    graph = original.copy()
    inputs = random_inputs(graph, 64)
    run_passes(graph, OPTIMISE, inputs)
    if adders:
        graph = with_adders(graph)
    passes = [one for one in EXPAND if not (adders and isinstance(one, ExpandWords))]
    run_passes(graph, passes, inputs, repeat=False)
    return graph


def _finish(original: LutGraph, optimised: LutGraph, target: str, pipeline: str) -> Design:
    scheduled = schedule(optimised, pipeline)
    return Design(original, scheduled, emit(scheduled, TARGETS[target], "net"))


def with_files(plan: BuildPlan, files: Mapping[str, str]) -> BuildPlan:
    return replace(plan, files=files)


def edit(plan: BuildPlan, pattern: str, change: str | Callable[[re.Match[str]], str], which: int = 0) -> BuildPlan:
    """The hardware with one match of ``pattern`` (the one with the number ``which``) changed."""
    matches = find(plan, pattern)
    name, match = matches[which]
    text = plan.files[name]
    new = match.expand(change) if isinstance(change, str) else change(match)
    return with_files(plan, {**plan.files, name: text[: match.start()] + new + text[match.end() :]})


def find(plan: BuildPlan, pattern: str) -> list[tuple[str, re.Match[str]]]:
    """All places in the hardware that match ``pattern``."""
    return [(name, match) for name, text in plan.files.items() for match in re.finditer(pattern, text, re.MULTILINE)]


def is_proven(design: Design, plan: BuildPlan, folder: Path) -> bool:
    """Whether the proof takes ``plan`` for files of the design; an error is a refusal, too."""
    prove = language_of(plan.language).prove
    assert prove is not None
    try:
        finding = prove(plan, design.scheduled, None, folder)
    except CompilerError:
        return False
    assert finding.comparisons > 0
    return True
