"""Convolutions whose kernels are trees of look-up tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from difflut.layers.augmentation import BitFlips, stabilise_gradient
from difflut.layers.base_layer import BaseLUTLayer
from difflut.layers.convolution_config import ConvolutionConfig
from difflut.layers.image_stage import ImageShape, ImageStage
from difflut.layers.layer_config import LayerConfig
from difflut.layers.lut_stage import WiredBank
from difflut.nodes.base_node import LutNode
from difflut.nodes.node_config import NodeConfig
from difflut.registry import REGISTRY, register_convolutional_layer
from difflut.utils.randomness import make_generator

_PINS_AT_A_TIME = 2**24  # of the first level in eval mode: bounds the memory of predictions


@register_convolutional_layer("convolutional")
class ConvolutionalLayer(ImageStage):
    """Trees of nodes that slide over an image, one for each output channel.

    Every output channel is a tree of LUTs that slides over the image, as in Petersen et al., Convolutional
    Differentiable Logic Gate Networks (NeurIPS 2024), with LUTs of n inputs for gates of two.

    With n inputs per LUT and depth d, a tree has levels of n**d, n**(d-1), ..., 1 LUTs. The first level reads the
    window, later ones read n neighbouring LUTs of the level before. Each tree has its own wiring and its own tables,
    which are the same at every position. In hardware the trees are there once for every position; what lies in the
    padding is the constant 0.

    ``levels[l]`` is a layer whose node ``c * n**(d-l) + k`` is LUT k of tree c; levels[0] is of `layer_type` and has
    the window as its input, in the order channel, row, column. There is no ``chunk_size``: a level is one bank of
    nodes for all channels, and in eval mode memory is bounded by itself.

    Parameters
    ----------
    convolution_config : shapes and seed.
    node_type : registered name or class of the node family; its ``output_dim`` must be 1.
    node_kwargs : further arguments of the node family, as a table or a `NodeConfig`.
    layer_type : registered name or class of the layer that wires the first level to the window.
    n_inputs_per_node : n.
    layer_config : what training does to the bits of the image, once per bit however many windows read it, and to the
        gradient of the output; nothing inside the trees. Not copied: a change acts from the next step on.
    grouped_connections : all inputs of a LUT of the first level are from one channel; the channels are dealt evenly.
    ensure_full_coverage : refuse a first level that is too small to read every channel (grouped) or every input of the
        window (else). Wiring is spread evenly either way.
    image_shape : channels, height and width of the image. Needed for hardware, which has no trees for other images.
    layer_kwargs : further arguments of `layer_type`.

    Raises
    ------
    ValueError : an argument is out of its range, or the first level does not cover what it should.
    TypeError : node family or layer do not know a keyword.
    """

    def __init__(
        self,
        convolution_config: ConvolutionConfig,
        node_type: str | type[LutNode],
        node_kwargs: dict[str, Any] | NodeConfig | None = None,
        layer_type: str | type[BaseLUTLayer] = "random",
        n_inputs_per_node: int = 6,
        layer_config: LayerConfig | None = None,
        grouped_connections: bool = False,
        ensure_full_coverage: bool = False,
        *,
        image_shape: Sequence[int] | None = None,
        layer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        config = convolution_config
        n = n_inputs_per_node
        self.convolution_config = config
        self.n = n
        super().__init__(config.in_channels, image_shape)
        sizes = config.level_sizes(n)
        if type(grouped_connections) is not bool or type(ensure_full_coverage) is not bool:
            raise TypeError("ConvolutionalLayer: grouped_connections and ensure_full_coverage must be true or false.")
        if ensure_full_coverage:
            _check_coverage(config, sizes[0], n, grouped_connections)
        layer_class = REGISTRY.get_layer(layer_type) if isinstance(layer_type, str) else layer_type
        layer_kwargs = dict(layer_kwargs or {})
        if grouped_connections:
            layer_kwargs["input_groups"] = config.in_channels
        generator = make_generator(config.seed)
        shared: dict[str, Any] = {"n": n, "node_kwargs": node_kwargs}
        first = layer_class(
            config.window_size, sizes[0], node_type, seed=_draw_seed(generator), **shared, **layer_kwargs
        )
        later = [TreeLevel(size * n, size, node_type, seed=_draw_seed(generator), **shared) for size in sizes[1:]]
        self.levels = nn.ModuleList([first, *later])
        if first.bank.output_dim != 1:
            raise ValueError(
                f"ConvolutionalLayer: the nodes have output_dim {first.bank.output_dim}; a node of a tree has 1."
            )
        self.layer_config = LayerConfig() if layer_config is None else layer_config
        self.bit_flips = BitFlips(generator)

    def forward(self, x: Tensor) -> Tensor:
        """Answer images (batch, in_channels, height, width) by (batch, out_channels, height', width').

        Raises
        ------
        ValueError : the shape is another one, or the image is smaller than the window.
        """
        self.check_images(x)
        if self.training:
            return self._answer(x)
        height, width = self.convolution_config.output_size(*x.shape[2:])
        pins = height * width * self.first_level.output_size * self.n
        return torch.cat([self._answer(part) for part in torch.split(x, max(1, _PINS_AT_A_TIME // pins))])

    def shape_of_output(self, shape: ImageShape) -> ImageShape:
        return self.convolution_config.out_channels, *self.convolution_config.output_size(*shape[1:])

    @property
    def first_level(self) -> BaseLUTLayer:
        """The level that reads the window."""
        return self.lut_levels()[0]

    def lut_levels(self) -> list[BaseLUTLayer]:
        """Return ``levels`` with their type."""
        return [cast(BaseLUTLayer, level) for level in self.levels]

    def read_windows(self, images: Tensor) -> Tensor:
        """Return what the windows of images (in_channels, height, width, batch) hold: (window_size, height', width',
        batch), zero in the padding. A window is in the order channel, row, column."""
        config = self.convolution_config
        size, stride, padding = config.receptive_field, config.stride, config.padding
        height, width = config.output_size(*images.shape[1:3])
        padded = nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
        windows = padded.unfold(1, size, stride).unfold(2, size, stride)  # channel, i, j, sample, row, column
        return windows.permute(0, 4, 5, 1, 2, 3).reshape(config.window_size, height, width, images.shape[3])

    def wired_banks(self) -> list[WiredBank]:
        """Return every level at every position: LUT ``i * positions + p`` is node i at position p, row by row."""
        bits = self.number_bits()
        sources = self.read_windows(bits + 1).flatten(1) - 1  # (inputs of the level, positions); -1 is the padding
        positions = sources.shape[1]
        banks = []
        for level in self.lut_levels():
            pins = sources[level.mapping().cpu()].transpose(1, 2).reshape(-1, self.n)
            nodes = torch.arange(level.output_size).repeat_interleave(positions)
            banks.append(WiredBank(level.bank, nodes, pins, self._name_luts(level.output_size)))
            sources = torch.arange(len(nodes)).view(level.output_size, positions)
        return banks

    def check_buffers(self) -> None:
        for number, level in enumerate(self.lut_levels()):
            try:
                level.check_buffers()
            except ValueError as error:
                raise ValueError(f"levels.{number}.{error}") from error

    def extra_repr(self) -> str:
        return f"{self.convolution_config}, n={self.n}"

    def _name_luts(self, nodes: int) -> list[str]:
        """Name the LUTs of a level of that many nodes, those of one node side by side."""
        trees = self.convolution_config.out_channels
        luts = nodes // trees
        names = [f"channel{tree}" + f"_lut{lut}" * (luts > 1) for tree in range(trees) for lut in range(luts)]
        return self.name_positions(names)

    def _answer(self, x: Tensor) -> Tensor:
        images = x.permute(1, 2, 3, 0)
        if self.training:
            images = self.bit_flips(images, self.layer_config)
        windows = self.read_windows(images)
        features = windows.flatten(1).t()  # positions join the batch: one answer per position and sample
        for level in self.levels:
            features = level(features)
        outputs = features.t().view(self.convolution_config.out_channels, *windows.shape[1:])
        if self.training and self.layer_config.grad_stabilization != "none":
            outputs = stabilise_gradient(outputs.flatten(1, 2), self.layer_config).view_as(outputs)
        return outputs.permute(3, 0, 1, 2)


class TreeLevel(BaseLUTLayer):
    """Layer in which node i reads inputs i * n to i * n + n - 1: a level of many trees."""

    def create_wiring(self, generator: torch.Generator) -> None:
        wiring = torch.arange(self.input_size).view(self.output_size, self.n)
        self.register_buffer("mapping_indices", wiring, persistent=False)

    def select_pins(self, features: Tensor) -> Tensor:
        return features.reshape(self.output_size, self.n, features.shape[1])


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator)) & 0xFFFFFFFF  # what torch keeps of a seed


def _check_coverage(config: ConvolutionConfig, luts: int, n: int, grouped: bool) -> None:
    if grouped and luts < config.in_channels:
        raise ValueError(
            f"ConvolutionalLayer: the {luts} LUTs of the first level read one channel each and cannot cover "
            f"{config.in_channels}; choose more output channels or deeper trees."
        )
    if not grouped and luts * n < config.window_size:
        raise ValueError(
            f"ConvolutionalLayer: the {luts * n} pins of the first level cannot cover {config.window_size} inputs of "
            f"the window; choose more output channels or deeper trees."
        )
