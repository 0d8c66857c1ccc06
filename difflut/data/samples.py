"""Samples to run a network on, whose classes may be known or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from difflut.data.csv_source import find_column, is_header, parse_features, parse_label, read_rows
from difflut.data.digits_source import load_digits
from difflut.data.npz_source import read_arrays, to_features, to_labels
from difflut.errors import DataError


@dataclass(frozen=True)
class Samples:
    """Rows of features, float32 (samples, features), and their classes, int64 (samples,), if these are known."""

    features: Tensor
    labels: Tensor | None


def load_samples(source: str, features: int, class_names: Sequence[str], *, label_column: str | int = -1) -> Samples:
    """Load samples for a network.

    Parameters
    ----------
    source : ``digits``, or the path of a ``.csv`` file whose rows are the features and perhaps the name of a class, or
        of an ``.npz`` file with the arrays ``x`` and perhaps ``y``, class numbers; of a data set with ``x_test`` and
        ``y_test``, these are taken.
    features : number of features that the network reads.
    class_names : of the network; labels are not read if there are none.
    label_column : of a ``.csv`` file with a column more than features: the name or index of that of the classes.

    Raises
    ------
    DataError : the data cannot be read, or do not fit the network; the message says where.
    """
    path, names = Path(source), list(class_names)
    if source == "digits":
        digits = load_digits()
        samples, names = Samples(digits.x_test, digits.y_test), list(digits.class_names)
    elif path.suffix.lower() == ".csv":
        samples = _load_csv(path, features, names, label_column)
    elif path.suffix.lower() == ".npz":
        samples, names = _load_npz(path, names)
    else:
        raise DataError(f"The data {source!r} are neither digits nor the path of an .npz or .csv file.")
    if samples.features.shape[1] != features:
        raise DataError(f"{source}: there are {samples.features.shape[1]} features, the network reads {features}.")
    if samples.labels is None or not class_names:
        return Samples(samples.features, None)
    if names != list(class_names):
        raise DataError(f"{source}: the classes are {names}, the network has {list(class_names)}.")
    return samples


def _load_csv(path: Path, features: int, class_names: list[str], label_column: str | int) -> Samples:
    rows = read_rows(path)
    width = len(rows[0][1])
    if width not in (features, features + 1):
        raise DataError(
            f"{path}: there are {width} columns; the network reads {features} features, and there may be a class."
        )
    label = find_column(path, rows[0][1], label_column) if width > features else None
    header = (label is not None and isinstance(label_column, str)) or is_header(rows[0][1], label)
    names = rows[0][1] if header else [str(index) for index in range(width)]
    lines = rows[1:] if header else rows
    table = [parse_features(path, line, cells, names, label) for line, cells in lines]
    x = torch.tensor(table, dtype=torch.float32)
    if label is None or not class_names:
        return Samples(x.reshape(len(lines), features), None)
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = [(line, parse_label(path, line, cells[label], names[label])) for line, cells in lines]
    for line, name in labels:
        if name not in numbers:
            raise DataError(f"{path}, line {line}: {name!r} is no class of the network: {', '.join(class_names)}.")
    y = torch.tensor([numbers[name] for _, name in labels], dtype=torch.int64)
    return Samples(x.reshape(len(lines), features), y)


def _load_npz(path: Path, class_names: list[str]) -> tuple[Samples, list[str]]:
    arrays = read_arrays(path, ("x", "y", "x_test", "y_test", "class_names"))
    x_name, y_name = ("x", "y") if "x" in arrays else ("x_test", "y_test")
    if x_name not in arrays:
        raise DataError(f"{path}: there is neither an array 'x' nor an array 'x_test'.")
    x = to_features(path, x_name, arrays)
    names = [str(name) for name in arrays["class_names"].ravel()] if "class_names" in arrays else class_names
    if y_name not in arrays:
        return Samples(x, None), names
    y = to_labels(path, y_name, arrays)
    if len(y) != len(x):
        raise DataError(f"{path}: {x_name} has {len(x)} samples but {y_name} has {len(y)}.")
    if class_names and len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(class_names):
        raise DataError(f"{path}: {y_name} holds labels beyond 0 to {len(class_names) - 1}.")
    return Samples(x, y), names
