"""Who runs which trial: Optuna's storage, shared by all workers of a sweep, wherever they are.

A sweep of N trials has the numbers 0 to N - 1, and every one of them must be run to its end exactly once, although any
worker may die at any moment. Each number is a queue entry of Optuna's, which hands an entry to one worker only. While a
worker runs one, Optuna records its heartbeats; when they stop, the entry is marked as failed, for good. Then:

* A number without an entry that waits, runs or is complete gets a new entry with the same values.
* Workers that notice this at the same moment may make two. Of the entries of one number, the oldest that has not failed
  counts; whoever draws another one puts it aside without running it.

An entry that was marked as failed cannot be completed any more, so a worker that was only frozen cannot finish what
another has taken over. All entries stay in the storage; nothing is ever deleted.
"""

from __future__ import annotations

import datetime
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError

from difflut_compiler.errors import CompilerError
from difflut_compiler.sweep.space import OBJECTIVES, STARTUP_TRIALS, Choices, Dimension, Point, Sweep, Value

NUMBER, CONTINUES, WORKER, FIGURES = "number", "continues", "worker", "figures"
REASON, PUT_ASIDE, INTERRUPTED = "reason", "put_aside", "interrupted"
MAX_DEATHS = 3
"""A trial whose worker died that often is given up: it may be what kills them, e.g. by its need of memory."""
BUSY_SECONDS = 60
CONNECTION_TRIES = 5


RunTrial = Callable[[int, Point, int | None, str], Mapping[str, Any]]


class Status(Enum):
    """How far a number of the sweep is."""

    OPEN = "open"
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Entry:
    """What the storage knows of one number of the sweep.

    ``trial`` is the entry of Optuna's that counts, None if there is none; ``deaths`` counts workers that died over it.
    """

    number: int
    status: Status
    trial: FrozenTrial | None
    deaths: int


class TrialError(Exception):
    """A trial cannot be run with these values; the message says why."""


class _PutAsideError(Exception):
    """The entry that was drawn is not the one that counts."""


class SweepStudy:
    """The trials of a sweep in a storage.

    Parameters
    ----------
    sweep : what to run.
    url : the storage, as SQLAlchemy writes it.
    name : of the sweep in the storage.
    heartbeat_seconds : how often a running worker says that it is alive; it counts as dead after three times that.

    Raises :class:`CompilerError` if the storage cannot be used or holds another sweep of this name.
    """

    def __init__(self, sweep: Sweep, url: str, name: str, heartbeat_seconds: int) -> None:
        self.sweep = sweep
        self._grace = datetime.timedelta(seconds=3 * heartbeat_seconds)
        with _quiet():
            self._storage = _connect(url, heartbeat_seconds)
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                directions=[OBJECTIVES[objective] for objective in sweep.objectives],
                sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS),
                load_if_exists=True,
            )
        stored = self._study.user_attrs.get("sweep")
        if stored is None:
            self._study.set_user_attr("sweep", sweep.identity())
        elif stored != sweep.identity():
            raise CompilerError(
                f"the storage holds another sweep named {name!r}; give this one another name or output folder, or "
                f"restore its file"
            )

    def close(self) -> None:
        """End the connections to the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def entries(self) -> list[Entry]:
        """Where every number of the sweep stands."""
        trials: dict[int, list[FrozenTrial]] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if NUMBER in trial.user_attrs:
                trials.setdefault(trial.user_attrs[NUMBER], []).append(trial)
        return [_judge(number, trials.get(number, [])) for number in range(self.sweep.trials)]

    def refill(self) -> list[Entry]:
        """Mark what dead workers left behind, queue it again, and return where every number stands now."""
        with _quiet():
            optuna.storages.fail_stale_trials(self._study)
        self._fail_trials_without_heartbeat()
        open_entries = [entry for entry in self.entries() if entry.status is Status.OPEN]
        for entry in open_entries:
            self._queue(entry)
        return self.entries()

    def run_next(self, run: RunTrial) -> None:
        """Draw an entry and run it: ``run(number, point, continues, folder)`` returns figures or raises TrialError.

        ``folder`` is a name that no other entry has, ``continues`` that of an entry whose worker died, if there is one.
        """

        failure: Exception | None = None

        def objective(trial: Trial) -> list[float]:
            nonlocal failure
            try:
                return self._run_drawn(trial, run)
            except Exception as error:
                failure = error
                raise

        try:
            with _quiet():
                self._study.optimize(
                    objective, n_trials=1, catch=(TrialError, _PutAsideError, UpdateFinishedTrialError)
                )
        except (UpdateFinishedTrialError, ValueError) as error:
            if error is failure:
                raise
            # Optuna refuses the result: this worker seemed dead for a while, and another one has taken the trial over.

    def _run_drawn(self, trial: Trial, run: RunTrial) -> list[float]:
        self._storage.record_heartbeat(trial._trial_id)  # noqa: SLF001 - Optuna's storages name trials by it
        trial.set_user_attr(WORKER, f"{platform.node()}:{os.getpid()}")
        if not self._counts(trial):
            trial.set_user_attr(PUT_ASIDE, True)
            raise _PutAsideError
        point = {path: _suggest(trial, path, dimension) for path, dimension in self.sweep.space.items()}
        number = trial.user_attrs[NUMBER]
        try:
            figures = run(number, point, trial.user_attrs.get(CONTINUES), folder_name(number, trial.number))
        except TrialError as error:
            trial.set_user_attr(REASON, str(error))
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(INTERRUPTED, True)
            raise
        trial.set_user_attr(FIGURES, dict(figures))
        return [float(figures[objective]) for objective in self.sweep.objectives]

    def _counts(self, drawn: Trial) -> bool:
        """Whether the entry that was drawn is the one of its number that counts."""
        number = drawn.user_attrs.get(NUMBER)
        if number is None or number >= self.sweep.trials:
            return False
        counting = self.entries()[number].trial
        return counting is not None and counting.number == drawn.number

    def _queue(self, entry: Entry) -> None:
        """Queue a number, with the values that it had if a worker died over it."""
        dead = entry.trial
        point = self.sweep.planned_point(entry.number) if dead is None else {**_fixed(dead), **dead.params}
        attributes = {NUMBER: entry.number} | ({} if dead is None else {CONTINUES: dead.number})
        self._study.enqueue_trial(dict(point or {}), user_attrs=attributes)

    def _fail_trials_without_heartbeat(self) -> None:
        """A worker can die after it drew an entry and before its first heartbeat, which Optuna does not notice."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            started = trial.datetime_start
            now = datetime.datetime.now()  # noqa: DTZ005 - local time, as Optuna stores it
            if WORKER in trial.user_attrs or started is None or now - started < self._grace:
                continue
            with suppress(UpdateFinishedTrialError):  # another worker was quicker
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def folder_name(number: int, entry: int) -> str:
    """Where an entry's files go; no two entries share a folder, also if they are of one number."""
    return f"trial-{number:04}-{entry}"


