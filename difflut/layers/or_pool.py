"""Pooling of bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from difflut.layers.image_stage import ImageShape, ImageStage
from difflut.layers.lut_stage import WiredBank

_OR_INPUTS = 6  # of one LUT; larger windows take several levels of them


class OrPool2d(ImageStage):
    """Largest value of every window: the OR of its bits in hardware.

    In training the gradient goes to the first largest value of the window. Windows lie within the image; rows and
    columns beyond the last whole window are not read.

    Parameters
    ----------
    kernel_size : height and width in pixels of the square window.
    stride : pixels from one window to the next, both ways; `kernel_size` if not given.
    image_shape : channels, height and width of the image, needed for hardware.

    Raises
    ------
    ValueError : a size is not a positive integer, or the image is smaller than the window.
    """

    def __init__(
        self, kernel_size: int, stride: int | None = None, *, image_shape: Sequence[int] | None = None
    ) -> None:
        stride = kernel_size if stride is None else stride
        for name, value in {"kernel_size": kernel_size, "stride": stride}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"OrPool2d: {name} is {value!r}; it must be a positive integer.")
        self.kernel_size = kernel_size
        self.stride = stride
        super().__init__(None, image_shape)

    def shape_of_output(self, shape: ImageShape) -> ImageShape:
        channels, height, width = shape
        if min(height, width) < self.kernel_size:
            raise ValueError(
                f"OrPool2d: an image of {height}x{width} pixels is smaller than the window, "
                f"{self.kernel_size}x{self.kernel_size}."
            )
        return channels, self._count_windows(height), self._count_windows(width)

    def forward(self, x: Tensor) -> Tensor:
        """Pool images: (batch, channels, height, width) -> (batch, channels, height', width').

        Raises
        ------
        ValueError : the shape is another one, or the image is smaller than the window.
        """
        self.check_images(x)
        self.shape_of_output((x.shape[1], x.shape[2], x.shape[3]))
        return nn.functional.max_pool2d(x, self.kernel_size, self.stride)

    def wired_banks(self) -> list[WiredBank]:
        """Return trees of ORs, of as many levels as the windows need; the LUTs of one window are side by side."""
        windows = self.number_bits().squeeze(3).unfold(1, self.kernel_size, self.stride)
        windows = windows.unfold(2, self.kernel_size, self.stride)  # channel, i, j, row, column
        pins = windows.flatten(0, 2).flatten(1)
        outputs = self.name_positions([f"channel{channel}" for channel in range(self.known_shape[0])])
        banks = []
        while True:
            fan_in = min(_OR_INPUTS, pins.shape[1])
            luts = math.ceil(pins.shape[1] / fan_in)  # for each window
            padded = nn.functional.pad(pins, (0, luts * fan_in - pins.shape[1]), value=-1)
            nodes = torch.zeros(luts * len(outputs), dtype=torch.int64)
            names = [f"{output}" + f"_or{lut}" * (luts > 1) for output in outputs for lut in range(luts)]
            banks.append(WiredBank(OrTable(fan_in), nodes, padded.reshape(-1, fan_in), names))
            if luts == 1:
                return banks
            pins = torch.arange(len(nodes)).view(-1, luts)

    def set_runtime(self, key: str, value: Any) -> bool:
        """Pooling has no settings."""
        return False

    def check_buffers(self) -> None:
        """Pooling has no buffers."""

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"

    def _count_windows(self, pixels: int) -> int:
        return (pixels - self.kernel_size) // self.stride + 1


@dataclass
class OrTable:
    """A bank of the one table that is 1 wherever any of its `input_dim` inputs is."""

    input_dim: int
    output_dim: int = field(default=1, init=False)
    num_nodes: int = field(default=1, init=False)

    def truth_table(self) -> Tensor:
        """Return the table, bool (1, 1, 2**input_dim)."""
        return (torch.arange(2**self.input_dim) > 0).view(1, 1, -1)

    def forward_pins(self, pins: Tensor) -> Tensor:
        """(1, input_dim, batch) -> (1, 1, batch)."""
        return pins.amax(1, keepdim=True)
