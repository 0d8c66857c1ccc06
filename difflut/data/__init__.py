"""Data sets for classification, by name of their source.

A new source is one module with a function that returns a `Dataset`, and one line in `SOURCES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

from difflut.data.csv_source import load_csv
from difflut.data.dataset import Dataset, split_stratified
from difflut.data.digits_source import load_digits
from difflut.data.noted_options import note_options, read_options
from difflut.data.npz_source import load_npz
from difflut.data.samples import Samples, load_samples
from difflut.data.shift_images import shift_images
from difflut.errors import DataError

__all__ = [
    "SOURCES",
    "Dataset",
    "Samples",
    "load_dataset",
    "load_samples",
    "note_options",
    "read_options",
    "shift_images",
    "split_stratified",
]

SOURCES: dict[str, Callable[..., Dataset]] = {"csv": load_csv, "digits": load_digits, "npz": load_npz}
"""What loads each source, by its name."""


def load_dataset(source: str, path: str | Path | None = None, **options: Any) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    source : ``digits`` (scikit-learn's 8x8 digits), ``npz`` or ``csv``.
    path : the file, for the sources that read one.
    options : as the source's own function takes them, e.g. ``label_column`` for ``csv``.

    Raises
    ------
    DataError : source, path or options are not usable, or the data are not; the message says where.
    """
    if source not in SOURCES:
        raise DataError(f"Unknown data source {source!r}; available: {', '.join(sorted(SOURCES))}.")
    load = SOURCES[source]
    known = inspect.signature(load).parameters
    kinds = get_type_hints(load)
    for name, value in options.items():
        if name not in known or name == "path":
            raise DataError(f"The data source {source!r} has no option {name!r}.")
        kind = int | float if kinds[name] is float else kinds[name]
        if isinstance(value, bool) or not isinstance(value, kind):
            raise DataError(
                f"The option {name!r} of the data source {source!r} is {value!r}; expected {known[name].annotation}."
            )
    if "path" not in known:
        if path is not None:
            raise DataError(f"The data source {source!r} reads no file; leave the data path out.")
        return load(**options)
    if path is None:
        raise DataError(f"The data source {source!r} needs the path of a file; give a data path.")
    return load(Path(path), **options)
