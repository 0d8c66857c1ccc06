"""How its data set was read, noted in the metadata of a model, so that others read the same test data.

Without it, who measures a trained model on a file would split it in another way than training did, and measure on
samples that the model has learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from difflut.errors import DataError

_ENTRY = "data"


def note_options(metadata: Mapping[str, Any] | None, source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata with the options of a data source; as they are if there are none."""
    noted = {_ENTRY: {"source": source, "options": dict(options)}} if options else {}
    return {**(metadata or {}), **noted}


def read_options(metadata: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the options with which a model's data were read; none if nothing is noted, or of another source.

    Raises
    ------
    DataError : what is noted does not have the form that `note_options` gives it.
    """
    noted = metadata.get(_ENTRY)
    if not isinstance(noted, dict) or noted.get("source") != source:
        return {}
    options = noted.get("options")
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise DataError(f"The model's metadata.{_ENTRY}.options is {options!r}; expected a table of options.")
    return options
