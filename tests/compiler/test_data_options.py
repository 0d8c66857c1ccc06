"""Who measures a trained model on its data reads them as training did: the same label column, the same test part."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

import difflut
from difflut.data import note_options, read_options
from difflut.errors import DataError
from difflut_compiler.cli import app
from difflut_compiler.frontend import LoadedModel, load_model

OPTIONS = {"label_column": "verdict", "test_fraction": 0.4, "seed": 7}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes at random, in the first column: a model knows those of its training rows alone."""
    generator = torch.Generator().manual_seed(5)
    path = tmp_path_factory.mktemp("data") / "random.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["verdict", *"abcdef"])
        for values in torch.randn(120, 6, generator=generator).tolist():
            rows.writerow([["no", "yes"][int(torch.randint(2, (), generator=generator))], *values])
    return path


@pytest.fixture(scope="module")
def trained(table: Path) -> tuple[Path, dict[str, Any]]:
    """A model file and what training said of it."""
    config = {
        "data": {"source": "csv", "path": str(table), "options": OPTIONS},
        "model": {
            "model_type": "feedforward",
            "layer_type": "random",
            "node_type": "dwn",
            "encoder_config": {"name": "thermometer", "num_bits": 8},
            "node_input_dim": 6,
            "layer_widths": [200],
        },
        "training": {"epochs": 20, "validation_fraction": 0.05},
    }
    path = table.with_name("config.yaml")
    path.write_text(yaml.safe_dump(config))
    result = run("train", path, "-o", table.with_name("model"))
    return table.with_name("model") / "model.pth", result


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def loaded(trained: tuple[Path, dict[str, Any]]) -> LoadedModel:
    return load_model(trained[0])


def test_a_compile_checks_the_test_rows_of_training(trained: tuple[Path, dict[str, Any]], table: Path) -> None:
    data = loaded(trained).load_data(str(table))
    right = loaded(trained).answers(data.inputs).class_index == data.labels
    assert len(right) == 48
    assert right.mean() == pytest.approx(trained[1]["test_accuracy"])
    assert len(loaded(trained).load_training_data(str(table)).labels) == 72


def test_publishing_states_the_accuracy_of_training(
    trained: tuple[Path, dict[str, Any]], table: Path, tmp_path: Path
) -> None:
    published = run("publish", trained[0], "--name", "random", "--data", table, "-o", tmp_path)
    assert published["test_accuracy"] == pytest.approx(trained[1]["test_accuracy"])
    assert difflut.load_model(published["weights"]).config.metadata["data"] == {"source": "csv", "options": OPTIONS}


def test_infer_finds_the_classes_where_training_found_them(trained: tuple[Path, dict[str, Any]], table: Path) -> None:
    dataset = difflut.load_dataset("csv", table, **OPTIONS)
    model = difflut.load_model(trained[0])
    right = sum(
        int((model.predict(x) == y).sum())
        for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test))
    )
    found = run("infer", trained[0], "--data", table)
    assert (found["samples"], found["accuracy"]) == (120, right / 120)


def test_options_of_another_source_are_not_taken() -> None:
    noted = note_options({"note": "kept"}, "csv", OPTIONS)
    assert noted["note"] == "kept"
    assert read_options(noted, "csv") == OPTIONS
    assert read_options(noted, "digits") == read_options({}, "csv") == {}
    assert note_options(None, "digits", {}) == {}


@pytest.mark.parametrize("options", [7, [1], {1: 2}])
def test_notes_of_another_form_are_refused(options: object) -> None:
    with pytest.raises(DataError, match=r"metadata\.data\.options"):
        read_options({"data": {"source": "csv", "options": options}}, "csv")
