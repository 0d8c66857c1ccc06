"""Output folders that no compile wrote, or that somebody changed, are refused in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difflut import save_model
from difflut_compiler.compiled import load_compiled
from difflut_compiler.errors import CompilerError
from tests.compiler.models import make_model
from tests.compiler.test_compile import run


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    save_model(make_model(), folder / "model.pth")
    code, _, error = run("compile", folder / "model.pth", "-t", "json", "-o", folder / "out")
    assert code == 0, error
    return folder / "out"


@pytest.fixture
def compiled_folder(compiled: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(compiled, tmp_path / "out"))


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_text()))))

    return apply


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no rungs": (edit("certificate.json", lambda old: {}), "no result of this compiler"),
    "rungs that are none": (edit("certificate.json", lambda old: {**old, "rungs": [1]}), "no result of this compiler"),
    "a failed rung": (
        edit("certificate.json", lambda old: {**old, "rungs": [{"status": "failed"}]}),
        "check .* failed",
    ),
    "a report that is a number": (edit("report.json", lambda old: 3), "no result of this compiler"),
    "other files": (edit("report.json", lambda old: {**old, "files": []}), "is not what was compiled"),
    "a file elsewhere": (edit("report.json", lambda old: {**old, "files": ["../report.json"]}), "no name of a file"),
    "a file that is not there": (edit("report.json", lambda old: {**old, "files": ["a.v"]}), "no compiled network"),
    "an odd name": (edit("report.json", lambda old: {**old, "top": "a; b"}), "not a portable identifier"),
    "deep JSON": (lambda folder: _write(folder / "report.json", "[" * 100_000), "no readable JSON file"),
}


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_refused(change: str, compiled_folder: Path) -> None:
    load_compiled(compiled_folder)
    apply, message = CHANGES[change]
    apply(compiled_folder)
    with pytest.raises(CompilerError, match=message):
        load_compiled(compiled_folder)
