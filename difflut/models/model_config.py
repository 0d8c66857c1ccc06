"""The description of a network of layers of one kind."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from difflut.errors import ConfigError
from difflut.models.base_config import BaseModelConfig
from difflut.models.checks import (
    MAX_CLASSES,
    MAX_LAYER_WIDTH,
    MAX_LAYERS,
    MAX_SEED,
    check_choice,
    check_class_names,
    check_encoder,
    check_input,
    check_integer,
    check_keys,
)
from difflut.models.runtime import START_VALUES, check_runtime
from difflut.nodes.base_node import MAX_INPUT_DIM, MAX_TABLE_ENTRIES
from difflut.registry import REGISTRY
from difflut.utils.plain_values import check_plain
from difflut.utils.yaml_files import read_yaml

_REQUIRED = ("layer_type", "node_type", "encoder_config", "node_input_dim", "layer_widths", "num_classes")
_MISSING: Any = None
"""Stands for a field that must be given, flat or in ``params``."""


@dataclass
class ModelConfig(BaseModelConfig):
    """Structure of a network, the settings that may change after training, and what it expects as input.

    Every field after `model_type` may also be given as an entry of `params`; there it is found and made a field.

    Parameters
    ----------
    model_type, layer_type, node_type : registered names.
    encoder_config : ``name`` of the encoder, and its arguments, ``num_bits`` among them.
    node_input_dim : inputs per node, 1 to 16.
    layer_widths : nodes per layer, first layer first.
    num_classes : classes the network tells apart.
    runtime : settings that keep trained weights valid, see `difflut.models.runtime.check_runtime`.
    pretrained, pretrained_name : whether `build_model` loads published weights, and their name.
    dataset : name of the data set, for information.
    input_size : features per sample; if not given, taken from the data that fit the encoder.
    seed : fixes wiring and start values; layer i uses ``seed + i``.
    node_kwargs, layer_kwargs : further arguments of the node family and of the layer.
    input_format : ``bits``, ``signed``, ``scale`` of `InputFormat`; if not given, inferred from the data that fit the
        encoder.
    class_names : one name per class; numbers if not given.
    params : further arguments of the kind of model; which ones, its class says.
    metadata : whatever else there is to say, for information; plain values only.

    Raises
    ------
    ConfigError : a field is missing, has a wrong type, an unknown name or a value out of its range; the message names
        the field.
    """

    model_type: str
    layer_type: str = _MISSING
    node_type: str = _MISSING
    encoder_config: dict[str, Any] = _MISSING
    node_input_dim: int = _MISSING
    layer_widths: list[int] = _MISSING
    num_classes: int = _MISSING
    runtime: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    pretrained_name: str | None = None
    dataset: str | None = None
    input_size: int | None = None
    seed: int = 42
    node_kwargs: dict[str, Any] = field(default_factory=dict)
    layer_kwargs: dict[str, Any] = field(default_factory=dict)
    input_format: dict[str, Any] | None = None
    class_names: list[str] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_keys("params", self.params)
        self._take_fields_from_params()
        for name in ("model_type", *_REQUIRED):
            if getattr(self, name) is _MISSING:
                raise ConfigError(f"The model field {name!r} is missing.")
        self.validate()

    def validate(self) -> None:
        check_choice("model_type", self.model_type, REGISTRY.list_models())
        check_choice("layer_type", self.layer_type, REGISTRY.list_layers())
        check_choice("node_type", self.node_type, REGISTRY.list_nodes())
        check_input(self.input_size, self.input_format)
        self._check_sizes()
        self._check_encoder()
        check_runtime(self.runtime)
        self._check_descriptions()
        REGISTRY.get_model(self.model_type).check_params(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        if not isinstance(values, dict):
            raise ConfigError(f"The model configuration must be a table of fields, not {type(values).__name__}.")
        known = [entry.name for entry in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"Unknown model field {key!r}; known fields: {', '.join(known)}.")
        if "model_type" not in values:
            raise ConfigError("The model field 'model_type' is missing.")
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a config from a YAML file; entries that are no fields become ``metadata``, with a UserWarning.

        Raises
        ------
        FileNotFoundError : there is no such file.
        ConfigError : the file is not YAML or does not describe a model.
        """
        values = read_yaml(path)
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: the model configuration must be a table of fields.")
        known = {entry.name for entry in fields(cls)}
        others = {key: value for key, value in values.items() if key not in known}
        if others:
            warnings.warn(
                f"{path}: {', '.join(map(repr, others))} are no model fields and were kept as metadata.",
                UserWarning,
                stacklevel=2,
            )
            values = {key: value for key, value in values.items() if key in known}
            values["metadata"] = {**(values.get("metadata") or {}), **others}
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe_encoder(self) -> dict[str, Any]:
        return self.encoder_config

    def structure(self) -> dict[str, Any]:
        names = ("model_type", *_REQUIRED, "input_size", "node_kwargs", "layer_kwargs", "params")
        structure = {name: getattr(self, name) for name in names}
        structure["node_kwargs"] = {name: value for name, value in self.node_kwargs.items() if name not in START_VALUES}
        return structure

    def get_layer_depth(self) -> int:
        """Return the number of layers."""
        return len(self.layer_widths)

    def save_to_pretrained(self, name: str, pretrained_dir: str | Path = "pretrained") -> Path:
        """Write the config as that of the pretrained model `name` and return the path of its YAML file.

        Its weights belong beside it, under the same name with the suffix ``.pth``; see `BaseLUTModel.save_weights`.
        """
        path = Path(pretrained_dir) / self.model_type / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(self, pretrained=True, pretrained_name=name).to_yaml(path)
        return path

    @property
    def outputs_per_node(self) -> int:
        """``node_kwargs["output_dim"]``, 1 where it is left out; what is no positive integer the nodes refuse."""
        output_dim = self.node_kwargs.get("output_dim", 1) if isinstance(self.node_kwargs, dict) else 1
        return output_dim if type(output_dim) is int and output_dim > 0 else 1

    def _take_fields_from_params(self) -> None:
        """Turn the nested form of a config into the flat one."""
        movable = [entry.name for entry in fields(self) if entry.name not in ("model_type", "params")]
        defaults = {entry.name: entry.default for entry in fields(self)}
        params = dict(self.params)
        for name in movable:
            if name in params:
                if getattr(self, name) not in (defaults[name], {}, params[name]):
                    raise ConfigError(f"{name} is given twice, as a field and in params, with different values.")
                setattr(self, name, params.pop(name))
        self.params = params

    def _check_sizes(self) -> None:
        check_integer("node_input_dim", self.node_input_dim, 1, MAX_INPUT_DIM)
        check_integer("num_classes", self.num_classes, 1, MAX_CLASSES)
        check_integer("seed", self.seed, 0, MAX_SEED)
        widths = self.layer_widths
        if not isinstance(widths, list) or not 1 <= len(widths) <= MAX_LAYERS:
            raise ConfigError(f"layer_widths must be a list of 1 to {MAX_LAYERS} integers.")
        for index, width in enumerate(widths):
            check_integer(f"layer_widths[{index}]", width, 1, MAX_LAYER_WIDTH)
        if sum(widths) * self.outputs_per_node * 2**self.node_input_dim > MAX_TABLE_ENTRIES:
            raise ConfigError(
                f"layer_widths with node_input_dim {self.node_input_dim} need more than {MAX_TABLE_ENTRIES} "
                f"table entries; choose smaller ones."
            )

    def _check_encoder(self) -> None:
        encoder = self.encoder_config
        if not isinstance(encoder, dict) or "name" not in encoder:
            raise ConfigError("encoder_config must be a table with a name, e.g. {name: thermometer, num_bits: 4}.")
        check_keys("encoder_config", encoder)
        check_encoder(
            "encoder_config.name",
            encoder["name"],
            encoder.get("num_bits"),
            self.input_size,
            "encoder_config.num_bits",
        )

    def _check_descriptions(self) -> None:
        for name in ("node_kwargs", "layer_kwargs", "params", "metadata"):
            check_keys(name, getattr(self, name))
        check_plain("metadata", self.metadata)
        if type(self.pretrained) is not bool:
            raise ConfigError(f"pretrained is {self.pretrained!r}; it must be true or false.")
        for name in ("pretrained_name", "dataset"):
            if getattr(self, name) is not None and type(getattr(self, name)) is not str:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be a text.")
        check_class_names(self.class_names, self.num_classes)
