"""What a layer does to bits and gradients while it is trained."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Self

DEFAULT_FLIP_PROBABILITY = 0.0
DEFAULT_GRAD_STABILIZATION = "none"
DEFAULT_GRAD_TARGET_STD = 1.0
DEFAULT_GRAD_SUBTRACT_MEAN = False
DEFAULT_GRAD_EPSILON = 1e-8
DEFAULT_DROPOUT = 0.0
STABILIZATIONS = ("none", "layerwise", "nodewise", "batchwise")
_ALIASES = {"batch": "batchwise"}


@dataclass
class LayerConfig:
    """Training augmentation of a layer; eval mode ignores all of it.

    Every assignment is checked, so a config may be changed while a layer uses it.

    Parameters
    ----------
    flip_probability : each bit that a pin reads is inverted with this probability, independently in every step; its
        gradient is that of the bit as it was.
    grad_stabilization : over which part of the gradient of the layer's output a standard deviation is taken:
        ``layerwise`` all of it, ``nodewise`` one node's share over the batch, ``batchwise`` (or ``batch``) one
        sample's share over the nodes; ``none`` leaves the gradient alone.
    grad_target_std : every such part is rescaled to this standard deviation (root mean square about zero, or about
        the mean if that is subtracted), above 0.
    grad_subtract_mean : subtract the part's mean first.
    grad_epsilon : a part whose standard deviation is not above this is left as it is, mean included; above 0.
    dropout : each bit that a pin reads is erased with this probability, independently in every step: a fair coin takes
        its place, and no gradient reaches it.

    Raises
    ------
    ValueError : a value is out of its range.
    AttributeError : there is no such setting.
    """

    flip_probability: float = DEFAULT_FLIP_PROBABILITY
    grad_stabilization: str = DEFAULT_GRAD_STABILIZATION
    grad_target_std: float = DEFAULT_GRAD_TARGET_STD
    grad_subtract_mean: bool = DEFAULT_GRAD_SUBTRACT_MEAN
    grad_epsilon: float = DEFAULT_GRAD_EPSILON
    dropout: float = DEFAULT_DROPOUT

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, _check(name, value))

    @property
    def changes_bits(self) -> bool:
        """Whether pins read anything but the bits as they are."""
        return self.flip_probability > 0 or self.dropout > 0

    def copy(self) -> Self:
        """Return an independent config with the same settings."""
        return copy.copy(self)


def _check(name: str, value: object) -> object:
    """Return the value of a setting in its canonical form."""
    match name:
        case "flip_probability" | "dropout":
            if not isinstance(value, int | float) or type(value) is bool or not 0 <= value <= 1:
                raise ValueError(f"{name} is {value!r}; it must be a number from 0 to 1.")
        case "grad_stabilization":
            value = _ALIASES.get(value, value) if isinstance(value, str) else value
            if value not in STABILIZATIONS:
                raise ValueError(f"{name} is {value!r}; available: {', '.join([*STABILIZATIONS, *_ALIASES])}.")
        case "grad_target_std" | "grad_epsilon":
            if not isinstance(value, int | float) or type(value) is bool or not 0 < value < math.inf:
                raise ValueError(f"{name} is {value!r}; it must be a number above 0.")
        case "grad_subtract_mean":
            if type(value) is not bool:
                raise ValueError(f"{name} is {value!r}; it must be true or false.")
        case _:
            raise AttributeError(f"LayerConfig has no setting {name!r}.")
    return value
