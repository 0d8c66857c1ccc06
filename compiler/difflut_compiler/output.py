"""Writing the result of a compile into a folder: all of it or nothing, and never over somebody else's files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from difflut_compiler.errors import CompilerError
from difflut_compiler.interruptions import interruptions_postponed

Files = Mapping[str, str | bytes]
"""Files by name."""

CERTIFICATE = "certificate.json"
GRAPH_FILE = "graph.json"
REPORT = "report.json"
REPORT_PAGE = "report.html"
MARKER_TEXT = "A compile made this folder and may replace what is in it.\n"
RTL_FOLDER = "rtl"
RESULT_FOLDERS = (RTL_FOLDER, "netlist", "c", "graph")
"""Where the files of a target go; what an earlier compile for another target left in any of them goes away."""
SYNTHESIS_FOLDER = "synth"
"""Where results of synthesis go; they belong to the hardware beside them and go when it is replaced."""
MARKER = ".difflut-output"
"""A file that says: a compile made this folder and the next may replace it, also if the first was cut short."""


def check_output_folder(folder: Path) -> None:
    """Make sure that results can go into ``folder``: it is new, empty, or a result's (see ``MARKER``), and writable."""
    if folder.is_file():
        raise CompilerError(f"the output folder {folder} is a file; choose another name")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise CompilerError(f"the output folder {folder} holds files that are no earlier result; choose another folder")
    try:
        existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise CompilerError(f"the output folder {folder} cannot be written: {error.strerror}") from None


@interruptions_postponed()
def write_output(folder: Path, results: Mapping[str, Files], documents: Files) -> None:
    """Replace the contents of ``folder``; the certificate, last of ``documents``, appears only when all is there.

    ``results`` are files by the folder, one of :data:`RESULT_FOLDERS`, that they go into.
    """
    assert set(results) <= set(RESULT_FOLDERS), results
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CERTIFICATE).unlink(missing_ok=True)
        (folder / MARKER).write_text(MARKER_TEXT)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
            for name, files in {**results, ".": documents}.items():
                _write_files(Path(scratch) / name, files)
            for name in (*RESULT_FOLDERS, SYNTHESIS_FOLDER):
                shutil.rmtree(folder / name, ignore_errors=True)
            for name in [*results, *documents]:
                os.replace(Path(scratch) / name, folder / name)
    except OSError as error:
        raise CompilerError(f"the output folder {folder} cannot be written: {error.strerror}") from None


@interruptions_postponed()
def write_file(path: Path, content: str | bytes) -> None:
    """Write or replace one file of a result, complete or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
            new = Path(scratch) / path.name
            new.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(new, path)
    except OSError as error:
        raise CompilerError(f"{path} cannot be written: {error.strerror}") from None


@interruptions_postponed()
def replace_folder(folder: Path, contents: Path) -> None:
    """Put a copy of the folder ``contents`` in the place of ``folder``, complete or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as scratch:
            new = shutil.copytree(contents, Path(scratch) / "new")
            if folder.is_dir():
                os.replace(folder, Path(scratch) / "old")
            os.replace(new, folder)
    except OSError as error:
        raise CompilerError(f"the folder {folder} cannot be written: {error.strerror}") from None


def _write_files(folder: Path, files: Files) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
