"""The description of a network layer by layer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from difflut.errors import ConfigError
from difflut.layers.base_layer import BaseLUTLayer
from difflut.layers.layer_config import LayerConfig
from difflut.models.base_config import BaseModelConfig
from difflut.models.checks import (
    MAX_CLASSES,
    MAX_ENCODED_BITS,
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
from difflut.models.runtime import check_runtime
from difflut.nodes.base_node import MAX_INPUT_DIM, MAX_TABLE_ENTRIES
from difflut.nodes.node_config import NodeConfig
from difflut.registry import REGISTRY
from difflut.utils.modules import GroupSum
from difflut.utils.plain_values import check_plain

_NOTES = ("name", "description", "version", "timestamp")
_ENCODER_KEYS = ("type", "params")
_LAYER_KEYS = ("name", "type", "node_type", "input_size", "output_size", "n", "seed", "layer_params", "node_params")
_OPTIONAL_LAYER_KEYS = ("layer_training", "node_init", "node_regularizers")
_GROUPSUM_KEYS = ("k", "tau", "use_randperm")


@dataclass
class PipelineConfig(BaseModelConfig):
    """A network as plain tables, each layer with its own kinds of wiring and nodes.

    Parameters
    ----------
    encoder : ``type``, a registered name, and ``params``, its arguments, ``num_bits`` among them.
    layers : a table per layer. Required are ``type`` and ``node_type``, registered names, ``input_size``, which is the
        width of what comes before, and ``output_size``, the number of nodes. ``n``, inputs per node, may be left out
        if ``node_params`` has ``input_dim``. Optional are ``name``, for people to read, ``seed`` (by default the
        pipeline's plus the layer's index), ``layer_params`` (further arguments of the layer), ``node_params``
        (``input_dim``, ``output_dim`` and arguments of the node family), ``layer_training`` (fields of
        `LayerConfig`), ``node_init`` (``initializer``, a registered name, and ``init_kwargs``; without it,
        ``init_fn`` and ``init_kwargs`` of `runtime` hold) and ``node_regularizers`` (as `read_regularizers` takes
        them, by name).
    groupsum : ``k``, ``tau`` and ``use_randperm`` of `GroupSum`; without, every output of the last layer is a class.
    seed : see above.
    runtime, input_format, class_names, metadata : as in `ModelConfig`. `from_dict` files the notes ``name``,
        ``description``, ``version`` and ``timestamp`` under metadata.
    dataset : name of the data set, for information.
    num_classes, input_size : what follows from layers, groupsum and encoder; if given, they must agree.

    Raises
    ------
    ConfigError : something is missing, unknown or not allowed; the message names it, as in ``layers[1].node_type``.
    """

    encoder: dict[str, Any]
    layers: list[dict[str, Any]]
    groupsum: dict[str, Any] | None = None
    seed: int = 42
    runtime: dict[str, Any] = field(default_factory=dict)
    input_format: dict[str, Any] | None = None
    class_names: list[str] | None = None
    dataset: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    num_classes: int = 0
    input_size: int | None = None
    model_type: str = "pipeline"

    def __post_init__(self) -> None:
        check_input(self.input_size, self.input_format)
        check_runtime(self.runtime)
        given = {"num_classes": self.num_classes or None, "input_size": self.input_size}
        self._check_encoder()
        self._check_layers()
        self.input_size = self.layers[0]["input_size"] // self.encoder["params"]["num_bits"]
        self.num_classes = self._count_classes()
        for name, value in given.items():
            if value not in (None, getattr(self, name)):
                raise ConfigError(f"{name} is {value!r}, but the pipeline has {getattr(self, name)}.")
        self.validate()

    def validate(self) -> None:
        check_choice("model_type", self.model_type, REGISTRY.list_models())
        check_integer("seed", self.seed, 0, MAX_SEED)
        check_input(self.input_size, self.input_format)
        check_runtime(self.runtime)
        self._check_encoder()
        self._check_layers()
        self._count_classes()
        check_class_names(self.class_names, self.num_classes)
        check_keys("metadata", self.metadata)
        check_plain("metadata", self.metadata)
        if self.dataset is not None and type(self.dataset) is not str:
            raise ConfigError(f"dataset is {self.dataset!r}; it must be a text.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        _check_table("The pipeline", values, (*(entry.name for entry in fields(cls)), *_NOTES), ("encoder", "layers"))
        values = copy.deepcopy(values)
        notes = {name: values.pop(name) for name in _NOTES if name in values}
        if notes:
            check_keys("metadata", values.setdefault("metadata", {}))
            values["metadata"].update(notes)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe_encoder(self) -> dict[str, Any]:
        return {**self.encoder["params"], "name": self.encoder["type"]}

    def structure(self) -> dict[str, Any]:
        keys = ("type", "node_type", "input_size", "output_size", "layer_params", "node_params")
        layers = [{key: layer[key] for key in keys if key in layer} for layer in self.layers]
        counts = [self.count_inputs_per_node(index) for index in range(len(layers))]
        groupsum = {key: value for key, value in (self.groupsum or {}).items() if key != "tau"}
        return {
            "model_type": self.model_type,
            "encoder": self.encoder,
            "layers": [{"n": n, **layer} for n, layer in zip(counts, layers, strict=True)],
            "groupsum": groupsum,
        }

    def count_inputs_per_node(self, index: int) -> int:
        """Return n of a layer."""
        layer = self.layers[index]
        n: int = layer.get("n", layer.get("node_params", {}).get("input_dim"))
        return n

    def count_outputs_per_node(self, index: int) -> int:
        """Return the outputs of each node of a layer."""
        outputs: int = self.layers[index].get("node_params", {}).get("output_dim", 1)
        return outputs

    def node_config(self, index: int) -> NodeConfig:
        """Return what the nodes of a layer are built with."""
        layer = self.layers[index]
        init = layer.get("node_init") or {
            "initializer": self.runtime.get("init_fn"),
            "init_kwargs": self.runtime.get("init_kwargs"),
        }
        params = dict(layer.get("node_params", {}))
        return NodeConfig(
            input_dim=params.pop("input_dim", None),
            output_dim=params.pop("output_dim", None),
            init_fn=init.get("initializer"),
            init_kwargs=init.get("init_kwargs"),
            regularizers=layer.get("node_regularizers"),
            extra_params=params,
        )

    def build_layer(self, index: int) -> BaseLUTLayer:
        """Return a layer as described."""
        layer = self.layers[index]
        with _naming(f"layers[{index}]"):
            return REGISTRY.get_layer(layer["type"])(
                layer["input_size"],
                layer["output_size"],
                layer["node_type"],
                n=self.count_inputs_per_node(index),
                node_kwargs=self.node_config(index),
                seed=layer.get("seed", self.seed + index),
                layer_config=LayerConfig(**layer.get("layer_training", {})),
                **layer.get("layer_params", {}),
            )

    def _check_encoder(self) -> None:
        _check_table("encoder", self.encoder, _ENCODER_KEYS, _ENCODER_KEYS)
        params = self.encoder["params"]
        check_keys("encoder.params", params)
        where = "encoder.params.num_bits"
        check_encoder("encoder.type", self.encoder["type"], params.get("num_bits"), self.input_size, where)
        with _naming("encoder.params"):
            REGISTRY.get_encoder(self.encoder["type"])(**params)

    def _check_layers(self) -> None:
        if not isinstance(self.layers, list) or not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ConfigError(f"layers must be a list of 1 to {MAX_LAYERS} tables.")
        table_entries = 0
        width: int | None = None
        for index, layer in enumerate(self.layers):
            table_entries += self._check_layer(f"layers[{index}]", index, layer)
            if width not in (None, layer["input_size"]):
                raise ConfigError(
                    f"layers[{index}].input_size is {layer['input_size']}, but the layer before it has {width} outputs."
                )
            width = layer["output_size"] * self.count_outputs_per_node(index)
        num_bits, first = self.encoder["params"]["num_bits"], self.layers[0]["input_size"]
        if first % num_bits:
            raise ConfigError(f"layers[0].input_size is {first}, no multiple of encoder.params.num_bits, {num_bits}.")
        if table_entries > MAX_TABLE_ENTRIES:
            raise ConfigError(f"layers need more than {MAX_TABLE_ENTRIES} table entries; choose smaller ones.")

    def _check_layer(self, where: str, index: int, layer: Any) -> int:
        """Check everything about a layer but its neighbours; return how many table entries it has."""
        required = ("type", "node_type", "input_size", "output_size")
        _check_table(where, layer, (*_LAYER_KEYS, *_OPTIONAL_LAYER_KEYS), required)
        check_choice(f"{where}.type", layer["type"], REGISTRY.list_layers())
        check_choice(f"{where}.node_type", layer["node_type"], REGISTRY.list_nodes())
        check_integer(f"{where}.input_size", layer["input_size"], 1, MAX_ENCODED_BITS)
        check_integer(f"{where}.output_size", layer["output_size"], 1, MAX_LAYER_WIDTH)
        if "seed" in layer:
            check_integer(f"{where}.seed", layer["seed"], 0, MAX_SEED)
        for key in ("layer_params", "node_params", "layer_training"):
            check_keys(f"{where}.{key}", layer.get(key, {}))
        init = layer.get("node_init", {})
        _check_table(f"{where}.node_init", init, ("initializer", "init_kwargs"), ("initializer",) if init else ())
        if self.count_inputs_per_node(index) is None:
            raise ConfigError(f"{where}.n is missing; give n, or input_dim in node_params.")
        n = check_integer(f"{where}.n", self.count_inputs_per_node(index), 1, MAX_INPUT_DIM)
        if layer.get("node_params", {}).get("input_dim", n) != n:
            raise ConfigError(f"{where}.node_params.input_dim is {layer['node_params']['input_dim']!r}, but n is {n}.")
        outputs = check_integer(f"{where}.node_params.output_dim", self.count_outputs_per_node(index), 1, 2**16)
        self._check_arguments(where, index, n)
        return int(layer["output_size"] * outputs * 2**n)

    def _check_arguments(self, where: str, index: int, n: int) -> None:
        """Let the constructors say what they think of the arguments, on a layer of one node."""
        layer = self.layers[index]
        _check_known(f"{where}.layer_params", layer.get("layer_params", {}), REGISTRY.get_layer(layer["type"]))
        with _naming(f"{where}.layer_training"):
            LayerConfig(**layer.get("layer_training", {}))
        with _naming(f"{where} (node_params, node_init, node_regularizers)"):
            REGISTRY.get_node(layer["node_type"])(**{"input_dim": n, **self.node_config(index).to_dict()})

    def _count_classes(self) -> int:
        last = len(self.layers) - 1
        width: int = self.layers[last]["output_size"] * self.count_outputs_per_node(last)
        if self.groupsum is None:
            return check_integer("the width of the last layer, without groupsum,", width, 1, MAX_CLASSES)
        _check_table("groupsum", self.groupsum, _GROUPSUM_KEYS, ("k",))
        classes = check_integer("groupsum.k", self.groupsum["k"], 1, MAX_CLASSES)
        with _naming("groupsum"):
            GroupSum(**self.groupsum).check_votes(width)
        return classes


def _check_table(where: str, value: Any, known: tuple[str, ...], required: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, not {type(value).__name__}.")
    for key in value:
        if key not in known:
            raise ConfigError(f"{where} has an unknown entry {key!r}; known: {', '.join(known)}.")
    for key in required:
        if key not in value:
            raise ConfigError(f"{where}: the entry {key!r} is missing.")


def _check_known(where: str, arguments: dict[str, Any], function: Callable[..., Any]) -> None:
    taken = ("input_size", "output_size", "node_type", "n", "node_kwargs", "seed", "layer_config")
    known = [name for name in inspect.signature(function).parameters if name not in taken]
    _check_table(where, arguments, tuple(known), ())


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Turn what a constructor says about its arguments into a sentence about that part of the config."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
