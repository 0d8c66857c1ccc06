"""Settings of a model that may change after training, because its weights stay valid."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from difflut.errors import ConfigError
from difflut.layers.layer_config import LayerConfig
from difflut.models.checks import MAX_SEED, check_keys
from difflut.nodes.base_node import EVAL_MODES
from difflut.nodes.utils.regularizer_settings import read_regularizers
from difflut.registry import REGISTRY

MAX_TEMPERATURE = 1e9
START_VALUES = ("init_fn", "init_kwargs")
"""Settings that act when layers are built, and on nothing later."""
_OF_MODELS = ("output_tau", "eval_mode", "sampling_seed", "regularizers", *START_VALUES)
_OF_LAYER_CONFIG = tuple(entry.name for entry in fields(LayerConfig))


def check_runtime(runtime: Any) -> None:
    """Check runtime settings, whatever the kinds of layers and nodes of the model.

    They are ``output_tau`` (divides the votes), ``eval_mode`` and ``sampling_seed`` (see `LutNode`), ``regularizers``
    (by name), ``init_fn`` and ``init_kwargs`` (start values of nodes built later), the fields of `LayerConfig`, and
    what any registered layer or node family names in its ``runtime_keys``.

    Raises
    ------
    ConfigError : a key is unknown or its value not allowed; the message names the key.
    """
    check_keys("runtime", runtime)
    known = list_runtime_keys()
    for key, value in runtime.items():
        if key not in known:
            raise ConfigError(
                f"Unknown setting runtime.{key}; known: {', '.join(known)}. What belongs to the structure of nodes and "
                f"layers stands in node_kwargs and layer_kwargs."
            )
        _check_setting(key, value)


def list_runtime_keys() -> list[str]:
    """Return every key that runtime settings may have."""
    of_layers = {key for name in REGISTRY.list_layers() for key in REGISTRY.get_layer(name).runtime_keys}
    of_nodes = {key for name in REGISTRY.list_nodes() for key in REGISTRY.get_node(name).runtime_keys}
    return [*_OF_MODELS, *_OF_LAYER_CONFIG, *sorted(of_layers | of_nodes)]


def _check_setting(key: str, value: Any) -> None:
    if key in _OF_LAYER_CONFIG:
        _check_layer_setting(key, value)
    elif key == "regularizers":
        _check_regularizers(value)
    elif key == "eval_mode":
        if value not in EVAL_MODES:
            raise ConfigError(f"runtime.eval_mode is {value!r}; available: {', '.join(EVAL_MODES)}.")
    elif key == "sampling_seed":
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_SEED):
            raise ConfigError(f"runtime.sampling_seed is {value!r}; it must be an integer from 0, or null.")
    elif key == "init_fn":
        if type(value) is not str or value.lower() not in REGISTRY.list_initializers():
            raise ConfigError(f"runtime.init_fn is {value!r}; available: {', '.join(REGISTRY.list_initializers())}.")
    elif key == "init_kwargs":
        check_keys("runtime.init_kwargs", value)
    elif type(value) not in (int, float) or not 0 < value <= MAX_TEMPERATURE:
        raise ConfigError(f"runtime.{key} is {value!r}; it must be a number above 0 up to {MAX_TEMPERATURE:g}.")


def _check_layer_setting(key: str, value: object) -> None:
    try:
        setattr(LayerConfig(), key, value)
    except ValueError as error:
        raise ConfigError(f"runtime.{error}") from error


def _check_regularizers(settings: Any) -> None:
    try:
        read_regularizers(settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"runtime.{error}") from error
    for entry in settings.values() if isinstance(settings, dict) else ():
        function = entry[0] if isinstance(entry, list | tuple) else entry
        if callable(function.get("fn") if isinstance(function, dict) else function):
            raise ConfigError(
                "runtime.regularizers holds a function, which a model file cannot; register it with "
                "register_regularizer() and give its name."
            )
