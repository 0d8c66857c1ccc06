"""`difflut infer` and what it stands on, against PyTorch."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import difflut
from difflut.errors import DataError
from difflut.models import SimpleFeedForward
from difflut_compiler.cli import app
from difflut_compiler.driver import CompileRequest, compile_model
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.graph_file import graph_to_json
from difflut_compiler.infer import load_predictor, make_predictor, round_to_words
from difflut_compiler.ops import Compare, Input, Output
from difflut_compiler.output import write_output
from difflut_compiler.report import documents
from tests.compiler.random_graphs import Shape, make_graph, random_inputs


@pytest.fixture(scope="module")
def data() -> torch.Tensor:
    """Features (300, 4), some of them beyond what the model's input format holds."""
    return torch.randn(300, 4, generator=torch.Generator().manual_seed(3)) * 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, data: torch.Tensor) -> Path:
    config = difflut.ModelConfig(
        model_type="feedforward",
        layer_type="random",
        node_type="dwn",
        encoder_config={"name": "thermometer", "num_bits": 5},
        node_input_dim=4,
        layer_widths=[40, 30],
        num_classes=3,
    )
    model = SimpleFeedForward(config)
    model.fit_encoder(data[:100])
    path = tmp_path_factory.mktemp("model") / "model.pth"
    difflut.save_model(model, path)
    return path


@pytest.fixture(scope="module")
def compiled(model: Path) -> Path:
    result = compile_model(CompileRequest(model, "c", "network", simulator=None, count_luts=False))
    folder = model.parent / "compiled"
    write_output(folder, {"c": result.plan.all_files}, documents(result))
    return folder


def expected_classes(model: Path, data: torch.Tensor) -> list[int]:
    with torch.no_grad():
        classes: list[int] = difflut.load_model(model).eval().predict(data).tolist()
    return classes


def infer(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["infer", *map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("numpy_alone", [False, True])
def test_a_model_and_what_it_was_compiled_to_answer_as_torch_does(
    model: Path, compiled: Path, data: torch.Tensor, numpy_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if numpy_alone:
        monkeypatch.setenv("DIFFLUT_KERNELS", "torch")
    for path in (model, compiled):
        predictor = load_predictor(path)
        assert (predictor.network is None) == numpy_alone
        assert predictor.predict(data.numpy())["class_index"].tolist() == expected_classes(model, data)


def test_a_graph_takes_integers(tmp_path: Path) -> None:
    graph = make_graph(Shape(signed=True), seed=1)
    path = tmp_path / "graph.json"
    path.write_text(graph_to_json(graph))
    inputs = random_inputs(graph, 50)
    found = load_predictor(path).predict(inputs.astype(np.float32))
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in graph.evaluate(inputs).items()
    }


def write_csv(path: Path, data: torch.Tensor, labels: list[str] | None, *, header: bool) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow([*"abcd", *(["class"] if labels else [])])
        for index, row in enumerate(data.tolist()):
            writer.writerow([*row, *([labels[index]] if labels else [])])


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_rows_of_a_csv_file(model: Path, data: torch.Tensor, tmp_path: Path, header: bool, labelled: bool) -> None:
    classes = expected_classes(model, data)
    labels = [str(index if row % 4 else (index + 1) % 3) for row, index in enumerate(classes)]  # three of four right
    write_csv(tmp_path / "rows.csv", data, labels if labelled else None, header=header)
    out = tmp_path / "predictions.csv"
    found = json.loads(infer(model, "--data", tmp_path / "rows.csv", "-o", out, "--json"))
    assert found["samples"] == 300
    assert found["accuracy"] == (0.75 if labelled else None)
    assert found["outputs"] == str(out)
    assert out.read_text().splitlines() == ["class_index", *map(str, classes)]


def test_rows_of_an_npz_file(model: Path, data: torch.Tensor, tmp_path: Path) -> None:
    classes = expected_classes(model, data)
    path = tmp_path / "rows.npz"
    np.savez(path, x=data.numpy().reshape(300, 2, 2))
    assert json.loads(infer(model, "--data", path, "--json"))["outputs"] == {"class_index": classes}
    np.savez(path, x=data.numpy(), y=np.array(classes))
    assert "300 samples, 100.00% of them right" in infer(model, "--data", path)
    np.savez(path, x_train=np.zeros((2, 4)), x_test=data.numpy(), y_test=np.array(classes), class_names=["0", "1", "2"])
    assert json.loads(infer(model, "--data", path, "--threads", "2", "--json"))["accuracy"] == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros((2, 4))}, "neither an array 'x' nor"),
        ({"x": np.zeros((2, 5))}, "there are 5 features, the network reads 4"),
        ({"x": np.zeros((2, 4)), "y": np.array([0])}, "x has 2 samples but y has 1"),
        ({"x": np.zeros((2, 4)), "y": np.array([0, 3])}, "y holds labels beyond 0 to 2"),
        ({"x": np.zeros((2, 4)), "y": np.array([0, 1]), "class_names": ["a", "b", "c"]}, "the network has"),
        ({"x": np.array([["one"]])}, "expected numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        difflut.data.load_samples(str(tmp_path / "rows.npz"), 4, ["0", "1", "2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "there are 3 columns; the network reads 4 features"),
        ("1,2,3,4,9\n", "line 1: '9' is no class of the network"),
        ("1,2,three,4\n1,2,3,4\n", "line 1, column '2': 'three' is not a finite number"),
        ("", "the file is empty"),
    ],
)
def test_tables_that_do_not_fit_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        difflut.data.load_samples(str(tmp_path / "rows.csv"), 4, ["0", "1", "2"])


def test_other_files_are_refused() -> None:
    with pytest.raises(DataError, match="neither digits nor the path"):
        difflut.data.load_samples("rows.txt", 4, [])


def test_words_that_float32_does_not_hold_are_refused(tmp_path: Path) -> None:
    graph = LutGraph("network", ["input", "encoder", "output"])
    word = graph.add(Input("x", 32), origin=Origin("input", 0))
    bit = graph.add(Compare(16777217), (word,), origin=Origin("encoder", 0))
    graph.add(Output("y"), (bit,), origin=Origin("output", 0))
    (tmp_path / "wide.json").write_text(graph_to_json(graph))
    with pytest.raises(CompilerError, match=r"wide\.json: the input x has 32 bits"):
        load_predictor(tmp_path / "wide.json")


def test_what_is_no_number_is_refused_without_compiled_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFLUT_KERNELS", "torch")
    graph = make_graph(Shape(features=2), seed=1)
    with pytest.raises(CompilerError, match="hold a NaN"):
        make_predictor(graph).predict(np.full((3, 2), np.nan, dtype=np.float32))


def test_rounding_to_words_is_that_of_the_input_format() -> None:
    graph = make_graph(Shape(features=1, bits=4, signed=True), seed=1)
    reals = np.array([[0.125], [0.375], [-0.125], [9.0], [-9.0], [0.3]], dtype=np.float32)
    expected = difflut.InputFormat(4, True, 0.25).to_integers(torch.from_numpy(reals))
    assert round_to_words(graph, reals, 0.25).tolist() == expected.tolist()
