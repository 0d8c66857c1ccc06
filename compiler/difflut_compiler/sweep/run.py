"""One worker of a sweep: it draws trials until all are settled, by itself or by others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from difflut.errors import DifflutError
from difflut.training import StepReport
from difflut_compiler.errors import CompilerError, ToolMissingError
from difflut_compiler.sweep.report import SweepResult, TrialResult, describe_trial
from difflut_compiler.sweep.space import Point, Sweep
from difflut_compiler.sweep.study import Entry, Status, SweepStudy, TrialError, folder_name
from difflut_compiler.sweep.trial import run_trial

STORAGE_FILE = "sweep.sqlite"
DEFAULT_HEARTBEAT_SECONDS = 10
_SETTLED = (Status.COMPLETE, Status.FAILED)


@dataclass(frozen=True)
class SweepRequest:
    """What a worker is to do.

    Parameters
    ----------
    sweep : the trials.
    out : folder for their files, and for the storage if none is given.
    storage : URL of a database that all workers reach; None for an SQLite file in ``out``.
    name : of the sweep in the storage.
    data_path : data file to use instead of the one that the configuration names.
    heartbeat_seconds : see :class:`SweepStudy`.
    """

    sweep: Sweep
    out: Path
    storage: str | None = None
    name: str = "sweep"
    data_path: Path | None = None
    heartbeat_seconds: int = DEFAULT_HEARTBEAT_SECONDS

    @property
    def url(self) -> str:
        return self.storage if self.storage is not None else f"sqlite:///{(self.out / STORAGE_FILE).absolute()}"


OnTrial = Callable[[int, int, str], None]
OnPart = Callable[[int, int, float], None]


def run_sweep(
    request: SweepRequest, *, on_trial: OnTrial = lambda *_: None, on_part: OnPart = lambda *_: None
) -> SweepResult:
    """Run trials until every one of the sweep is complete or has failed, whoever runs it, and return all results.

    Call it again, or in other processes at the same time, to go on with what is left. ``on_trial`` is called after each
    trial with the number of settled trials, the number of all, and a sentence; ``on_part`` as this worker's training
    goes on, with the same numbers and how much of it is done, from 0 to 1.
    """
    with closing(open_study(request)) as study:
        return _work(study, request, on_trial, on_part)


def open_study(request: SweepRequest) -> SweepStudy:
    """The trials of the sweep in its storage, which is made if there is none."""
    if request.heartbeat_seconds < 1:
        raise CompilerError(f"the heartbeat must be at least 1 second, not {request.heartbeat_seconds}")
    request.out.mkdir(parents=True, exist_ok=True)
    return SweepStudy(request.sweep, request.url, request.name, request.heartbeat_seconds)


def _work(study: SweepStudy, request: SweepRequest, on_trial: OnTrial, on_part: OnPart) -> SweepResult:
    def run(number: int, point: Point, continues: int | None, folder: str) -> Mapping[str, Any]:
        earlier = None if continues is None else request.out / folder_name(number, continues)

        def on_step(report: StepReport) -> None:
            steps = (report.epoch - 1) * report.steps + report.step
            on_part(len(settled), len(entries), steps / (report.epochs * report.steps))

        return _run_trial(request, point, request.out / folder, earlier, on_step)

    announce = SettledTrials(study, request, on_trial)
    while True:
        entries = study.refill()
        settled = announce(entries)
        if len(settled) == len(entries):
            return make_result(request, entries)
        if any(entry.status is Status.WAITING for entry in entries):
            study.run_next(run)
        else:
            time.sleep(min(1.0, request.heartbeat_seconds))


class SettledTrials:
    """Announces trials as they are settled, by whomever; what was settled before is known."""

    def __init__(self, study: SweepStudy, request: SweepRequest, on_trial: OnTrial) -> None:
        self._request, self._on_trial = request, on_trial
        self._announced = {entry.number for entry in study.entries() if entry.status in _SETTLED}

    def __call__(self, entries: Sequence[Entry]) -> list[Entry]:
        """Announce what is new and return the entries that are settled."""
        settled = [entry for entry in entries if entry.status in _SETTLED]
        for entry in settled:
            if entry.number not in self._announced:
                self._on_trial(len(settled), len(entries), describe_trial(_result(self._request, entry)))
                self._announced.add(entry.number)
        return settled


def make_result(request: SweepRequest, entries: Sequence[Entry]) -> SweepResult:
    """The result of a sweep whose trials are all settled."""
    return SweepResult(request.sweep, tuple(_result(request, entry) for entry in entries))


def _run_trial(
    request: SweepRequest, point: Point, folder: Path, earlier: Path | None, on_step: Callable[[StepReport], None]
) -> Mapping[str, Any]:
    sweep = request.sweep
    try:
        config = sweep.configure(point)
        figures = run_trial(
            config,
            folder,
            data_path=request.data_path,
            continues=earlier,
            family=sweep.family,
            yosys=sweep.yosys,
            on_step=on_step,
        )
    except ToolMissingError:
        raise  # on this machine; another worker can run the trial
    except (DifflutError, CompilerError) as error:
        raise TrialError(str(error)) from error
    return asdict(figures)


def _result(request: SweepRequest, entry: Entry) -> TrialResult:
    trial = entry.trial
    attributes, params = ({}, {}) if trial is None else (trial.user_attrs, trial.params)
    folder = None if trial is None else folder_name(entry.number, trial.number)
    complete = entry.status is Status.COMPLETE
    reason = attributes.get("reason", f"its worker died {entry.deaths} times")
    return TrialResult(
        number=entry.number,
        values={path: request.sweep.space[path].decode(value) for path, value in params.items()},
        figures=attributes["figures"] if complete else None,
        error=None if complete else reason,
        folder=folder,
        worker=attributes.get("worker"),
    )
