"""Whether what was read from a JSON file is of the type that was written to it: a file may have been edited since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

LARGEST = 1e300


def find_misfit(value: Any, wanted: Any, place: str = "") -> str | None:
    """Where ``value`` is not what JSON makes of a value of a type, such as ``accuracy.confusion[0]``; None if nowhere.

    ``wanted`` is str, bool, int, float (a finite one), ``T | None``, ``Literal``, ``tuple[T, ...]``,
    ``Mapping[str, T]``, a dataclass, or a mapping from the names of fields to their types. A field more is a misfit.
    """
    if isinstance(wanted, Mapping) or is_dataclass(wanted):
        fields = wanted if isinstance(wanted, Mapping) else get_type_hints(wanted)
        return _find_in_object(value, fields, place)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Mapping:
        return _find_in_object(value, dict.fromkeys(value, arguments[1]) if isinstance(value, dict) else {}, place)
    if origin is tuple and isinstance(value, list):
        misfits = (find_misfit(one, arguments[0], f"{place}[{index}]") for index, one in enumerate(value))
        return next((misfit for misfit in misfits if misfit is not None), None)
    if origin is UnionType:
        return None if value is None else find_misfit(value, arguments[0], place)
    if origin is Literal:
        fits = value in arguments
    elif wanted is float:
        fits = type(value) in (int, float) and abs(value) <= LARGEST
    else:
        fits = type(value) is wanted
    return None if fits else place


def _find_in_object(value: Any, fields: Mapping[str, Any], place: str) -> str | None:
    if not isinstance(value, dict):
        return place
    for name in dict.fromkeys([*fields, *value]):
        inner = f"{place}.{name}" if place else name
        misfit = find_misfit(value[name], fields[name], inner) if name in value and name in fields else inner
        if misfit is not None:
            return misfit
    return None
