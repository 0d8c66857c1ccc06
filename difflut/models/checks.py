"""What every kind of model configuration checks, and the limits that keep a hostile file from allocating much."""

from __future__ import annotations

from typing import Any

from difflut.errors import ConfigError
from difflut.input_format import InputFormat
from difflut.registry import REGISTRY

MAX_INPUT_SIZE = 2**20
MAX_ENCODED_BITS = 2**24
MAX_LAYER_WIDTH = 2**22
MAX_LAYERS = 64
MAX_CLASSES = 4096
MAX_SEED = 2**62


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """Return `value`; a ConfigError names the field unless it is an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be an integer from {low} to {high}.")
    return value


def check_choice(name: str, value: object, choices: list[str]) -> None:
    """Raise a ConfigError that names the field and the choices unless `value` is one of them."""
    if type(value) is not str or value not in choices:
        raise ConfigError(f"{name} is {value!r}; available: {', '.join(choices)}.")


def check_keys(name: str, value: object) -> None:
    """Raise a ConfigError that names the field unless `value` is a table with texts as keys."""
    if not isinstance(value, dict) or not all(type(key) is str for key in value):
        raise ConfigError(f"{name} must be a table with names as keys.")


def check_encoder(name: str, encoder: object, num_bits: object, input_size: int | None, where: str) -> None:
    """Check an encoder's name and number of bits; a ConfigError calls them `name` and `where`, as the config does."""
    check_choice(name, encoder, REGISTRY.list_encoders())
    encoder_class = REGISTRY.get_encoder(str(encoder))
    bits = check_integer(where, num_bits, encoder_class.min_num_bits, encoder_class.max_num_bits)
    if max(bits, encoder_class.count_thresholds(bits)) * (input_size or 1) > MAX_ENCODED_BITS:
        raise ConfigError(
            f"input_size * {where} must be at most {MAX_ENCODED_BITS}, and so must the thresholds of all features "
            f"together."
        )


def check_input(input_size: object, input_format: object) -> None:
    """Check what a config says about the input of a model, None where it is not known yet; else a ConfigError."""
    if input_size is not None:
        check_integer("input_size", input_size, 1, MAX_INPUT_SIZE)
    if input_format is not None:
        if not isinstance(input_format, dict) or set(input_format) != {"bits", "signed", "scale"}:
            raise ConfigError("input_format must be a table with exactly the fields bits, signed and scale.")
        InputFormat(**input_format)


def check_class_names(names: Any, num_classes: int) -> None:
    """Raise a ConfigError unless there is one name per class; None for numbers."""
    if names is not None and not (
        isinstance(names, list) and len(names) == num_classes and all(type(name) is str for name in names)
    ):
        raise ConfigError(f"class_names must be a list of {num_classes} texts, one per class.")
