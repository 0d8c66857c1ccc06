"""How far a long command is: a line that moves on a terminal, plain lines where output is piped; always with time left.

Nothing is shown of work that is over within ``QUIET_SECONDS``. Time left is an estimate from the work that is done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from difflut.training import EpochReport, StepReport

QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0
"""Where output is piped, a piece of work that takes longer says so this often."""
_LEAST_BASIS = 0.02
"""Before this share of the work is done, its speed says nothing about the rest."""

COMPILE_SHARES: Mapping[str, float] = {
    "read and evaluate": 3,
    "passes": 4,
    "schedule": 1,
    "emit": 2,
    "prove passes": 1,
    "check files": 54,
    "count LUTs": 35,
}
"""The steps of a compile and how its time is typically split, in percent: between networks of 400 and 20,000 LUTs."""
VERIFY_SHARES: Mapping[str, float] = {
    "read": 5,
    "compare with the model": 5,
    "check files": 90,
}
"""The same for the steps of checking a compile again."""
SYNTHESIS_SHARES: Mapping[str, float] = {"synthesise": 50, "place and route": 50}
"""The same for synthesis; not all families have the second step."""
SYNTHESIS_TO_COMPILE = 4.0
"""How much longer each of these steps typically takes than the network's whole compile took."""
INFER_SHARES: Mapping[str, float] = {"load": 0, "read data": 80, "run": 5, "write": 15}
"""The same for answering on many samples from a CSV file; how long loading takes says nothing about the rest."""
PUBLISH_SHARES: Mapping[str, float] = {"load": 80, "measure and write": 20}
IMPORT_SHARES: Mapping[str, float] = {"read": 95, "write": 5}
REPORT_SHARES: Mapping[str, float] = {"read": 35, "write": 65}
RELOAD_SHARES: Mapping[str, float] = {"read": 35, "make words": 60, "write": 5}
PLOT_SHARES: Mapping[str, float] = {"read and draw": 100}
DRAWING_SECONDS = 1.5
"""How long a plot takes besides the reading, most of it matplotlib's start."""

DATA_BYTES_PER_SECOND: Mapping[str, float] = {".csv": 1e7, ".npz": 3e8}
"""How fast data files are read, by their kind."""
IMPORT_BYTES_PER_SECOND = 3e6
"""How fast networks of other tools become graphs."""
GRAPH_BYTES_PER_SECOND = 2e6
"""How fast the graph of a compile becomes a report, a plot or an image."""


def reading_seconds(files: Iterable[Path], bytes_per_second: float) -> float:
    """How long work on these files may take; what is no file counts nothing."""
    return sum(file.stat().st_size for file in files if file.is_file()) / bytes_per_second


def seconds_of_compile(report: Mapping[str, Any], steps: Iterable[str] | None = None) -> float:
    """How long the compile, or these of its steps, took according to its report.json; 0 if that does not say."""
    seconds = report.get("seconds")
    if not isinstance(seconds, dict):
        return 0.0
    figures = (seconds.get(step) for step in (seconds if steps is None else steps))
    return float(sum(figure for figure in figures if isinstance(figure, int | float)))


class StepEstimate:
    """Time left of steps that follow one another.

    Parameters
    ----------
    shares : typical shares of the time by step, in order; a step that is not there counts as short.
    now : the clock's seconds at the start.
    expected_seconds : what all steps may take together, which counts until one of them is done; 0 if nobody knows.
    """

    def __init__(self, shares: Mapping[str, float], now: float, expected_seconds: float = 0.0) -> None:
        total = sum(shares.values()) or 1
        self._shares = {step: share / total for step, share in shares.items()}
        self._step: str | None = None
        self._step_start = now
        self._measured_seconds = 0.0
        self._measured_share = 0.0
        self._expected_seconds = expected_seconds

    def begin(self, step: str, now: float) -> None:
        """Note that the step before is over."""
        if share := self._shares.get(self._step or "", 0.0):
            self._measured_seconds += now - self._step_start
            self._measured_share += share
        self._step, self._step_start = step, now

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the last step is over, if all go as fast as those before; None while too little is known."""
        is_measured = self._measured_share >= _LEAST_BASIS
        if self._step not in self._shares or not (is_measured or self._expected_seconds):
            return None
        seconds_per_share = self._measured_seconds / self._measured_share if is_measured else self._expected_seconds
        steps = list(self._shares)
        later = sum(self._shares[step] for step in steps[steps.index(self._step) + 1 :])
        rest_of_step = max(0.0, self._shares[self._step] * seconds_per_share - (now - self._step_start))
        return rest_of_step + later * seconds_per_share


@contextmanager
def steps_shown(
    shares: Mapping[str, float], console: Console, *, quiet: bool = False, expected_seconds: float = 0.0
) -> Iterator[Callable[[str], None]]:
    """Yield a function that is called as each step begins; ``console`` should be standard error.

    ``shares`` and ``expected_seconds`` are those of :class:`StepEstimate`.
    """
    if quiet:
        yield lambda step: None
        return
    start = time.monotonic()
    estimate = StepEstimate(shares, start, expected_seconds)
    if not console.is_terminal:

        def print_step(step: str) -> None:
            now = time.monotonic()
            estimate.begin(step, now)
            if now - start >= QUIET_SECONDS:
                console.print(_sentence(step, now - start, estimate.seconds_left(now)), soft_wrap=True)

        yield print_step
        return
    columns = (TextColumn("{task.description}"), _EstimateColumn(estimate))
    with Progress(*columns, console=console, transient=True, get_time=time.monotonic) as bar:
        task = bar.add_task("starting", total=None)

        def show_step(step: str) -> None:
            estimate.begin(step, time.monotonic())
            bar.update(task, description=step, refresh=True)

        yield show_step


class _EstimateColumn(ProgressColumn):
    def __init__(self, estimate: StepEstimate) -> None:
        super().__init__()
        self._estimate = estimate

    def render(self, task: Task) -> Text:
        left = self._estimate.seconds_left(time.monotonic())
        return Text(f"{duration(task.elapsed or 0)} so far" + (f", about {duration(left)} left" if left else ""))


def _sentence(step: str, elapsed: float, left: float | None) -> str:
    return f"{step}: {duration(elapsed)} so far" + ("" if left is None else f", about {duration(left)} left")


def duration(seconds: float) -> str:
    """A duration for people: seconds below two minutes, minutes below two hours, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextmanager
