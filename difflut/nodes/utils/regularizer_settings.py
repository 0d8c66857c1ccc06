"""Which regularisers a bank of nodes has, and with which weights."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from difflut.registry import REGISTRY

if TYPE_CHECKING:
    from difflut.nodes.base_node import LutNode


@dataclass(frozen=True)
class WeightedRegularizer:
    """A regulariser with its weight and further arguments.

    Parameters
    ----------
    function : called as ``function(node, **arguments)``, and with ``inputs`` if it has such a parameter.
    weight : factor of its value.
    """

    function: Callable[..., Tensor]
    weight: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)

    def __call__(self, node: LutNode, inputs: Tensor | None) -> Tensor:
        """Return the weighted value, a 0-d tensor."""
        arguments = dict(self.arguments)
        if "inputs" in inspect.signature(self.function).parameters:
            arguments["inputs"] = inputs
        return self.weight * self.function(node, **arguments)


def read_regularizers(settings: object) -> dict[str, WeightedRegularizer]:
    """Read the settings of a bank's regularisers.

    Parameters
    ----------
    settings : None, a list of registered names, or a table ``{name: value}`` with values of these forms:

        - the weight, a number;
        - a function of a node, with weight 1;
        - a list ``[function or name, weight, arguments]`` whose end may be left out;
        - a table ``{"fn": function or name, "weight": weight, "kwargs": arguments}`` any part of which may be left
          out, and which may have arguments beside ``kwargs``: ``{"weight": weight, argument: ...}``.

        Where there is no function, `name` is a registered one.

    Raises
    ------
    ValueError : an unknown name or argument, or a weight below 0.
    TypeError : a value of none of these forms.
    """
    if settings is None:
        return {}
    if isinstance(settings, list | tuple):
        settings = dict.fromkeys(settings, 1.0)
    if not isinstance(settings, dict) or not all(type(name) is str for name in settings):
        raise TypeError(f"regularizers is {settings!r}; it must be a list of names or a table with names as keys.")
    return {name: _read_entry(name, value) for name, value in settings.items()}


def _read_entry(name: str, value: Any) -> WeightedRegularizer:
    if callable(value):
        return WeightedRegularizer(value)
    if isinstance(value, dict):
        beside = {key: entry for key, entry in value.items() if key not in {"fn", "weight", "kwargs"}}
        arguments = value.get("kwargs", {})
        if beside and isinstance(arguments, dict):
            arguments = {**arguments, **beside}
        return _assemble(name, value.get("fn", name), value.get("weight", 1.0), arguments)
    if isinstance(value, list | tuple) and 1 <= len(value) <= 3:
        defaults: list[Any] = [name, 1.0, {}]
        function, weight, arguments = list(value) + defaults[len(value) :]
        return _assemble(name, function, weight, arguments)
    return _assemble(name, name, value, {})


def _assemble(name: str, function: Any, weight: Any, arguments: Any) -> WeightedRegularizer:
    if isinstance(function, str):
        function = REGISTRY.get_regularizer(function)
    if not callable(function):
        raise TypeError(f"regularizers.{name} has {function!r} where a function or its name belongs.")
    if type(weight) not in (int, float) or not 0 <= weight < math.inf:
        raise ValueError(f"regularizers.{name} has the weight {weight!r}; it must be a number of at least 0.")
    if not isinstance(arguments, dict):
        raise TypeError(f"regularizers.{name} has the arguments {arguments!r}; they must be a table.")
    known = inspect.signature(function).parameters
    for argument in arguments:
        if argument not in known or argument in {"node", "inputs"}:
            raise ValueError(f"regularizers.{name} has no argument {argument!r}.")
    return WeightedRegularizer(function, weight, dict(arguments))
