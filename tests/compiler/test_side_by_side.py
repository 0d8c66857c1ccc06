"""Checks in threads: their answers, how many at once, and that no tool outlives an error or an interruption."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event

import pytest

from difflut_compiler import side_by_side as module
from difflut_compiler.errors import CompilerError
from difflut_compiler.side_by_side import side_by_side
from difflut_compiler.tools import execute, run_tool

PATIENCE_SECONDS = 60
SLEEPER = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
pathlib.Path("new").write_text(str(child.pid))
pathlib.Path("new").rename("child")
time.sleep(1000)
"""


@pytest.fixture
def processors(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda count: monkeypatch.setattr(module, "usable_processors", lambda: count)


def is_running(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def sleep_by_tool(folder: Path) -> int:
    """Run a tool that starts another process, whose number goes into a file, and never ends."""
    run_tool("the sleeper", [sys.executable, "-c", SLEEPER], folder, log=folder / "log")
    return 0


def sleep_by_program(folder: Path) -> int:
    return execute([sys.executable, "-c", SLEEPER], folder).returncode


def test_answers_have_the_names_of_their_checks() -> None:
    with side_by_side({5: lambda: "five", 3: lambda: "three"}) as started:
        assert [started.result(name) for name in (3, 5)] == ["three", "five"]


def test_checks_run_at_once_as_far_as_there_are_processors(processors: Callable[[int], None]) -> None:
    processors(2)
    both_are_there = Barrier(2)
    with side_by_side(dict.fromkeys((1, 2), lambda: both_are_there.wait(PATIENCE_SECONDS))) as started:
        assert {started.result(1), started.result(2)} == {0, 1}
    processors(1)
    begun: list[int] = []
    may_end = Event()

    def begin(number: int) -> None:
        begun.append(number)
        assert may_end.wait(PATIENCE_SECONDS)

    with side_by_side({2: lambda: begin(2), 1: lambda: begin(1)}) as one_by_one:
        wait_for(lambda: bool(begun))
        assert begun == [2]
        may_end.set()
        one_by_one.result(1)
    assert begun == [2, 1]


@pytest.mark.parametrize("sleep", [sleep_by_tool, sleep_by_program])
def test_an_error_ends_the_tools_of_the_others(
    sleep: Callable[[Path], int], tmp_path: Path, processors: Callable[[int], None]
) -> None:
    processors(2)
    error = CompilerError("no use")
    later: list[str] = []

    def fail() -> int:
        wait_for((tmp_path / "child").exists)
        raise error

    with side_by_side({1: lambda: sleep(tmp_path), 2: fail, 3: lambda: later.append("started")}) as started:
        for name in (1, 2, 3):
            with pytest.raises(CompilerError) as caught:
                started.result(name)
            assert caught.value is error
    wait_for(lambda: not is_running(int((tmp_path / "child").read_text())))
    assert not later


def test_tools_that_fail_at_the_same_time_are_no_more_than_failures(
    tmp_path: Path, processors: Callable[[int], None]
) -> None:
    """One check ends the tool of the other, which has just ended by itself, but nobody has heard of it."""
    processors(2)

    def fail(name: int) -> Callable[[], None]:
        return lambda: run_tool("the tool", ["sh", "-c", "exit 1"], tmp_path, log=tmp_path / f"{name}.log")

    for _ in range(60):
        with side_by_side({1: fail(1), 2: fail(2)}) as started:
            for name in (1, 2):
                with pytest.raises(CompilerError, match="the tool failed"):
                    started.result(name)


def test_an_interruption_ends_all_tools_and_starts_none(tmp_path: Path, processors: Callable[[int], None]) -> None:
    processors(3)
    folders = [tmp_path / name for name in ("one", "other", "late")]
    for folder in folders:
        folder.mkdir()

    def have_begun() -> bool:
        return all((folder / "child").exists() for folder in folders[:2])

    def have_ended() -> bool:
        return not any(is_running(int((folder / "child").read_text())) for folder in folders[:2])

    def start_late() -> int:
        wait_for(have_begun)
        wait_for(have_ended)
        return sleep_by_tool(folders[2])

    def interrupt() -> None:
        with side_by_side(
            {1: lambda: sleep_by_tool(folders[0]), 2: lambda: sleep_by_program(folders[1]), 3: start_late}
        ):
            wait_for(have_begun)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    wait_for(have_ended)
    assert not (folders[2] / "child").exists()


def test_other_checks_are_left_alone(tmp_path: Path) -> None:
    """Two compiles in two threads of one program: that one fails is nothing to the other."""

    def fail() -> str:
        raise CompilerError("no use")

    may_answer = Event()

    def answer() -> str:
        assert may_answer.wait(PATIENCE_SECONDS)
        return execute([sys.executable, "-c", "print('fine')"], tmp_path).stdout

    with side_by_side({1: answer}) as one:
        with side_by_side({1: fail}) as other, pytest.raises(CompilerError, match="no use"):
            other.result(1)
        may_answer.set()
        assert one.result(1) == "fine\n"
    assert execute([sys.executable, "-c", "print('fine')"], tmp_path).stdout == "fine\n"


def test_processors_that_the_process_may_not_use_do_not_count() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert module.usable_processors() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert module.usable_processors() == len(allowed)
