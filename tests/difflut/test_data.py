"""Data sources."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difflut.data import Dataset, load_dataset, load_samples, shift_images, split_stratified
from difflut.errors import DataError


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.floats(0.05, 0.9), st.integers(0, 99))
def test_stratified_split(sizes: list[int], fraction: float, seed: int) -> None:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    first, second = split_stratified(labels, fraction, seed)
    assert sorted(first.tolist() + second.tolist()) == list(range(len(labels)))
    for label, size in enumerate(sizes):
        share = int((labels[second] == label).sum())
        assert 1 <= share <= size - 1
        assert abs(share - size * fraction) <= 1
    again = split_stratified(labels, fraction, seed)
    assert torch.equal(again[0], first)


def test_splits_that_cannot_be() -> None:
    with pytest.raises(DataError, match="share"):
        split_stratified(torch.tensor([0, 0]), 1.0, 0)
    with pytest.raises(DataError, match="too few"):
        split_stratified(torch.tensor([0, 1]), 0.5, 0)


def test_digits() -> None:
    data = load_dataset("digits")
    assert data.x_train.shape == (1438, 64)
    assert data.x_test.shape == (359, 64)
    assert data.x_train.dtype == torch.float32
    assert data.y_train.dtype == torch.int64
    assert float(data.x_train.max()) == 16
    assert data.class_names == [str(digit) for digit in range(10)]
    assert torch.equal(load_dataset("digits").x_test, data.x_test)
    assert not torch.equal(load_dataset("digits", seed=1).x_test, data.x_test)


def test_digits_without_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load_dataset("digits")


def write_npz(path: Path, **changes: Any) -> Path:
    arrays = {
        "x_train": np.arange(24, dtype=np.uint8).reshape(4, 2, 3),
        "y_train": np.array([0, 1, 2, 1], dtype=np.uint8),
        "x_test": np.ones((2, 2, 3), dtype=np.float64),
        "y_test": np.array([2, 0], dtype=np.int32),
    }
    np.savez(path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
    return path


def test_npz(tmp_path: Path) -> None:
    data = load_dataset("npz", write_npz(tmp_path / "toy.npz"))
    assert data.x_train.tolist() == np.arange(24.0).reshape(4, 6).tolist()
    assert data.x_train.dtype == data.x_test.dtype == torch.float32
    assert data.y_train.tolist() == [0, 1, 2, 1]
    assert data.y_test.dtype == torch.int64
    assert data.class_names == ["0", "1", "2"]
    assert data.name == "toy"
    named = load_dataset("npz", write_npz(tmp_path / "named.npz", class_names=np.array(["a", "b", "c", "d"])))
    assert named.class_names == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "'y_test' is missing"),
        ({"x_train": np.array([["a"] * 6] * 4)}, "x_train has type"),
        ({"y_train": np.array([0.0, 1.0, 2.0, 1.0])}, "y_train has type float64"),
        ({"y_train": np.array([0, 1])}, "4 samples"),
        ({"y_train": np.array([0, -1, 2, 1])}, "labels from -1 to 2"),
        ({"class_names": np.array(["a"])}, "expected 0 to 0"),
        ({"x_test": np.ones((2, 5))}, "6 features but x_test has 5"),
        (
            {"x_test": np.array([[1, 2, 3, 4, 5, 6], [1, 2, np.inf, 4, 5, 6]])},
            "x_test is not finite in row 1, feature 2",
        ),
        ({"x_train": np.zeros((0, 6)), "y_train": np.zeros(0, dtype=int)}, "x_train is empty"),
        ({"y_test": np.array([object(), object()])}, "damaged or not"),
    ],
)
def test_bad_npz_contents_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset("npz", write_npz(tmp_path / "toy.npz", **changes))


def test_bad_npz_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset("npz", tmp_path / "absent.npz")
    good = write_npz(tmp_path / "toy.npz").read_bytes()
    for name, data in {"cut": good[:300], "text": b"hello", "empty": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=name):
            load_dataset("npz", tmp_path / name)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        load_dataset("npz", tmp_path / "single.npy")


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows_of(data: Dataset) -> set[tuple[Any, ...]]:
    """All samples with their class names, whichever part they are in."""
    x = torch.cat([data.x_train, data.x_test]).tolist()
    y = torch.cat([data.y_train, data.y_test]).tolist()
    return {(*features, data.class_names[label]) for features, label in zip(x, y, strict=True)}


BODY = ["1,2.5,yes", "3,-4e1,no", "", "5, 6 ,yes", "7,8,no"]
ROWS = {(1.0, 2.5, "yes"), (3.0, -40.0, "no"), (5.0, 6.0, "yes"), (7.0, 8.0, "no")}


def test_csv_with_and_without_header(tmp_path: Path) -> None:
    plain = load_dataset("csv", write_csv(tmp_path / "plain.csv", *BODY), test_fraction=0.5)
    assert rows_of(plain) == ROWS
    assert plain.class_names == ["no", "yes"]
    assert len(plain.y_test) == 2
    headed = load_dataset("csv", write_csv(tmp_path / "headed.csv", "a,b,label", *BODY))
    assert rows_of(headed) == ROWS
    assert rows_of(load_dataset("csv", tmp_path / "headed.csv", label_column="label")) == ROWS
    numbered = write_csv(tmp_path / "numbered.csv", "0,1,label", *BODY)
    assert rows_of(load_dataset("csv", numbered, label_column="label")) == ROWS


def test_csv_numbers_are_float32_whatever_the_default_type(tmp_path: Path, default_type: torch.dtype) -> None:
    path = tmp_path / "table.csv"
    path.write_text("0.1,a\n0.2,b\n0.3,a\n0.4,b\n")
    assert torch.get_default_dtype() == default_type
    assert {load_dataset("csv", path).x_train.dtype, load_samples(str(path), 1, ["a", "b"]).features.dtype} == {
        torch.float32
    }


def test_csv_label_column_by_index_and_integer_classes_in_numeric_order(tmp_path: Path) -> None:
    lines = [f"{label},{value}" for label in (10, 9, -1) for value in range(4)]
    data = load_dataset("csv", write_csv(tmp_path / "t.csv", *lines), label_column=0)
    assert data.class_names == ["-1", "9", "10"]
    assert data.x_train.shape[1] == 1


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["1,2,a", "3,x,b"], {}, r"line 2, column '1': 'x' is not a finite number"),
        (["f,g,label", "1,2,a", "3,nan,b"], {}, r"line 3, column 'g': 'nan'"),
        (["f,g,label", "1,2,a", "", "3,,b"], {}, r"line 4, column 'g': ''"),
        (["1,2,a", "3,b"], {}, "line 2: there are 2 cells, expected 3"),
        (["1,?,a", "3,4,b"], {}, r"line 1, column '1': '\?'"),
        (["1,2,a", "3,4, "], {}, "line 2, column '2': the label is empty"),
        (["f,g,label", "1,2,a"], {"label_column": "class"}, "'class'; columns: f, g, label"),
        (["1,2,a"], {"label_column": 3}, "no column 3"),
        (["1", "2"], {}, "single column"),
        (["f,g,label"], {}, "too few"),
        ([], {}, "empty"),
    ],
)
def test_bad_csv_is_named_by_line_and_column(
    tmp_path: Path, lines: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset("csv", write_csv(tmp_path / "t.csv", *lines), **options)


def test_bad_csv_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset("csv", tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        load_dataset("csv", tmp_path / "binary.csv")


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'imagenet'; available: csv, digits, npz"):
        load_dataset("imagenet")
    with pytest.raises(DataError, match="needs the path"):
        load_dataset("csv")
    with pytest.raises(DataError, match="reads no file"):
        load_dataset("digits", tmp_path)
    with pytest.raises(DataError, match="no option 'colour'"):
        load_dataset("digits", colour="red")
    with pytest.raises(DataError, match=r"'test_fraction' of the data source 'digits' is 'half'; expected float"):
        load_dataset("digits", test_fraction="half")
    with pytest.raises(DataError, match=r"'label_column' .* is \['a'\]; expected str \| int"):
        load_dataset("csv", tmp_path / "t.csv", label_column=["a"])
    with pytest.raises(DataError, match=r"seed of the split is -1"):
        load_dataset("digits", seed=-1)


def test_sample_shapes(tmp_path: Path) -> None:
    images, labels = np.zeros((2, 3, 4), dtype=np.uint8), np.array([0, 1])
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    dataset = load_dataset("npz", tmp_path / "images.npz")
    assert dataset.sample_shape == (3, 4)
    assert replace(dataset, sample_shape=()).sample_shape == (12,)
    with pytest.raises(DataError, match=r"samples of shape \(5, 5\) do not have 12 features"):
        replace(dataset, sample_shape=(5, 5))


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 6)])
def test_shifted_images_are_the_same_ones_moved(shape: tuple[int, ...]) -> None:
    """Every image is one of the nine that a shift by up to one pixel makes, and all nine occur."""
    x = torch.rand(400, math.prod(shape)) + 0.1
    shifted = shift_images(x, shape, 1, torch.Generator().manual_seed(0)).numpy()
    height, width = shape[-2:]
    seen = set()
    for image, moved in zip(x.view(400, *shape).numpy(), shifted.reshape(400, *shape), strict=True):
        padded = np.pad(image, [(0, 0)] * (len(shape) - 2) + [(1, 1), (1, 1)])
        options = {(i, j): padded[..., i : i + height, j : j + width] for i in range(3) for j in range(3)}
        seen.add(next(move for move, option in options.items() if np.array_equal(option, moved)))
    assert len(seen) == 9
    assert torch.equal(shift_images(x, shape, 0, torch.Generator()), x)
