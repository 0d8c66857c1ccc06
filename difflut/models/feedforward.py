"""The standard network: layers of one kind, one after another."""

from __future__ import annotations

from typing import Any, cast

from difflut.layers.base_layer import BaseLUTLayer
from difflut.models.base_model import BaseLUTModel, blaming
from difflut.models.model_config import ModelConfig
from difflut.models.runtime import START_VALUES
from difflut.registry import REGISTRY, register_model


@register_model("feedforward")
@register_model("SimpleFeedForward")
class SimpleFeedForward(BaseLUTModel):
    """Layers of one kind, one after another, and votes per class.

    One layer per entry of ``config.layer_widths``, all of the same layer and node type; layer i has seed + i.
    """

    config: ModelConfig

    def build_layers(self, input_size: int) -> list[BaseLUTLayer]:
        return chain_layers(self.config, input_size * self.encoder.num_bits, first=0)

    def lut_layers(self) -> list[BaseLUTLayer]:
        return [cast(BaseLUTLayer, layer) for layer in self.layers]

    @classmethod
    def min_state_bytes(cls, config: ModelConfig) -> int:
        return chain_state_bytes(config)


def chain_layers(config: ModelConfig, width: int, first: int) -> list[BaseLUTLayer]:
    """Return the layers of ``config.layer_widths`` behind `width` bits; the first one is number `first` of its model.

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
                **config.layer_kwargs,
            )
        layers.append(layer)
        width = layer.output_width
    return layers


def chain_state_bytes(config: ModelConfig) -> int:
    """Return how many bytes those layers take at least: every pin has an index, every output at least one float."""
    return (8 * config.node_input_dim + 4 * config.outputs_per_node) * sum(config.layer_widths)


def node_arguments(config: ModelConfig) -> dict[str, Any]:
    """Return what every node of the model is made with: ``config.node_kwargs``, and start values from the runtime."""
    start_values = {name: config.runtime[name] for name in START_VALUES if name in config.runtime}
    return {**config.node_kwargs, **start_values}
