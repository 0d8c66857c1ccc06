"""Output folders that no compile wrote, or that somebody changed, are refused in words."""

from __future__ import annotations

import functools
import json
import operator
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflut import save_model
from difflut_compiler.compiled import load_compiled
from difflut_compiler.errors import CompilerError
from difflut_compiler.figures import REPORT_FIELDS
from difflut_compiler.page import write_page
from tests.compiler.models import make_model
from tests.compiler.test_compile import run


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    save_model(make_model(features=4), folder / "model.pth")
    rows, labels = np.zeros((3, 4), np.float32), np.arange(3)
    np.savez(folder / "data.npz", x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    options = ("-t", "json", "-o", folder / "out", "--data", folder / "data.npz")
    code, _, error = run("compile", folder / "model.pth", *options)
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
        edit(
            "certificate.json",
            lambda old: {**old, "rungs": [{**rung, "status": "failed"} for rung in old["rungs"]]},
        ),
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


WRONG: tuple[object, ...] = (None, -1, [])


def test_every_part_of_a_document_that_another_value_replaces_is_read_or_refused(compiled_folder: Path) -> None:
    """Whatever stands in report.json and certificate.json: the page is written, or the error says what is wrong."""
    for name in ("report.json", "certificate.json"):
        text = (compiled_folder / name).read_text()
        for place in places(json.loads(text)):
            for value in WRONG:
                (compiled_folder / name).write_text(json.dumps(replaced(json.loads(text), place, value)))
                with suppress(CompilerError):
                    write_page(load_compiled(compiled_folder))
        (compiled_folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "place", "value", "named"),
    [
        ("report.json", ("accuracy",), 5, "accuracy"),
        ("report.json", ("accuracy", "confusion", 0), [1], "accuracy.confusion"),
        ("report.json", ("first_samples", "outputs", "class_index"), [1], "first_samples.outputs"),
        ("report.json", ("first_samples", "features"), [], "first_samples.features"),
        ("report.json", ("latency_cycles",), 10**9, "latency_cycles"),
        ("report.json", ("estimates", "ecp5", "estimated_luts"), "many", "estimates.ecp5.estimated_luts"),
        ("report.json", ("seconds",), None, "seconds"),
        ("certificate.json", ("rungs", 0, "status"), "fine", "rungs[0].status"),
        ("certificate.json", ("rungs", 0, "more"), "long", "rungs[0].more"),
    ],
)
def test_a_value_that_no_compile_writes_is_named(
    name: str, place: tuple[str | int, ...], value: object, named: str, compiled_folder: Path
) -> None:
    edit(name, lambda old: replaced(old, place, value))(compiled_folder)
    code, _, error = run("report", compiled_folder)
    assert code == 2
    assert f"{name} holds no result of this compiler: {named} is not what a compile writes there" in error
    assert len(error.splitlines()) == 1


def test_the_types_of_the_fields_are_those_of_a_report(compiled_folder: Path) -> None:
    report = json.loads((compiled_folder / "report.json").read_text())
    assert report.keys() == REPORT_FIELDS.keys()


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value within a value; of a list, to the first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*place, name)
        yield from places(one, (*place, name))


def replaced(value: Any, place: tuple[str | int, ...], new: object) -> Any:
    """``value`` with ``new`` at a place within it."""
    within = functools.reduce(operator.getitem, place[:-1], value)
    within[place[-1]] = new
    return value