def training_shown(
    console: Console, *, quiet: bool
) -> Iterator[tuple[Callable[[StepReport], None], Callable[[EpochReport], None]]]:
    """Yield what to call after a step and after an epoch: a bar on a terminal; a line per epoch unless ``quiet``."""
    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pace = _Pace()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("steps", epoch=1, total=None)

        def on_step(report: StepReport) -> None:
            done = (report.epoch - 1) * report.steps + report.step
            total = report.epochs * report.steps
            pace.update(done, total)
            progress.update(task, total=total, completed=done, epoch=report.epoch)
            if pace.is_line_due() and not quiet and not console.is_terminal:
                pace.note_line()
                console.print(
                    f"epoch {report.epoch:3}/{report.epochs}: step {report.step}/{report.steps}{pace.describe_rest()}",
                    soft_wrap=True,
                )

        def on_epoch(report: EpochReport) -> None:
            pace.note_line()
            if not quiet:
                console.print(
                    f"epoch {report.epoch:3}/{report.epochs}: loss {report.train_loss:.4f}, "
                    f"train {report.train_accuracy:.2%}, eval mode train {report.eval_train_accuracy:.2%}, "
                    f"validation {report.validation_accuracy:.2%}{' (best)' if report.is_best else ''}"
                    f"{'' if console.is_terminal else pace.describe_rest()}",
                    soft_wrap=True,
                )

        yield on_step, on_epoch


class _Pace:
    """How long equal pieces of work will still take, from those that this process has done."""

    def __init__(self) -> None:
        self._start = self._last_line = time.monotonic()
        self._first: int | None = None
        self._left: float | None = None

    def update(self, done: float, total: int) -> None:
        """Note that ``done`` of ``total`` pieces are done; those before the first call were done by somebody else."""
        if self._first is None:
            self._first = math.ceil(done) - 1
        seconds = time.monotonic() - self._start
        self._left = seconds / (done - self._first) * (total - done)

    def is_line_due(self) -> bool:
        return time.monotonic() - self._last_line >= LINE_SECONDS

    def note_line(self) -> None:
        self._last_line = time.monotonic()

    def describe_rest(self) -> str:
        return f"; about {duration(self._left)} left" if self._left is not None and self._left >= QUIET_SECONDS else ""


@contextmanager
def trials_shown(
    console: Console, *, quiet: bool
) -> Iterator[tuple[Callable[[int, int, str], None], Callable[[int, int, float], None]]]:
    """Yield what to call after each trial of a sweep and within one.

    The first takes the number of trials done, the number wanted and a sentence; the second takes the same numbers and
    how much of another trial is done.
    """
    pace = _Pace()
    columns = (TextColumn("trials done: {task.fields[done]}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("trials", total=None, done=0)

        def on_trial(done: int, total: int, sentence: str) -> None:
            pace.update(done, total)
            pace.note_line()
            progress.update(task, total=total, completed=done, done=done)
            if not quiet:
                rest = "" if console.is_terminal else pace.describe_rest()
                console.print(f"{sentence}{rest}", markup=False, soft_wrap=True)

        def on_part(done: int, total: int, share: float) -> None:
            pace.update(done + share, total)
            progress.update(task, total=total, completed=done + share, done=done)
            if pace.is_line_due() and not quiet and not console.is_terminal:
                pace.note_line()
                console.print(
                    f"{done} of {total} trials done, {share:.0%} of another{pace.describe_rest()}", soft_wrap=True
                )

        yield on_trial, on_part
