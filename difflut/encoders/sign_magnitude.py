"""Sign and magnitude."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from difflut.encoders.coded_encoder import DenseEncoder
from difflut.encoders.levels import binary_words, inner_edges
from difflut.registry import register_encoder


@register_encoder("sign_magnitude")
class SignMagnitudeEncoder(DenseEncoder):
    """A bit for the sign, then the magnitude's level in binary.

    Bit 0 is [x < 0], the others are the magnitude in binary, most significant bit first.

    The magnitude is the number of the level of abs(x), of 2**(b - 1) equally wide levels from 0 to the largest
    absolute value; the last one is as wide as the others. x and -x have the same magnitude. Small negative numbers
    make a negative zero; zero itself is positive, as is what no normal float32 tells from zero.
    `num_bits` is 2 to 10; further parameters as in `BaseEncoder`.
    """

    min_num_bits: ClassVar[int] = 2

    def compute_thresholds(self, values: Tensor) -> Tensor:
        largest = values.abs().amax(0)
        edges = inner_edges(torch.zeros_like(largest), largest, 2 ** (self.num_bits - 1)).to(torch.float32)
        zero = torch.zeros_like(edges[:, :1])
        return torch.cat([_just_below(-edges.flip(1)), _just_below(zero), edges], dim=1).to(torch.float64)

    def code_table(self) -> Tensor:
        magnitudes = torch.arange(2 ** (self.num_bits - 1))
        words = binary_words(magnitudes, self.num_bits - 1)
        negative = torch.cat([torch.ones(len(words), 1, dtype=torch.bool), words.flip(0)], dim=1)
        positive = torch.cat([torch.zeros(len(words), 1, dtype=torch.bool), words], dim=1)
        return torch.cat([negative, positive])


def _just_below(edges: Tensor) -> Tensor:
    """Return the float32 numbers t for which x > t says x >= edge.

    Next to zero that would be a subnormal number, which some processors take for zero; so it is the nearest normal one.
    """
    neighbours = torch.nextafter(edges, torch.full_like(edges, -torch.inf))
    return neighbours.clamp(max=-torch.finfo(torch.float32).tiny)
