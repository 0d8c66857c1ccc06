"""What every description of a network says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import yaml

from difflut.errors import ConfigError
from difflut.registry import REGISTRY
from difflut.utils.yaml_files import read_yaml


class BaseModelConfig(ABC):
    """The description from which a model is built: what models, model files and training need to know of it.

    Attributes
    ----------
    model_type : registered name of the model class.
    num_classes : classes the network tells apart.
    runtime : settings that may change after training.
    input_size : features per sample; None until known.
    input_format : ``bits``, ``signed``, ``scale`` of `InputFormat`; None until known.
    class_names : one name per class; None for numbers.
    pretrained, pretrained_name : whether `build_model` loads published weights, and their name.
    """

    model_type: str
    num_classes: int
    runtime: dict[str, Any]
    input_size: int | None
    input_format: dict[str, Any] | None
    class_names: list[str] | None
    pretrained: bool = False
    pretrained_name: str | None = None

    @abstractmethod
    def validate(self) -> None:
        """Check every field; call it again after changing one. A ConfigError names the field."""

    @classmethod
    @abstractmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build a config from plain values; a ConfigError names the key that is missing, unknown or wrong."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return an independent copy as plain values, which `from_dict` reads."""

    @abstractmethod
    def describe_encoder(self) -> dict[str, Any]:
        """Return the ``name`` of the encoder and its arguments, ``num_bits`` among them."""

    @abstractmethod
    def structure(self) -> dict[str, Any]:
        """Return the fields on which shapes and meaning of weights depend, by name."""

    def find_difference(self, other: BaseModelConfig) -> str | None:
        """Say in which part of the structure two configs differ; None if the weights of one fit the other.

        An input size that is not known yet fits every other.
        """
        mine, theirs = self.structure(), other.structure()
        for name in sorted(mine.keys() | theirs.keys()):
            pair = (mine.get(name), theirs.get(name))
            if pair[0] != pair[1] and not (name == "input_size" and None in pair):
                return f"{name} is {pair[0]!r} here and {pair[1]!r} there"
        return None

    def is_compatible_with_weights(self, other: BaseModelConfig) -> bool:
        """Whether weights trained under the config `other` fit a model of this one."""
        return self.find_difference(other) is None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a config from a YAML file.

        Raises
        ------
        FileNotFoundError : there is no such file.
        ConfigError : the file is not YAML or does not describe a model.
        """
        return cls.from_dict(read_yaml(path))

    def to_yaml(self, path: str | Path) -> None:
        """Write the config so that `from_yaml` reads back an equal one."""
        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")


def read_model_config(values: Any) -> BaseModelConfig:
    """Build the config of any kind of model from plain values with a ``model_type``.

    Raises
    ------
    ConfigError : the values do not describe a model; the message names the key.
    """
    return _config_class(values).from_dict(values)


def read_config_file(path: str | Path) -> BaseModelConfig:
    """Read the config of any kind of model from a YAML file, as the ``from_yaml`` of its class does.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ConfigError : the file is not YAML or does not describe a model; the message names the key.
    """
    return _config_class(read_yaml(path)).from_yaml(path)


def _config_class(values: Any) -> type[BaseModelConfig]:
    if not isinstance(values, dict):
        raise ConfigError(f"The model configuration must be a table of fields, not {type(values).__name__}.")
    if "model_type" not in values and "layers" not in values:
        raise ConfigError("The model field 'model_type' is missing.")
    name = values.get("model_type", "pipeline")  # only a pipeline lists its layers, and its files need no type
    if type(name) is not str or name not in REGISTRY.list_models():
        raise ConfigError(f"model_type is {name!r}; available: {', '.join(REGISTRY.list_models())}.")
    return REGISTRY.get_model(name).config_class
