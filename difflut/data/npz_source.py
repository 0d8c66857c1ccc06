"""Data sets in NumPy archives."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from difflut.data.dataset import Dataset
from difflut.errors import DataError

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path) -> Dataset:
    """Load arrays x_train, y_train, x_test, y_test and, if present, class_names from an ``.npz`` file.

    Samples of any shape are flattened, and their shape is noted; labels are integers from 0. Nothing pickled is read.

    Raises
    ------
    DataError : the file cannot be read, or an array is missing or of the wrong kind.
    """
    arrays = read_arrays(path, (*_ARRAYS, "class_names"))
    for name in _ARRAYS:
        if name not in arrays:
            raise DataError(f"{path}: the array {name!r} is missing; expected {', '.join(_ARRAYS)}.")
    y_train, y_test = to_labels(path, "y_train", arrays), to_labels(path, "y_test", arrays)
    if "class_names" in arrays:
        names = [str(name) for name in arrays["class_names"].ravel()]
    else:
        names = [str(label) for label in range(max(y_train.tolist() + y_test.tolist(), default=-1) + 1)]
    x_train, x_test = to_features(path, "x_train", arrays), to_features(path, "x_test", arrays)
    sample_shape = arrays["x_train"].shape[1:]
    return Dataset(x_train, y_train, x_test, y_test, names, path.stem, sample_shape)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return those arrays of an ``.npz`` file that have one of these names; a DataError if it is no such file."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.ndarray):
                return {name: archive[name] for name in names if name in archive}
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror}).") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: the file is damaged or not an .npz archive of plain arrays.") from error
    raise DataError(f"{path}: this is a single array; expected an .npz archive.")


def to_features(path: Path, name: str, arrays: dict[str, np.ndarray]) -> Tensor:
    """Return an array as float32 (samples, features); a DataError if it holds something else than numbers."""
    array = arrays[name]
    if array.dtype.kind not in "biuf" or array.ndim < 1:
        raise DataError(f"{path}: {name} has type {array.dtype}; expected numbers.")
    return torch.from_numpy(array.reshape(len(array), math.prod(array.shape[1:])).astype(np.float32))


def to_labels(path: Path, name: str, arrays: dict[str, np.ndarray]) -> Tensor:
    """Return an array as int64 (samples,); a DataError if it is no row of integers."""
    array = arrays[name]
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise DataError(f"{path}: {name} has type {array.dtype} and shape {array.shape}; expected a row of integers.")
    return torch.from_numpy(array.astype(np.int64))
