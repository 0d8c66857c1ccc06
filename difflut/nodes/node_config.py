"""The arguments of a node family as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from difflut.nodes.utils.regularizer_settings import read_regularizers


@dataclass(frozen=True)
class NodeConfig:
    """What to build a node with: ``NodeClass(**config.to_dict())``, or ``node_kwargs=config`` of a layer.

    What is None or empty is left to the family's default, also within ``extra_params``.

    Parameters
    ----------
    input_dim, output_dim, init_fn, init_kwargs : as in `LutNode`.
    regularizers : as `read_regularizers` takes them.
    extra_params : arguments of the one family, e.g. ``{"degree": 3}``.

    Raises
    ------
    ValueError : a size is below 1, ``extra_params`` holds what has a field of its own, or a regulariser is unknown.
    TypeError : a field has the wrong type.
    """

    input_dim: int | None = None
    output_dim: int | None = None
    regularizers: Any = None
    init_fn: str | Callable[..., Any] | None = None
    init_kwargs: dict[str, Any] | None = None
    extra_params: dict[str, Any] | None = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("input_dim", "output_dim"):
            value = getattr(self, name)
            if value is not None and type(value) is not int:
                raise TypeError(f"NodeConfig: {name} is {value!r}; it must be an integer.")
            if value is not None and value < 1:
                raise ValueError(f"NodeConfig: {name} is {value}; it must be at least 1.")
        if self.init_fn is not None and not isinstance(self.init_fn, str) and not callable(self.init_fn):
            raise TypeError(f"NodeConfig: init_fn is {self.init_fn!r}; it must be a name or a function of a parameter.")
        for name in ("init_kwargs", "extra_params"):
            if not isinstance(getattr(self, name), dict | None):
                raise TypeError(f"NodeConfig: {name} is {getattr(self, name)!r}; it must be a table of arguments.")
        for name in [entry.name for entry in fields(self)]:
            if name in (self.extra_params or {}):
                raise ValueError(f"NodeConfig: extra_params holds {name!r}, which is a field of its own.")
        read_regularizers(self.regularizers)

    def to_dict(self) -> dict[str, Any]:
        """Return the keyword arguments for the family, an independent copy."""
        arguments = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "extra_params"}
        given = {name: value for name, value in arguments.items() if value is not None and value not in ({}, [], ())}
        extra = {name: value for name, value in (self.extra_params or {}).items() if value is not None}
        return {name: _copy_containers(value) for name, value in {**given, **extra}.items()}

    def copy(self) -> Self:
        """Return an independent config with the same settings."""
        return replace(self, **{entry.name: _copy_containers(getattr(self, entry.name)) for entry in fields(self)})


def _copy_containers(value: Any) -> Any:
    """Return a copy that shares nothing but what is in the innermost tables and lists, functions among them."""
    if isinstance(value, dict):
        return {key: _copy_containers(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy_containers(entry) for entry in value)
    return value
