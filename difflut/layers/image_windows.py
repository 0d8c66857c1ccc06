"""The parts of an image that a node may look at."""

from __future__ import annotations

import torch
from torch import Tensor

from difflut.layers.image_stage import ImageShape


def list_windows(image_shape: ImageShape, window: int, num_bits: int) -> Tensor:
    """Return the encoded inputs of every square window of an image, in the order of windows by rows.

    Parameters
    ----------
    image_shape : channels, height and width of a sample, which is flattened in this order.
    window : height and width of a window, which lies within the image and has all channels.
    num_bits : bits per feature; those of one feature are next to each other.

    Returns
    -------
    int64 (windows, channels * window * window * num_bits)

    Raises
    ------
    ValueError : the window is not a positive integer, or larger than the image.
    """
    channels, height, width = image_shape
    if type(window) is not int or not 1 <= window <= min(height, width):
        raise ValueError(f"window is {window!r}; it must be an integer from 1 to {min(height, width)}.")
    bits = torch.arange(channels * height * width * num_bits).view(channels, height, width, num_bits)
    windows = bits.unfold(1, window, 1).unfold(2, window, 1)  # (channels, rows, columns, num_bits, window, window)
    return windows.permute(1, 2, 0, 4, 5, 3).flatten(2).flatten(0, 1)
