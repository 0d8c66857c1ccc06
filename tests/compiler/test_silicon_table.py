"""The table about networks in silicon: its figures are those of the results that it leaves behind."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("silicon_table", ROOT / "benchmarks" / "silicon_table.py")
assert spec is not None
assert spec.loader is not None
silicon_table = importlib.util.module_from_spec(spec)
sys.modules["silicon_table"] = silicon_table
spec.loader.exec_module(silicon_table)


def test_a_row_adds_up_its_parts() -> None:
    row = silicon_table.Row(
        name="tiny",
        accuracy=0.98125,
        samples=160,
        proven=True,
        luts_by_part={
            "encoder": 100,
            "layers.0": 2000,
            "layers.1": 300,
            "class_counts": 40,
            "argmax": 5,
            "interface": 1,
        },
        depth=7,
        timings=(silicon_table.Timing("layers", 123.4, 5, 40.5), silicon_table.Timing("none", 30.2, 0, 33.1)),
    )
    heading, line, cells = silicon_table.table([row]).splitlines()
    assert heading.count("|") == line.count("|") == cells.count("|")
    assert [cell.strip() for cell in cells.strip("|").split("|")] == [
        *("tiny", "98.12%", "100", "2,300", "40", "5", "1", "2,446", "7"),
        *("123 MHz, 40 ns (5 cycles)", "30 MHz, 33 ns (0 cycles)"),
    ]


def test_unproven_networks_are_marked() -> None:
    row = silicon_table.Row("x", 0.5, 10, False, {"encoder": 1}, 1, ())
    assert "50.00% (not all checks passed)" in silicon_table.table([row])


def test_results_are_only_used_for_the_same_model(tmp_path: Path) -> None:
    model = tmp_path / "m.pth"
    model.write_bytes(b"one")
    out = tmp_path / "out"
    assert not silicon_table.is_of_model(out, model)
    out.mkdir()
    # The digest of b"one", by sha256sum.
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    (out / "certificate.json").write_text(f'{{"model_sha256": "{digest}"}}')
    assert silicon_table.is_of_model(out, model)
    model.write_bytes(b"two")
    assert not silicon_table.is_of_model(out, model)


def test_equal_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["silicon_table.py", str(tmp_path / "a" / "m.pth"), str(tmp_path / "b" / "m.pth"), "--data", "digits"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="must have different names"):
        silicon_table.main()
