"""Checks side by side, each in a thread of its own: most of their time, they wait for tools.

If one of them raises an error, or everything is interrupted, the tools of all of them are ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from difflut_compiler.interruptions import interruptions_postponed

Result = TypeVar("Result")


class StoppedError(Exception):
    """A tool was ended, or not started any more, because of what happened elsewhere."""


class Tools:
    """The tools that are running for a set of checks. Once stopped, none is running and none is started any more."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: set[subprocess.Popen[Any]] = set()
        self._is_stopped = False

    @contextmanager
    def run(self, command: Sequence[str | Path], folder: Path, **streams: Any) -> Iterator[subprocess.Popen[Any]]:
        """Start a tool in a process group of its own: when it is ended, so is what it has started itself."""
        with self._lock:
            self.refuse_if_stopped()
            process = subprocess.Popen(command, cwd=folder, start_new_session=True, **streams)
            self._running.add(process)
        try:
            yield process
        except BaseException:
            _end(process)
            process.wait()
            raise
        finally:
            with self._lock:
                self._running.discard(process)
        self.refuse_if_stopped()  # what it did says nothing then

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                _end(process)

    def refuse_if_stopped(self) -> None:
        if self._is_stopped:
            raise StoppedError


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        # It may have ended by itself all the same, if a thread that waits for it has yet to be told.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


_TOOLS = ContextVar("tools", default=Tools())  # noqa: B039 - those outside any set of checks are one set


def running(
    command: Sequence[str | Path], folder: Path, **streams: Any
) -> AbstractContextManager[subprocess.Popen[Any]]:
    """:meth:`Tools.run` for the checks to which the caller belongs."""
    return _TOOLS.get().run(command, folder, **streams)


def usable_processors() -> int:
    """How many processors this process may use at once."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class SideBySide(Generic[Result]):
    """Checks at work, by their names; see :func:`side_by_side`."""

    def __init__(self) -> None:
        self._tools = Tools()
        self._error: BaseException | None = None
        self._pool = ThreadPoolExecutor(usable_processors())
        self._futures: dict[int, Future[Result]] = {}

    def start(self, name: int, check: Callable[[], Result]) -> None:
        self._futures[name] = self._pool.submit(copy_context().run, self._attempt, check)

    def _attempt(self, check: Callable[[], Result]) -> Result:
        _TOOLS.set(self._tools)
        try:
            self._tools.refuse_if_stopped()
            return check()
        except BaseException as error:
            self.stop(error)
            raise

    def stop(self, error: BaseException) -> None:
        """End all tools, because of ``error``."""
        if self._error is None:
            self._error = error
        self._tools.stop()

    def wait(self) -> None:
        """Return when no check is at work any more."""
        self._pool.shutdown()

    def result(self, name: int) -> Result:
        """What a check has found, once it has; raises the error for which it was stopped."""
        try:
            return self._futures[name].result()
        except StoppedError:
            assert self._error is not None
            raise self._error from None


@contextmanager
def side_by_side(checks: Mapping[int, Callable[[], Result]]) -> Iterator[SideBySide[Result]]:
    """Run checks, by their names, at most as many at once as this process may use processors.

    They are begun in their order, so those that take longest should come first. At the end of the block all of them
    are over. If the block or a check raises an error, all are stopped.
    """
    started = SideBySide[Result]()
    try:
        with interruptions_postponed():  # an interrupted start may leave a thread behind that nobody knows of
            for name, check in checks.items():
                started.start(name, check)
        yield started
    except BaseException as error:
        started.stop(error)
        raise
    finally:
        with interruptions_postponed():  # files of tools are removed next
            started.wait()
