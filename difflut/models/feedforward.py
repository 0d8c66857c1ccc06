"""The standard network: layers of one kind, one after another."""

from __future__ import annotations

import math
from typing import Any, cast

from difflut.errors import ConfigError
from difflut.layers.base_layer import BaseLUTLayer
from difflut.layers.image_stage import ImageShape, check_image_shape
from difflut.layers.image_windows import list_windows
from difflut.models.base_model import BaseLUTModel, blaming
from difflut.models.model_config import ModelConfig
from difflut.models.runtime import START_VALUES
from difflut.registry import REGISTRY, register_model


@register_model("feedforward")
@register_model("SimpleFeedForward")
class SimpleFeedForward(BaseLUTModel):
    """Layers of one kind, one after another, and votes per class.

    One layer per entry of ``config.layer_widths``, all of the same layer and node type; layer i has seed + i.

    ``config.params`` may have two entries, for images and layers that take ``input_groups``; each node of the first
    layer then reads pixels that are near each other:

    - ``image_shape``: channels, height and width of a sample, which is flattened in this order.
    - ``window``: height and width in pixels of what a node reads from; windows are dealt to the nodes evenly.
    """

    config: ModelConfig

    def build_layers(self, input_size: int) -> list[BaseLUTLayer]:
        first_kwargs: dict[str, Any] = {}
        if self.config.params:
            shape, window = read_window(self.config)
            first_kwargs["input_groups"] = list_windows(shape, window, self.encoder.num_bits)
        return chain_layers(self.config, input_size * self.encoder.num_bits, first=0, first_kwargs=first_kwargs)

    def lut_layers(self) -> list[BaseLUTLayer]:
        return [cast(BaseLUTLayer, layer) for layer in self.layers]

    @classmethod
    def check_params(cls, config: ModelConfig) -> None:
        for name in config.params:
            if name not in ("image_shape", "window"):
                raise ConfigError(
                    f"Unknown model parameter params.{name} for a {config.model_type} model; "
                    f"known: image_shape, window."
                )
        if config.params:
            read_window(config)

    @classmethod
    def min_state_bytes(cls, config: ModelConfig) -> int:
        return chain_state_bytes(config)


def read_window(config: ModelConfig) -> tuple[ImageShape, int]:
    """Read ``image_shape`` and ``window`` of ``config.params``; a ConfigError if they fit no sample or each other."""
    with blaming("params"):
        shape = check_image_shape("feedforward", config.params.get("image_shape"))
        window: int = config.params.get("window")  # type: ignore[assignment]  # list_windows checks it
        list_windows(shape, window, num_bits=1)
    if config.input_size not in (None, math.prod(shape)):
        raise ConfigError(f"params.image_shape is {list(shape)}, but samples have {config.input_size} features.")
    return shape, window


def chain_layers(
    config: ModelConfig, width: int, first: int, first_kwargs: dict[str, Any] | None = None
) -> list[BaseLUTLayer]:
    """Return the layers of ``config.layer_widths`` behind `width` bits; the first one is number `first` of its model.

    It alone gets ``first_kwargs`` besides the arguments that all have.

    Raises
    ------
    ConfigError : the arguments of a layer are not usable; the message names it by its number.
    """
    layer_class = REGISTRY.get_layer(config.layer_type)
    layers: list[BaseLUTLayer] = []
    for index, nodes in enumerate(config.layer_widths, start=first):
        with blaming(f"layer {index}"):
            layer = layer_class(
                width,
                nodes,
                config.node_type,
                n=config.node_input_dim,
                node_kwargs=node_arguments(config),
                seed=config.seed + index,
                **{**config.layer_kwargs, **(first_kwargs or {})},
            )
        layers.append(layer)
        width, first_kwargs = layer.output_width, None
    return layers


def chain_state_bytes(config: ModelConfig) -> int:
    """Return how many bytes those layers take at least: every pin has an index, every output at least one float."""
    return (8 * config.node_input_dim + 4 * config.outputs_per_node) * sum(config.layer_widths)


def node_arguments(config: ModelConfig) -> dict[str, Any]:
    """Return what every node of the model is made with: ``config.node_kwargs``, and start values from the runtime."""
    start_values = {name: config.runtime[name] for name in START_VALUES if name in config.runtime}
    return {**config.node_kwargs, **start_values}
