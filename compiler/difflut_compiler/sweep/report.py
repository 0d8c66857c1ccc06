"""What a sweep found, as a table, a JSON document and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from difflut_compiler.output import write_file
from difflut_compiler.sweep.space import OBJECTIVES, Sweep

RESULTS_FILE = "results.json"
PLOT_FILE = "front.svg"
_TITLES = {
    "accuracy": ("accuracy", "{:.2%}"),
    "test_accuracy": ("test", "{:.2%}"),
    "luts": ("LUTs", "{}"),
    "depth": ("depth", "{}"),
    "fmax_mhz": ("Fmax", "{:.0f} MHz"),
}
"""What a figure is called, and how it is written."""


@dataclass(frozen=True)
class TrialResult:
    """One trial: the values of the fields that vary, and its figures, or why there are none.

    ``folder`` is where its files are, in the output folder of the worker that ran it.
    """

    number: int
    values: Mapping[str, Any]
    figures: Mapping[str, Any] | None
    error: str | None
    folder: str | None
    worker: str | None


@dataclass(frozen=True)
class SweepResult:
    """All trials of a sweep, in the order of their numbers."""

    sweep: Sweep
    trials: tuple[TrialResult, ...]

    @property
    def front(self) -> tuple[TrialResult, ...]:
        """The Pareto front, best in the first objective first: trials that no other equals or beats in every objective.

        Of trials with equal figures the first is on the front.
        """
        complete = [trial for trial in self.trials if trial.figures is not None]
        costs = {trial.number: self._costs(trial) for trial in complete}
        front = [
            trial
            for trial in complete
            if not any(_dominates(costs[other.number], costs[trial.number], other, trial) for other in complete)
        ]
        return tuple(sorted(front, key=lambda trial: costs[trial.number]))

    def _costs(self, trial: TrialResult) -> tuple[float, ...]:
        assert trial.figures is not None
        signs = {"maximize": -1, "minimize": 1}
        return tuple(signs[OBJECTIVES[name]] * trial.figures[name] for name in self.sweep.objectives)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values; ``front`` are numbers of trials."""
        return {
            "objectives": {name: OBJECTIVES[name] for name in self.sweep.objectives},
            "luts_are": "counted by Yosys" if self.sweep.yosys else "estimated",
            "fmax_mhz_is": None if self.sweep.family is None else f"estimated for {self.sweep.family}",
            "front": [trial.number for trial in self.front],
            "trials": [asdict(trial) for trial in self.trials],
        }


def _dominates(one: tuple[float, ...], other: tuple[float, ...], first: TrialResult, second: TrialResult) -> bool:
    """Whether costs ``one`` are nowhere above ``other``, and somewhere below or those of an earlier trial."""
    nowhere_above = all(a <= b for a, b in zip(one, other, strict=True))
    return nowhere_above and (one != other or first.number < second.number)


def describe_trial(trial: TrialResult) -> str:
    """A line about one trial."""
    values = ", ".join(f"{path.rpartition('.')[2]} {_shorten(value)}" for path, value in trial.values.items())
    if trial.figures is None:
        return f"trial {trial.number}: {values}: failed: {trial.error}"
    figures = ", ".join(f"{title} {text}" for title, text in _figures(trial).items())
    return f"trial {trial.number}: {values}: {figures}"


def print_sweep(result: SweepResult, console: Console) -> None:
    """The Pareto front as a table, and how many trials there were."""
    failed = [trial for trial in result.trials if trial.figures is None]
    table = Table(box=None)
    paths = list(result.sweep.space)
    figures = list(_figures(result.front[0])) if result.front else []
    for title in ("trial", *figures, *(path.rpartition(".")[2] for path in paths)):
        table.add_column(escape(title), justify="right", overflow="fold")
    for trial in result.front:
        values = [escape(_shorten(trial.values[path])) for path in paths]
        table.add_row(str(trial.number), *_figures(trial).values(), *values)
    if result.front:
        console.print(table)
    console.print(
        f"{len(result.trials) - len(failed)} of {len(result.trials)} trials complete, {len(failed)} failed; "
        f"{len(result.front)} on the Pareto front of {', '.join(result.sweep.objectives)}. "
        f"LUTs are {'counted by Yosys' if result.sweep.yosys else 'estimated'}.",
        markup=False,
        soft_wrap=True,
    )


def write_sweep(result: SweepResult, out: Path) -> list[Path]:
    """Write results.json, and front.svg where matplotlib is installed; return what was written."""
    written = [out / RESULTS_FILE]
    write_file(out / RESULTS_FILE, json.dumps(result.to_dict(), indent=2) + "\n")
    if find_spec("matplotlib") is not None and result.front:
        written.append(out / PLOT_FILE)
        write_file(out / PLOT_FILE, draw_front(result))
    return written


def draw_front(result: SweepResult) -> str:
    """Accuracy against LUTs of all trials, the Pareto front marked, as SVG; equal results give equal text."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    complete = [trial.figures for trial in result.trials if trial.figures is not None]
    axes.plot([one["luts"] for one in complete], [100 * one["accuracy"] for one in complete], "o", color="0.7")
    for trial in result.front:
        assert trial.figures is not None
        spot = (trial.figures["luts"], 100 * trial.figures["accuracy"])
        axes.plot(*spot, "o", color="C0")
        axes.annotate(str(trial.number), spot, (5, 5), textcoords="offset points")
    axes.set(
        xlabel=f"LUT-6, {'counted by Yosys' if result.sweep.yosys else 'estimated'}", ylabel="validation accuracy, %"
    )
    axes.grid(alpha=0.3)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "difflut"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _figures(trial: TrialResult) -> dict[str, str]:
    """The figures that a trial has, as texts by title."""
    assert trial.figures is not None
    return {
        title: form.format(trial.figures[name])
        for name, (title, form) in _TITLES.items()
        if trial.figures.get(name) is not None
    }


def _shorten(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value) if not isinstance(value, str) else value
