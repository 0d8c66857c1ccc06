"""The output folder: all of a result or nothing of it, and never over somebody else's files."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difflut_compiler.errors import CompilerError
from difflut_compiler.output import (
    CERTIFICATE,
    MARKER,
    MARKER_TEXT,
    check_output_folder,
    replace_folder,
    write_file,
    write_output,
)

RTL = {"net.v": "module net;\n", "net_a.v": "module a;\n"}
DOCUMENTS = {"report.json": "{}\n", CERTIFICATE: "{}\n"}


def snapshot(folder: Path) -> dict[str, str | None]:
    """All that is in a folder: files with their text, folders."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


WRITTEN = {MARKER: MARKER_TEXT, **DOCUMENTS, "rtl": None, **{f"rtl/{name}": text for name, text in RTL.items()}}


def test_a_result_is_exactly_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    check_output_folder(folder)
    write_output(folder, {"rtl": RTL}, DOCUMENTS)
    assert snapshot(folder) == WRITTEN


def test_a_new_result_replaces_the_old_one_and_its_hardware(tmp_path: Path) -> None:
    write_output(tmp_path, {"rtl": {"old.v": "old\n"}}, {**DOCUMENTS, "report.json": "old\n"})
    check_output_folder(tmp_path)
    write_output(tmp_path, {"rtl": RTL}, DOCUMENTS)
    assert snapshot(tmp_path) == WRITTEN


def test_a_failed_compile_leaves_no_hardware_behind(tmp_path: Path) -> None:
    write_output(tmp_path, {"rtl": RTL}, DOCUMENTS)
    write_output(tmp_path, {}, DOCUMENTS)
    assert snapshot(tmp_path) == {name: text for name, text in WRITTEN.items() if not name.startswith("rtl")}


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    check_output_folder(tmp_path)


def test_somebody_elses_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(CompilerError, match="holds files that are no earlier result; choose another folder"):
        check_output_folder(tmp_path)
    assert snapshot(tmp_path) == {"thesis.tex": "important"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(CompilerError, match="is a file; choose another name"):
        check_output_folder(tmp_path / "out")


def test_a_folder_inside_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompilerError, match="cannot be written: Not a directory"):
        check_output_folder(tmp_path / "file" / "out")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(CompilerError, match="cannot be written: Permission denied"):
        check_output_folder(tmp_path / "out")
    assert snapshot(tmp_path) == {}


def test_a_certificate_alone_does_not_make_a_folder_ours(tmp_path: Path) -> None:
    (tmp_path / CERTIFICATE).write_text("somebody else's")
    with pytest.raises(CompilerError, match="holds files that are no earlier result"):
        check_output_folder(tmp_path)


@pytest.mark.parametrize("fails_at", range(1 + len(RTL) + len(DOCUMENTS)))
def test_an_interrupted_write_shows_no_certificate_and_no_scratch_files(
    fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_output(tmp_path, {"rtl": {"old.v": "old\n"}}, DOCUMENTS)
    calls = 0

    def failing(write: Callable[..., int]) -> Callable[..., int]:
        def write_or_fail(self: Path, *arguments: Any, **settings: Any) -> int:
            nonlocal calls
            calls += 1
            if calls == fails_at + 1:
                raise OSError(28, "No space left on device")
            return write(self, *arguments, **settings)

        return write_or_fail

    monkeypatch.setattr(Path, "write_text", failing(Path.write_text))
    monkeypatch.setattr(Path, "write_bytes", failing(Path.write_bytes))
    with pytest.raises(CompilerError, match="No space left"):
        write_output(tmp_path, {"rtl": RTL}, DOCUMENTS)
    left = snapshot(tmp_path)
    assert CERTIFICATE not in left
    assert not [name for name in left if name.startswith(".writing")]
    check_output_folder(tmp_path)
    hardware = {name for name in left if name.startswith("rtl/")}
    assert hardware in ({"rtl/old.v"}, {f"rtl/{name}" for name in RTL})


def test_the_certificate_is_the_last_thing_to_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace

    def noting(source: Path, target: Path) -> None:
        order.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noting)
    write_output(tmp_path, {"rtl": RTL}, DOCUMENTS)
    assert order == ["rtl", "report.json", CERTIFICATE]


def replace_a_folder(folder: Path) -> None:
    (folder / "contents").mkdir()
    (folder / "contents/new.txt").write_text("new\n")
    replace_folder(folder / "place", folder / "contents")


WRITERS: dict[str, tuple[Callable[[Path], None], dict[str, str | None]]] = {
    "output": (lambda folder: write_output(folder, {"rtl": RTL}, DOCUMENTS), WRITTEN),
    "file": (lambda folder: write_file(folder / "new.txt", "new\n"), {"new.txt": "new\n"}),
    "folder": (
        replace_a_folder,
        {"contents": None, "contents/new.txt": "new\n", "place": None, "place/new.txt": "new\n"},
    ),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("moment", ["replace", "tidy up"])
@pytest.mark.parametrize("writer", WRITERS)
def test_an_interruption_waits_until_all_is_written_and_tidy(
    writer: str, moment: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name = (os, "replace") if moment == "replace" else (tempfile.TemporaryDirectory, "cleanup")
    real = getattr(place, name)

    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(number)
        real(*arguments)

    monkeypatch.setattr(place, name, interrupted)
    write, expected = WRITERS[writer]
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert snapshot(tmp_path) == expected