def _judge(number: int, trials: list[FrozenTrial]) -> Entry:
    """Where a number stands, from all of its entries, oldest first."""
    live = {
        TrialState.WAITING: Status.WAITING,
        TrialState.RUNNING: Status.RUNNING,
        TrialState.COMPLETE: Status.COMPLETE,
    }
    failed = [trial for trial in trials if trial.state not in live and PUT_ASIDE not in trial.user_attrs]
    started = [trial for trial in failed if WORKER in trial.user_attrs]
    deaths = sum(INTERRUPTED not in trial.user_attrs for trial in started)
    ordered = sorted(trials, key=lambda trial: (trial.state is not TrialState.COMPLETE, trial.number))
    for trial in ordered:
        if trial.state in live:
            return Entry(number, live[trial.state], trial, deaths)
    for trial in failed:
        if REASON in trial.user_attrs:
            return Entry(number, Status.FAILED, trial, deaths)
    latest = started[-1] if started else None
    return Entry(number, Status.FAILED if deaths > MAX_DEATHS else Status.OPEN, latest, deaths)


def _fixed(trial: FrozenTrial) -> Mapping[str, Any]:
    """The values with which an entry was queued."""
    fixed: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return fixed


def _suggest(trial: Trial, path: str, dimension: Dimension) -> Value:
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(path, dimension.texts)
    if dimension.is_integer:
        return trial.suggest_int(path, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(path, dimension.low, dimension.high, log=dimension.log)


def _connect(url: str, heartbeat_seconds: int) -> RDBStorage:
    """Open the storage; workers that start at once may all try to make its tables, so the losers try again."""
    for left in reversed(range(CONNECTION_TRIES)):
        try:
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}} if url.startswith("sqlite") else {},
                heartbeat_interval=heartbeat_seconds,
                grace_period=3 * heartbeat_seconds,
            )
            if url.startswith("sqlite"):
                _lock_from_the_start(storage.engine)
            return storage
        except ImportError as error:
            raise CompilerError(
                f"the driver of the storage {url!r} is not installed ({error.__cause__}); for PostgreSQL: "
                f"pip install 'difflut[postgresql]'"
            ) from None
        except ArgumentError:
            raise CompilerError(
                f"the storage {url!r} is not the address of a database, e.g. postgresql+psycopg://host/name"
            ) from None
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            if not left:
                raise CompilerError(f"the storage {url!r} cannot be used: {str(error.orig).strip()}") from None
            time.sleep(0.5)
    raise AssertionError


def _lock_from_the_start(engine: sqlalchemy.Engine) -> None:
    """Let SQLite take its lock when a transaction begins, so that what it read still holds when it writes.

    Drawing an entry reads its state and then changes it; other databases lock the row in between, SQLite has no rows
    to lock.
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_transactions_alone(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections that were made before


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna logs every trial and warns of what it may still change; the sweep has reports of its own."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
