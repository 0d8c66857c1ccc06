"""What layers share that read images."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from difflut.layers.lut_stage import LutStage

ImageShape = tuple[int, int, int]
"""Channels, height and width."""


class ImageStage(LutStage):
    """Reads images (batch, channels, height, width) and answers with images.

    Images of any size may be computed with, but hardware is made for one: `output_width` and `wired_banks` are known
    only if `image_shape` is.

    Parameters
    ----------
    channels : of the image; None if any number will do.
    image_shape : channels, height and width, if they are known.

    Raises
    ------
    ValueError : the shape is not three positive integers, has other channels or is too small.
    """

    def __init__(self, channels: int | None, image_shape: Sequence[int] | None) -> None:
        super().__init__()
        self._channels = channels
        self.image_shape: ImageShape | None = None
        if image_shape is not None:
            self.image_shape = check_image_shape(type(self).__name__, image_shape)
            if channels not in (None, self.image_shape[0]):
                raise ValueError(
                    f"{type(self).__name__}: image_shape is {image_shape!r}, but it reads {channels} channels."
                )
            self.shape_of_output(self.image_shape)

    @abstractmethod
    def shape_of_output(self, shape: ImageShape) -> ImageShape:
        """Return channels, height and width of the output for an image of that shape.

        Raises
        ------
        ValueError : the image is too small.
        """

    @property
    def output_shape(self) -> ImageShape:
        """Channels, height and width of the output; a RuntimeError without ``image_shape``."""
        return self.shape_of_output(self.known_shape)

    @property
    def output_width(self) -> int:
        return math.prod(self.output_shape)

    @property
    def known_shape(self) -> ImageShape:
        """``image_shape``; a RuntimeError without."""
        if self.image_shape is None:
            raise RuntimeError(
                f"{type(self).__name__} was made without image_shape, so it is not known what its hardware would read."
            )
        return self.image_shape

    def check_images(self, x: Tensor) -> None:
        """Raise ValueError if `x` is no batch of images of the right shape."""
        sizes = self.image_shape or (self._channels, None, None)
        if x.dim() != 4 or any(size not in (None, found) for size, found in zip(sizes, x.shape[1:], strict=True)):
            names = zip(sizes, ("channels", "height", "width"), strict=True)
            expected = ", ".join(name if size is None else str(size) for size, name in names)
            raise ValueError(
                f"{type(self).__name__} got input of shape {tuple(x.shape)}; expected (batch, {expected})."
            )

    def number_bits(self) -> Tensor:
        """Return an image (channels, height, width, 1) in which every bit is its own number, int64."""
        shape = self.known_shape
        return torch.arange(math.prod(shape)).view(*shape, 1)

    def name_positions(self, names: Sequence[str]) -> list[str]:
        """Name what stands at every position of the output, row by row, for each of `names`."""
        _, height, width = self.output_shape
        places = [f"row{row}_column{column}" for row in range(height) for column in range(width)]
        return [f"{name}_{place}" for name in names for place in places]


def check_image_shape(name: str, shape: Any) -> ImageShape:
    """Return the shape as a tuple; a ValueError beginning with `name` if it is not three positive integers."""
    if not isinstance(shape, Sequence) or len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"{name}: image_shape is {shape!r}; it must be channels, height and width.")
    return shape[0], shape[1], shape[2]
