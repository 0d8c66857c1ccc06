"""The standard network: layers of one kind, one after another."""

from __future__ import annotations

from typing import cast

from difflut.layers.base_layer import BaseLUTLayer
from difflut.models.base_model import BaseLUTModel, blaming
from difflut.models.model_config import ModelConfig
from difflut.models.runtime import START_VALUES
from difflut.registry import REGISTRY, register_model


@register_model("feedforward")
@register_model("SimpleFeedForward")
class SimpleFeedForward(BaseLUTModel):
    """One layer per entry of ``config.layer_widths``, all of the same layer and node type; layer i has seed + i."""

    config: ModelConfig

    def build_layers(self, input_size: int) -> list[BaseLUTLayer]:
        config = self.config
        layer_class = REGISTRY.get_layer(config.layer_type)
        start_values = {name: config.runtime[name] for name in START_VALUES if name in config.runtime}
        width = input_size * self.encoder.num_bits
        layers: list[BaseLUTLayer] = []
        for index, nodes in enumerate(config.layer_widths):
            with blaming(f"layer {index}"):
                layer = layer_class(
                    width,
                    nodes,
                    config.node_type,
                    n=config.node_input_dim,
                    node_kwargs={**config.node_kwargs, **start_values},
                    seed=config.seed + index,
                    **config.layer_kwargs,
                )
            layers.append(layer)
            width = layer.output_width
        return layers

    def lut_layers(self) -> list[BaseLUTLayer]:
        return [cast(BaseLUTLayer, layer) for layer in self.layers]

    @classmethod
    def min_state_bytes(cls, config: ModelConfig) -> int:
        """Every pin has an index, and every node at least one float for each of its outputs."""
        return (8 * config.node_input_dim + 4 * config.outputs_per_node) * sum(config.layer_widths)
