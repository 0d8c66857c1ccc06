"""Convolutional network: convolutions and pooling, then layers of look-up tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from difflut.errors import ConfigError
from difflut.layers.bit_planes import BitPlanes
from difflut.layers.convolution_config import ConvolutionConfig
from difflut.layers.convolutional_layer import ConvolutionalLayer
from difflut.layers.image_stage import ImageShape, ImageStage, check_image_shape
from difflut.layers.lut_stage import LutStage
from difflut.layers.or_pool import OrPool2d
from difflut.models.base_model import BaseLUTModel, blaming
from difflut.models.checks import MAX_LAYERS
from difflut.models.feedforward import chain_layers, chain_state_bytes, node_arguments
from difflut.models.model_config import ModelConfig
from difflut.registry import register_model

_SHAPE_FIELDS = ("out_channels", "tree_depth", "receptive_field", "stride", "padding")
_LAYER_FIELDS = ("n_inputs_per_node", "grouped_connections", "ensure_full_coverage")
_FIELDS = (*_SHAPE_FIELDS, *_LAYER_FIELDS, "pool")


@register_model("convnet")
class ConvNet(BaseLUTModel):
    """Convolutions, perhaps with pooling, then layers of one kind, and votes per class.

    The convolutions read the encoded image; behind them come ``config.layer_widths`` as in `SimpleFeedForward`.

    ``config.params`` has two entries:

    - ``image_shape``: channels, height and width of a sample, which is flattened in this order.
    - ``convolutions``: a list of tables with ``out_channels`` and, where the default of `ConvolutionConfig` or
      `ConvolutionalLayer` will not do, ``tree_depth``, ``receptive_field``, ``stride``, ``padding``,
      ``grouped_connections``, ``ensure_full_coverage``; ``n_inputs_per_node``, ``config.node_input_dim`` if not given;
      and ``pool``, the window of an `OrPool2d` behind the convolution, which there is not if not given.

    The first convolution reads every bit of the encoder as a channel of its own. All layers are of the same layer and
    node type; convolution i has seed + i, and the seeds of the layers behind them follow.
    """

    config: ModelConfig

    def build_layers(self, input_size: int) -> Sequence[LutStage]:
        config = self.config
        layers: list[LutStage] = []
        plan = plan_convolutions(config)
        for index, planned in enumerate(plan):
            with blaming(f"params.convolutions[{index}]"):
                layer = ConvolutionalLayer(
                    planned.convolution,
                    config.node_type,
                    node_arguments(config),
                    config.layer_type,
                    image_shape=planned.image_shape,
                    layer_kwargs=config.layer_kwargs,
                    **planned.arguments,
                )
            layers.append(layer)
            if planned.pool is not None:
                layers.append(OrPool2d(planned.pool, image_shape=layer.output_shape))
        return [*layers, *chain_layers(config, math.prod(plan[-1].output_shape), first=len(plan))]

    def stages(self) -> list[tuple[str, nn.Module]]:
        layers = super().stages()
        images = sum(isinstance(layer, ImageStage) for _, layer in layers)
        planes = BitPlanes(self.config.params["image_shape"], self.encoder.num_bits)
        return [("bit_planes", planes), *layers[:images], ("flatten", nn.Flatten()), *layers[images:]]

    @classmethod
    def check_params(cls, config: ModelConfig) -> None:
        for name in config.params:
            if name not in ("image_shape", "convolutions"):
                raise ConfigError(
                    f"Unknown model parameter params.{name} for a convnet; known: image_shape, convolutions."
                )
        plan_convolutions(config)

    @classmethod
    def min_state_bytes(cls, config: ModelConfig) -> int:
        """Every pin of a first level has an index, and every node at least one float."""
        needed = chain_state_bytes(config)
        for planned in plan_convolutions(config):
            sizes = planned.convolution.level_sizes(planned.n)
            needed += 8 * planned.n * sizes[0] + 4 * sum(sizes)
        return needed


@dataclass(frozen=True)
class PlannedConvolution:
    """A convolution of a `ConvNet`, before it is built.

    Parameters
    ----------
    convolution : its shapes and seed.
    image_shape : channels, height and width of what it reads.
    arguments : further arguments of `ConvolutionalLayer`.
    pool : window of the pooling behind it; None for no pooling.
    output_shape : channels, height and width of what comes out, behind the pooling.
    """

    convolution: ConvolutionConfig
    image_shape: ImageShape
    arguments: dict[str, Any]
    pool: int | None
    output_shape: ImageShape

    @property
    def n(self) -> int:
        """Inputs per node."""
        return cast(int, self.arguments["n_inputs_per_node"])


def plan_convolutions(config: ModelConfig) -> list[PlannedConvolution]:
    """Read ``config.params`` and work out the shape of every image on the way.

    Raises
    ------
    ConfigError : an entry is missing, unknown or not usable; the message names it.
    """
    shape = _read_image_shape(config)
    entries = config.params.get("convolutions")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_LAYERS:
        raise ConfigError(f"params.convolutions must be a list of 1 to {MAX_LAYERS} tables.")
    plan: list[PlannedConvolution] = []
    for index, entry in enumerate(entries):
        with blaming(f"params.convolutions[{index}]"):
            plan.append(_plan_convolution(entry, shape, config.node_input_dim, config.seed + index))
        shape = plan[-1].output_shape
    return plan


def _read_image_shape(config: ModelConfig) -> ImageShape:
    """Return the shape of the encoded image, whose channels are bits."""
    with blaming("params"):
        channels, height, width = check_image_shape("ConvNet", config.params.get("image_shape"))
    if config.input_size not in (None, channels * height * width):
        raise ConfigError(
            f"params.image_shape is {channels} x {height} x {width}, but samples have {config.input_size} features."
        )
    return channels * config.encoder_config["num_bits"], height, width


def _plan_convolution(entry: Any, shape: ImageShape, n: int, seed: int) -> PlannedConvolution:
    if not isinstance(entry, dict):
        raise TypeError("it must be a table.")
    for name in entry:
        if name not in _FIELDS:
            raise TypeError(f"{name!r} is unknown; known: {', '.join(_FIELDS)}.")
    fields = {name: value for name, value in entry.items() if name in _SHAPE_FIELDS}
    convolution = ConvolutionConfig(in_channels=shape[0], seed=seed, **fields)
    arguments = {"n_inputs_per_node": n} | {name: value for name, value in entry.items() if name in _LAYER_FIELDS}
    convolution.level_sizes(arguments["n_inputs_per_node"])
    output_shape = (convolution.out_channels, *convolution.output_size(*shape[1:]))
    pool = entry.get("pool")
    if pool is not None:
        output_shape = OrPool2d(pool).shape_of_output(output_shape)
    return PlannedConvolution(convolution, shape, arguments, pool, output_shape)
