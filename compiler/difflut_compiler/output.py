"""Writing the result of a compile into a folder: all of it or nothing, and never over somebody else's files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from difflut_compiler.errors import CompilerError

CERTIFICATE = "certificate.json"
RTL_FOLDER = "rtl"


def check_output_folder(folder: Path) -> None:
    """Make sure that results can go into ``folder``: it is new, empty, or holds an earlier result, and is writable."""
    if folder.is_file():
        raise CompilerError(f"the output folder {folder} is a file; choose another name")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CERTIFICATE).is_file():
        raise CompilerError(f"the output folder {folder} holds files that are no earlier result; choose another folder")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise CompilerError(f"the output folder {folder} cannot be written: {error.strerror}") from None


def write_output(folder: Path, rtl: Mapping[str, str], documents: Mapping[str, str]) -> None:
    """Replace the contents of ``folder``; the certificate, last of ``documents``, appears only when all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CERTIFICATE).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
        fresh = Path(scratch) / RTL_FOLDER
        fresh.mkdir()
        for name, text in rtl.items():
            (fresh / name).write_text(text)
        shutil.rmtree(folder / RTL_FOLDER, ignore_errors=True)
        if rtl:
            os.replace(fresh, folder / RTL_FOLDER)
        for name, text in documents.items():
            document = Path(scratch) / name
            document.write_text(text)
            os.replace(document, folder / name)
