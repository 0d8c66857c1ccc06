"""The tables of training times in the documentation are those of the measurements beside the benchmark."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def training_speed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("training_speed", ROOT / "benchmarks" / "training_speed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "training_speed", module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_docs_is_that_of_the_figures(training_speed: ModuleType) -> None:
    figures = json.loads((ROOT / "benchmarks/training_speed.json").read_text(encoding="utf-8"))
    table = training_speed.format_table(figures)
    assert table in (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert list(figures["cases"]) == training_speed.LAYERS + training_speed.NETWORKS


def test_the_readme_says_what_the_table_says(training_speed: ModuleType) -> None:
    figures = json.loads((ROOT / "benchmarks/training_speed.json").read_text(encoding="utf-8"))
    rows = [line.split("|") for line in training_speed.format_table(figures).splitlines()[2:]]
    claimed = re.search(
        r"takes (\d+) to (\d+) times less processor time .* (\d+) to (\d+)\s+times less than under `torch.compile`",
        (ROOT / "README.md").read_text(encoding="utf-8"),
    )
    assert claimed
    for column, extremes in ((6, claimed.group(1, 2)), (8, claimed.group(3, 4))):
        ratios = [float(ratio) for row in rows for ratio in re.findall(r"([\d.]+)×", row[column])]
        assert extremes == (str(int(min(ratios))), str(int(max(ratios))))


def test_ratios_are_to_the_fastest_peer(training_speed: ModuleType) -> None:
    def took(milliseconds: float, megabytes: float = 1) -> dict[str, float]:
        return {"median_ms": milliseconds, "min_ms": milliseconds / 2, "megabytes": megabytes}

    case = {
        "multilinear": took(2, 10),
        "hard": took(1, 20),
        "multilinear, torch": took(8),
        "hard, torch": took(6),
        "torchlogix-warp": took(40, 60),
        "torchlogix-light": took(30, 80),
        "torchlogix-warp, compiled": took(9),
        "llnn": {"failed": "no memory"},
    }
    row = training_speed.format_table({"cases": {"layer-2-128": case}}).splitlines()[-1]
    assert row == (
        "| layer-2-128 | 2.00 (1.00) | 1.00 (0.50) | 8.0, 6.0 | 30.0 (torchlogix-light) | 15.0×, 30.0× "
        "| 9.0 (torchlogix-warp, compiled) | 4.5×, 9.0× | 10, 20 | 60 |"
    )
