"""The fixed-point format in which input features reach a network.

Training, evaluation and hardware all see the same grid of representable values, so a comparison of a feature with a
threshold has one answer everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from difflut.errors import ConfigError, DataError

MAX_BITS = 24  # the integers of a float32 mantissa: every representable value is exact in float32
_MAX_SCALE_EXPONENT = 100  # keeps scale, largest value and their quotient inside the float32 range
_INFERRED_BITS = 16
_FEW_VALUES = 16  # fewer leave little to compare with thresholds
_COUNTED_SAMPLES = 10_000  # enough to see how many values a feature has


@dataclass(frozen=True)
class InputFormat:
    """A fixed-point number format: value = integer * scale.

    Parameters
    ----------
    bits : total width, sign included, 1 to 24.
    signed : two's complement if true, else unsigned.
    scale : weight of the least significant bit, a power of two.

    Raises
    ------
    ConfigError : a field is out of its range.
    """

    bits: int
    signed: bool
    scale: float

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 1 <= self.bits <= MAX_BITS:
            raise ConfigError(f"input_format.bits is {self.bits!r}; it must be an integer from 1 to {MAX_BITS}.")
        if type(self.signed) is not bool:
            raise ConfigError(f"input_format.signed is {self.signed!r}; it must be true or false.")
        if type(self.scale) not in (int, float) or not _is_power_of_two(float(self.scale)):
            raise ConfigError(
                f"input_format.scale is {self.scale!r}; it must be a power of two "
                f"from 2**-{_MAX_SCALE_EXPONENT} to 2**{_MAX_SCALE_EXPONENT}."
            )
        object.__setattr__(self, "scale", float(self.scale))

    @property
    def min_integer(self) -> int:
        """Smallest integer of the format."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max_integer(self) -> int:
        """Largest integer of the format."""
        return (1 << (self.bits - self.signed)) - 1

    def to_integers(self, x: Tensor) -> Tensor:
        """Return the int64 codes of `x` (any shape): x / scale rounded half to even, saturated.

        Raises
        ------
        DataError : `x` holds a NaN.
        """
        values = x.to(torch.float64)
        if torch.isnan(values).any():
            raise DataError("The input holds a NaN, which no fixed-point number stands for; clean the data first.")
        return self._round_and_saturate(values).to(torch.int64)

    def to_reals(self, integers: Tensor) -> Tensor:
        """Return the float32 values of int64 codes; exact for every code of this format."""
        return integers.to(torch.float32) * self.scale

    def quantize(self, x: Tensor) -> Tensor:
        """Return the nearest representable values as float32; equals ``to_reals(to_integers(x))`` for numbers.

        A NaN stays a NaN, because looking for one costs a pass over the data and this runs on every batch.
        """
        is_short = x.dtype in (torch.float16, torch.bfloat16, torch.float32)
        codes = self._round_and_saturate(x.to(torch.float32 if is_short else torch.float64))
        return codes.to(torch.float32) * self.scale

    def find_constant(self, data: Tensor) -> list[int]:
        """Return the features of `data` (samples, features) that vary, but not any more in this format."""
        rounded = self.quantize(data)
        return ((data.amin(0) < data.amax(0)) & (rounded.amin(0) == rounded.amax(0))).nonzero().flatten().tolist()

    def find_clipped(self, data: Tensor) -> list[int]:
        """Return the features of `data` (samples, features) with values beyond the ends of this format."""
        ends = torch.stack((data.amin(0), data.amax(0))).to(torch.float64)
        codes = torch.round(ends / self.scale)
        is_beyond = (codes < self.min_integer) | (codes > self.max_integer)
        return is_beyond.any(0).nonzero().flatten().tolist()

    def find_coarse(self, data: Tensor) -> list[int]:
        """Return the features of `data` (samples, features) that keep few of their values in this format.

        That is less than half of them, and less than 16. At most 10000 samples are looked at.
        """
        rows = data[:: -(-len(data) // _COUNTED_SAMPLES)]
        rounded = self.quantize(rows)
        if torch.equal(rounded.to(rows.dtype), rows):
            return []
        before, after = _count_values(rows), _count_values(rounded)
        return ((after < _FEW_VALUES) & (2 * after < before)).nonzero().flatten().tolist()

    def _round_and_saturate(self, x: Tensor) -> Tensor:
        return torch.clamp(torch.round(x / self.scale), self.min_integer, self.max_integer)

    @classmethod
    def infer(cls, data: Tensor) -> InputFormat:
        """Choose a format that covers `data` (any shape).

        Non-negative integers below 2**24 keep their values (scale 1, as few bits as they need). Anything else gets
        16 bits with the finest power-of-two scale that covers the largest magnitude, signed iff a value is negative.

        Raises
        ------
        DataError : `data` is empty or not finite.
        """
        values = data.to(torch.float64)
        if values.numel() == 0 or not torch.isfinite(values).all():
            raise DataError("An input format needs data that are finite and not empty.")
        smallest, largest = float(values.min()), float(values.max())
        if smallest >= 0 and largest < 2**MAX_BITS and bool((values == values.floor()).all()):
            return cls(bits=max(1, int(largest).bit_length()), signed=False, scale=1.0)
        signed = smallest < 0
        limit = cls(_INFERRED_BITS, signed, 1.0).max_integer
        exponent = math.ceil(math.log2(max(abs(smallest), abs(largest)) / limit))
        if abs(exponent) > _MAX_SCALE_EXPONENT:
            raise DataError(f"The data reach {max(abs(smallest), abs(largest)):g}; rescale them nearer to 1.")
        return cls(_INFERRED_BITS, signed, 2.0**exponent)


def _count_values(x: Tensor) -> Tensor:
    """Return how many different values each column of `x` (samples, features) has, int64 (features,)."""
    ordered = x.sort(0).values
    return 1 + (ordered[1:] != ordered[:-1]).sum(0)


def _is_power_of_two(scale: float) -> bool:
    if not math.isfinite(scale) or scale <= 0:
        return False
    mantissa, exponent = math.frexp(scale)
    return mantissa == 0.5 and abs(exponent - 1) <= _MAX_SCALE_EXPONENT
