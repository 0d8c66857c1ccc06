"""The description from which a model is built."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from difflut.errors import ConfigError
from difflut.input_format import InputFormat
from difflut.layers.layer_config import LayerConfig
from difflut.models.base_config import BaseModelConfig
from difflut.nodes.base_node import MAX_INPUT_DIM, MAX_TABLE_ENTRIES
from difflut.nodes.utils.regularizer_settings import read_regularizers
from difflut.registry import REGISTRY

MAX_INPUT_SIZE = 2**20
MAX_ENCODED_BITS = 2**24
MAX_LAYER_WIDTH = 2**22
MAX_LAYERS = 64
MAX_CLASSES = 4096
MAX_SEED = 2**62
MAX_TEMPERATURE = 1e9


@dataclass
class ModelConfig(BaseModelConfig):
    """Structure of a network, the settings that may change after training, and what it expects as input.

    Parameters
    ----------
    model_type, layer_type, node_type : registered names.
    encoder_config : ``name`` of the encoder, and its arguments, ``num_bits`` among them.
    node_input_dim : inputs per node, 1 to 16.
    layer_widths : nodes per layer, first layer first.
    num_classes : classes the network tells apart.
    runtime : settings that keep trained weights valid: ``output_tau``, the fields of `LayerConfig`, ``regularizers``
        by name, and those of the layer and node family (``routing_tau`` for learnable, ``temperature`` for
        probabilistic).
    pretrained, pretrained_name : reserved for published weights; this version ships none and refuses true.
    dataset : name of the data set, for information.
    input_size : features per sample; if not given, taken from the data that fit the encoder.
    seed : fixes wiring and start values; layer i uses ``seed + i``.
    node_kwargs, layer_kwargs : further arguments of the node family and of the layer.
    input_format : ``bits``, ``signed``, ``scale`` of `InputFormat`; if not given, inferred from the data that fit the
        encoder.
    class_names : one name per class; numbers if not given.
    params : further arguments of the kind of model; which ones, its class says.

    Raises
    ------
    ConfigError : a field has a wrong type, an unknown name or a value out of its range; the message names the field.
    """

    model_type: str
    layer_type: str
    node_type: str
    encoder_config: dict[str, Any]
    node_input_dim: int
    layer_widths: list[int]
    num_classes: int
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

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        self._check_names()
        self._check_sizes()
        self._check_encoder()
        self._check_runtime()
        self._check_descriptions()
        _check_keys("params", self.params)
        REGISTRY.get_model(self.model_type).check_params(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        if not isinstance(values, dict):
            raise ConfigError(f"The model configuration must be a table of fields, not {type(values).__name__}.")
        known = [entry.name for entry in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"Unknown model field {key!r}; known fields: {', '.join(known)}.")
        for name in known[:7]:  # the seven fields without a default
            if name not in values:
                raise ConfigError(f"The model field {name!r} is missing.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _check_names(self) -> None:
        _check_choice("model_type", self.model_type, REGISTRY.list_models())
        _check_choice("layer_type", self.layer_type, REGISTRY.list_layers())
        _check_choice("node_type", self.node_type, REGISTRY.list_nodes())

    @property
    def outputs_per_node(self) -> int:
        """``node_kwargs["output_dim"]``, 1 where it is left out; what is no positive integer the nodes refuse."""
        output_dim = self.node_kwargs.get("output_dim", 1) if isinstance(self.node_kwargs, dict) else 1
        return output_dim if type(output_dim) is int and output_dim > 0 else 1

    def _check_sizes(self) -> None:
        _check_integer("node_input_dim", self.node_input_dim, 1, MAX_INPUT_DIM)
        _check_integer("num_classes", self.num_classes, 1, MAX_CLASSES)
        _check_integer("seed", self.seed, 0, MAX_SEED)
        if self.input_size is not None:
            _check_integer("input_size", self.input_size, 1, MAX_INPUT_SIZE)
        widths = self.layer_widths
        if not isinstance(widths, list) or not 1 <= len(widths) <= MAX_LAYERS:
            raise ConfigError(f"layer_widths must be a list of 1 to {MAX_LAYERS} integers.")
        for index, width in enumerate(widths):
            _check_integer(f"layer_widths[{index}]", width, 1, MAX_LAYER_WIDTH)
        if sum(widths) * self.outputs_per_node * 2**self.node_input_dim > MAX_TABLE_ENTRIES:
            raise ConfigError(
                f"layer_widths with node_input_dim {self.node_input_dim} need more than {MAX_TABLE_ENTRIES} "
                f"table entries; choose smaller ones."
            )

    def _check_encoder(self) -> None:
        if not isinstance(self.encoder_config, dict) or "name" not in self.encoder_config:
            raise ConfigError("encoder_config must be a table with a name, e.g. {name: thermometer, num_bits: 4}.")
        _check_keys("encoder_config", self.encoder_config)
        _check_choice("encoder_config.name", self.encoder_config["name"], REGISTRY.list_encoders())
        encoder = REGISTRY.get_encoder(self.encoder_config["name"])
        num_bits = self.encoder_config.get("num_bits")
        bits = _check_integer("encoder_config.num_bits", num_bits, encoder.min_num_bits, encoder.max_num_bits)
        if max(bits, encoder.count_thresholds(bits)) * (self.input_size or 1) > MAX_ENCODED_BITS:
            raise ConfigError(
                f"input_size * encoder_config.num_bits must be at most {MAX_ENCODED_BITS}, and so must the thresholds "
                f"of all features together."
            )

    def _check_runtime(self) -> None:
        _check_keys("runtime", self.runtime)
        layer, node = REGISTRY.get_layer(self.layer_type), REGISTRY.get_node(self.node_type)
        of_layer_config = [entry.name for entry in fields(LayerConfig)]
        known = ["output_tau", *layer.runtime_keys, *node.runtime_keys, *of_layer_config, "regularizers"]
        for key, value in self.runtime.items():
            if key not in known:
                raise ConfigError(
                    f"Unknown setting runtime.{key} for a {self.layer_type} layer of {self.node_type} nodes; "
                    f"known: {', '.join(known)}."
                )
            if key in of_layer_config:
                self._check_layer_setting(key, value)
            elif key == "regularizers":
                self._check_regularizers(value)
            elif type(value) not in (int, float) or not 0 < value <= MAX_TEMPERATURE:
                raise ConfigError(f"runtime.{key} is {value!r}; it must be a number above 0 up to {MAX_TEMPERATURE:g}.")

    @staticmethod
    def _check_layer_setting(key: str, value: object) -> None:
        try:
            setattr(LayerConfig(), key, value)
        except ValueError as error:
            raise ConfigError(f"runtime.{error}") from error

    @staticmethod
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

    def _check_descriptions(self) -> None:
        _check_keys("node_kwargs", self.node_kwargs)
        _check_keys("layer_kwargs", self.layer_kwargs)
        if type(self.pretrained) is not bool:
            raise ConfigError(f"pretrained is {self.pretrained!r}; it must be true or false.")
        for name in ("pretrained_name", "dataset"):
            if getattr(self, name) is not None and type(getattr(self, name)) is not str:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be a text.")
        if self.input_format is not None:
            self._check_input_format(self.input_format)
        names = self.class_names
        if names is not None and not (
            isinstance(names, list) and len(names) == self.num_classes and all(type(name) is str for name in names)
        ):
            raise ConfigError(f"class_names must be a list of {self.num_classes} texts, one per class.")

    @staticmethod
    def _check_input_format(values: dict[str, Any]) -> None:
        if not isinstance(values, dict) or set(values) != {"bits", "signed", "scale"}:
            raise ConfigError("input_format must be a table with exactly the fields bits, signed and scale.")
        InputFormat(**values)


def _check_integer(name: str, value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be an integer from {low} to {high}.")
    return value


def _check_choice(name: str, value: object, choices: list[str]) -> None:
    if type(value) is not str or value not in choices:
        raise ConfigError(f"{name} is {value!r}; available: {', '.join(choices)}.")


def _check_keys(name: str, value: object) -> None:
    if not isinstance(value, dict) or not all(type(key) is str for key in value):
        raise ConfigError(f"{name} must be a table with names as keys.")
