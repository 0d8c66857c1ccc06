"""Data sets in CSV files."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import torch

from difflut.data.dataset import Dataset, split_stratified
from difflut.errors import DataError


def load_csv(path: Path, *, label_column: str | int = -1, test_fraction: float = 0.2, seed: int = 42) -> Dataset:
    """Load a comma-separated table of numbers and one column of labels, split stratified by class.

    The first row is a header if the label column is given by name or none of the row's feature cells is a number.
    Labels may be any text; classes are numbered in sorted order, numerically if all labels are integers.

    Parameters
    ----------
    label_column : name (with a header) or index of the label column, negative ones counting from the end.
    test_fraction : share of the samples that become test data.
    seed : fixes the split.

    Raises
    ------
    DataError : the file cannot be read or a cell is not a finite number; the message names line and column.
    """
    rows = read_rows(path)
    if len(rows[0][1]) < 2:
        raise DataError(f"{path}: there is a single column; expected features and a label, separated by commas.")
    column = find_column(path, rows[0][1], label_column)
    header = isinstance(label_column, str) or is_header(rows[0][1], column)
    samples = rows[1:] if header else rows
    names = rows[0][1] if header else [str(index) for index in range(len(rows[0][1]))]
    features = [parse_features(path, line, cells, names, column) for line, cells in samples]
    x = torch.tensor(features, dtype=torch.float32)
    labels = [parse_label(path, line, cells[column], names[column]) for line, cells in samples]
    class_names = _sort_classes(labels)
    numbers = {name: index for index, name in enumerate(class_names)}
    y = torch.tensor([numbers[label] for label in labels], dtype=torch.int64)
    train, test = split_stratified(y, test_fraction, seed)
    return Dataset(x[train], y[train], x[test], y[test], class_names, path.stem)


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with its line number, all of one length.

    Raises
    ------
    DataError : the file cannot be read, is empty, or its rows differ in length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror}).") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the file is not UTF-8 text in CSV form ({error}).") from error
    if not rows:
        raise DataError(f"{path}: the file is empty.")
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise DataError(f"{path}, line {line}: there are {len(cells)} cells, expected {width} as in the first row.")
    return rows


def find_column(path: Path, first_row: list[str], label_column: str | int) -> int:
    """Return the index of a column given by name or index; a DataError says what columns there are."""
    if isinstance(label_column, str):
        names = [cell.strip() for cell in first_row]
        if names.count(label_column) != 1:
            raise DataError(f"{path}: no single column is called {label_column!r}; columns: {', '.join(names)}.")
        return names.index(label_column)
    if not -len(first_row) <= label_column < len(first_row):
        raise DataError(f"{path}: there is no column {label_column}; the file has {len(first_row)} columns.")
    return label_column % len(first_row)


def is_header(cells: list[str], label: int | None) -> bool:
    """Return whether no cell of a row is a number, whatever the label's column holds."""
    return not any(_is_number(cell) for index, cell in enumerate(cells) if index != label)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def parse_features(path: Path, line: int, cells: list[str], names: list[str], label: int | None) -> list[float]:
    """Return the numbers of a row without the label's column; a DataError names the cell that is none."""
    features = []
    for index, cell in enumerate(cells):
        if index == label:
            continue
        value = float(cell) if _is_number(cell) else math.nan
        if not math.isfinite(value):
            raise DataError(f"{path}, line {line}, column {names[index].strip()!r}: {cell!r} is not a finite number.")
        features.append(value)
    return features


def parse_label(path: Path, line: int, cell: str, name: str) -> str:
    """Return a label as text; a DataError names the line of an empty one."""
    if not cell.strip():
        raise DataError(f"{path}, line {line}, column {name.strip()!r}: the label is empty.")
    return cell.strip()


def _sort_classes(labels: list[str]) -> list[str]:
    classes = set(labels)
    if all(re.fullmatch(r"[+-]?[0-9]+", label) for label in classes):
        return sorted(classes, key=int)
    return sorted(classes)
