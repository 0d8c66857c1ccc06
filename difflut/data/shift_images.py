"""More training images than were drawn: the same ones, moved."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK_SAMPLES = 4096  # moved at a time, so that the indices stay small beside the images


def shift_images(x: Tensor, sample_shape: tuple[int, ...], max_shift_pixels: int, generator: torch.Generator) -> Tensor:
    """Move every image by its own random number of pixels along both axes; zeros move in.

    Parameters
    ----------
    x : (samples, features).
    sample_shape : shape of a sample, whose last two axes are height and width.
    max_shift_pixels : bound of both moves, either way; every move within it is equally likely.
    generator : source of the moves.

    Returns
    -------
    (samples, features)
    """
    height, width = sample_shape[-2:]
    span = 2 * max_shift_pixels + 1
    moves = torch.randint(span, (2, len(x), 1), generator=generator)
    parts = []
    for first in range(0, len(x), _CHUNK_SAMPLES):
        chunk = slice(first, first + _CHUNK_SAMPLES)
        images = x[chunk].view(len(x[chunk]), -1, height, width)
        padded = torch.nn.functional.pad(images, [max_shift_pixels] * 4)
        rows = moves[0, chunk] + torch.arange(height)
        columns = moves[1, chunk] + torch.arange(width)
        sample = torch.arange(len(images))[:, None, None]
        moved = padded[sample, :, rows[:, :, None], columns[:, None, :]]  # (samples, height, width, channels)
        parts.append(moved.permute(0, 3, 1, 2).flatten(1))
    return torch.cat(parts)
