"""Plots: what is drawn is what the files hold."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from difflut_compiler import plots
from difflut_compiler.compiled import load_compiled
from difflut_compiler.statistics import layer_statistics
from tests.compiler.test_compile import refused, run
from tests.compiler.test_page import compiled_folder, made_up_result

__all__ = ["compiled_folder"]

EPOCHS = [
    {"epoch": 1, "train_loss": 0.9, "eval_train_accuracy": 0.5, "validation_accuracy": 0.4},
    {"epoch": 2, "train_loss": 0.25, "eval_train_accuracy": 0.75, "validation_accuracy": 0.625},
]


@pytest.fixture
def training(tmp_path: Path) -> Path:
    folder = tmp_path / "training"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"epochs": EPOCHS}))
    return folder


def test_curves_are_the_metrics(training: Path) -> None:
    loss, accuracy = plots.draw_curves([training]).axes
    drawn = [np.asarray(line.get_xydata()).tolist() for line in (*loss.lines, *accuracy.lines)]
    assert drawn == [[[1, 0.9], [2, 0.25]], [[1, 50], [2, 75]], [[1, 40], [2, 62.5]]]


def test_accuracy_is_drawn_against_what_all_networks_have(compiled_folder: Path, tmp_path: Path) -> None:
    first, second = (Path(shutil.copytree(compiled_folder / "out", tmp_path / name)) for name in ("a", "b"))
    report = json.loads((first / "report.json").read_text())
    accuracy = 100 * report["accuracy"]["graph"]

    def points() -> tuple[str, list[list[float]]]:
        (axes,) = plots.draw_accuracy([first, second]).axes
        return axes.get_xlabel(), [np.asarray(line.get_xydata()).tolist()[0] for line in axes.lines]

    estimated = report["optimised"]["estimated_lut6"]
    assert points() == ("LUT-6, estimated", [[estimated, accuracy]] * 2)
    for folder in (first, second):
        (folder / "synth" / "ecp5").mkdir(parents=True)
        (folder / "synth" / "ecp5" / "result.json").write_text(made_up_result(folder).to_json())
    assert points() == ("LUT-4 on ecp5, after synthesis", [[3333, accuracy]] * 2)


def test_tables_are_counted(compiled_folder: Path) -> None:
    layers = layer_statistics(load_compiled(compiled_folder / "out").graph)
    axes = plots.draw_tables([compiled_folder / "out"]).axes
    assert len(axes) == 3 * len(layers)
    for layer, (entropy, fan_in, fan_out) in zip(layers, zip(*[iter(axes)] * 3, strict=True), strict=True):
        for drawn in (entropy, fan_in, fan_out):
            assert sum(bar.get_height() for bar in drawn.patches) == len(layer.entropy)
        bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in fan_in.patches}
        assert bars == {n: layer.fan_in.tolist().count(n) for n in set(layer.fan_in.tolist())}


def test_files_are_what_their_names_say(training: Path, tmp_path: Path) -> None:
    for name in ("curves.png", "one.svg", "two.svg"):
        code, output, error = run("plot", "curves", training, "-o", tmp_path / name)
        assert code == 0, error
        assert name in output
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert ET.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_what_cannot_be_plotted_is_refused(
    training: Path, compiled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = compiled_folder / "out"
    assert "there is no plot 'pie'" in refused(2, "plot", "pie", training, "-o", tmp_path / "x.png")
    assert "neither a .png nor an .svg" in refused(2, "plot", "curves", training, "-o", tmp_path / "x.pdf")
    assert "not the folder of a training" in refused(2, "plot", "curves", out, "-o", tmp_path / "x.png")
    assert "one compiled network" in refused(2, "plot", "tables", out, out, "-o", tmp_path / "x.png")
    assert "cannot be written" in refused(2, "plot", "curves", training, "-o", tmp_path / "no" / "x.png")
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    assert "matplotlib is not installed" in refused(3, "plot", "curves", training, "-o", tmp_path / "x.png")
