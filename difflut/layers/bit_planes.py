"""From the bits of an encoder to images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from difflut.layers.image_stage import ImageShape, check_image_shape


class BitPlanes(nn.Module):
    """Puts the code bits of images into channels of their own.

    Bit b of channel c of the image is channel ``c * num_bits + b`` of the output. In hardware these are wires.

    Parameters
    ----------
    image_shape : channels, height and width of the images whose pixels were encoded, in this order.
    num_bits : bits per pixel and channel.

    Raises
    ------
    ValueError : the shape is not three positive integers.
    """

    def __init__(self, image_shape: Sequence[int], num_bits: int) -> None:
        super().__init__()
        self.image_shape = check_image_shape(type(self).__name__, image_shape)
        self.num_bits = num_bits

    @property
    def output_shape(self) -> ImageShape:
        """Channels, height and width of the output."""
        channels, height, width = self.image_shape
        return channels * self.num_bits, height, width

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels * height * width * num_bits), feature-major, -> (batch, channels * num_bits, height, width).

        Raises
        ------
        ValueError : the shape is another one.
        """
        width = math.prod(self.image_shape) * self.num_bits
        if x.dim() != 2 or x.shape[1] != width:
            raise ValueError(f"BitPlanes got input of shape {tuple(x.shape)}; expected (batch, {width}).")
        pixels = x.reshape(x.shape[0], *self.image_shape, self.num_bits)
        return pixels.permute(0, 1, 4, 2, 3).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"image_shape={self.image_shape}, num_bits={self.num_bits}"
