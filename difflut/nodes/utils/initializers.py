"""Start values of node parameters, by name.

An initialiser is called as ``initializer(parameter, **init_kwargs)`` and writes into the parameter. Besides, it gets
those of the following that its signature names: ``node``, the bank; ``param_name``; ``fan_in`` and ``fan_out``, what
the parameter connects within one node. Draws come from torch's global generator, which a bank seeds for the
occasion. Some have several names.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from difflut.registry import register_initializer

if TYPE_CHECKING:
    from difflut.nodes.base_node import LutNode

MAX_NUMBER = 1e30  # its square is finite, and so are differences of two in single precision


@register_initializer("zeros")
def zeros(param: Tensor) -> None:
    """All 0."""
    param.zero_()


@register_initializer("ones")
def ones(param: Tensor) -> None:
    """All 1."""
    param.fill_(1)


@register_initializer("normal")
def normal(param: Tensor, mean: float = 0.0, std: float = 1.0) -> None:
    """Normal with the given mean and standard deviation.

    Parameters
    ----------
    mean : of the values.
    std : their standard deviation, not negative.

    Raises
    ------
    ValueError : an argument is not a finite number, or `std` is negative.
    """
    _check_numbers(mean=mean, std=std)
    if std < 0:
        raise ValueError(f"std is {std!r}; it must not be negative.")
    param.normal_(mean, std)


@register_initializer("uniform")
def uniform(param: Tensor, a: float = -1.0, b: float = 1.0) -> None:
    """Uniform in [a, b).

    Raises
    ------
    ValueError : an argument is not a finite number, or `a` is above `b`.
    """
    _check_numbers(a=a, b=b)
    if a > b:
        raise ValueError(f"a is {a!r} and b is {b!r}; a must not be above b.")
    param.uniform_(a, b)


@register_initializer("xavier")
@register_initializer("glorot_uniform")
@register_initializer("xavier_uniform")
def xavier_uniform(param: Tensor, gain: float = 1.0, *, fan_in: int, fan_out: int) -> None:
    """Uniform with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010)."""
    _draw_uniform(param, _xavier_std(gain, fan_in, fan_out))


@register_initializer("glorot")
@register_initializer("glorot_normal")
@register_initializer("xavier_normal")
def xavier_normal(param: Tensor, gain: float = 1.0, *, fan_in: int, fan_out: int) -> None:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010)."""
    param.normal_(0, _xavier_std(gain, fan_in, fan_out))


@register_initializer("he_uniform")
@register_initializer("kaiming_uniform")
def kaiming_uniform(
    param: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    fan_in: int,
    fan_out: int,
) -> None:
    """Uniform with standard deviation gain / sqrt(fan) (He et al., ICCV 2015).

    Parameters
    ----------
    a : negative slope; matters for ``leaky_relu`` alone.
    mode : ``fan_in`` or ``fan_out``.
    nonlinearity : name that ``torch.nn.init.calculate_gain`` knows.
    """
    _draw_uniform(param, _kaiming_std(a, mode, nonlinearity, {"fan_in": fan_in, "fan_out": fan_out}))


@register_initializer("he")
@register_initializer("kaiming")
@register_initializer("he_normal")
@register_initializer("kaiming_normal")
def kaiming_normal(
    param: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    fan_in: int,
    fan_out: int,
) -> None:
    """Normal with standard deviation gain / sqrt(fan) (He et al., ICCV 2015).

    Parameters as in `kaiming_uniform`.
    """
    param.normal_(0, _kaiming_std(a, mode, nonlinearity, {"fan_in": fan_in, "fan_out": fan_out}))


@register_initializer("probabilistic_init")
@register_initializer("variance_stabilized")
def variance_stabilized(param: Tensor, v_target: float = 1.0, *, node: LutNode) -> None:
    """Normal with variance 4 * v_target / (input_dim + output_dim) of the node.

    Raises
    ------
    ValueError : `v_target` is not a finite number of at least 0.
    """
    _check_numbers(v_target=v_target)
    if v_target < 0:
        raise ValueError(f"v_target is {v_target!r}; it must not be negative.")
    param.normal_(0, math.sqrt(4 * v_target / (node.input_dim + node.output_dim)))


@register_initializer("residual")
def residual(
    param: Tensor, noise_factor: float = 0.0, logit_clarity: float = 5.0, *, node: LutNode, param_name: str
) -> None:
    """Every output of a node is its input 0.

    Parameters
    ----------
    noise_factor : standard deviation of normal noise that is added to the values.
    logit_clarity : positive; how decided the answers are, as a logit where the family has one.

    Raises
    ------
    ValueError : an argument is not a finite number or out of its range.
    """
    _check_numbers(noise_factor=noise_factor, logit_clarity=logit_clarity)
    if noise_factor < 0 or logit_clarity <= 0:
        raise ValueError("noise_factor must not be negative and logit_clarity must be above 0.")
    param.copy_(node.residual_values(param_name, logit_clarity).expand_as(param))
    if noise_factor > 0:
        param.add_(torch.randn_like(param), alpha=noise_factor)


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if type(value) not in (int, float) or not abs(value) <= MAX_NUMBER:
            raise ValueError(f"{name} is {value!r}; it must be a number of at most {MAX_NUMBER:g}.")


def _draw_uniform(param: Tensor, std: float) -> None:
    bound = math.sqrt(3) * std
    param.uniform_(-bound, bound)


def _xavier_std(gain: float, fan_in: int, fan_out: int) -> float:
    _check_numbers(gain=gain)
    return abs(gain) * math.sqrt(2 / (fan_in + fan_out))


def _kaiming_std(a: float, mode: str, nonlinearity: str, fans: dict[str, int]) -> float:
    _check_numbers(a=a)
    if mode not in fans:
        raise ValueError(f"mode is {mode!r}; available: {', '.join(fans)}.")
    return float(nn.init.calculate_gain(nonlinearity, a)) / math.sqrt(fans[mode])  # type: ignore[arg-type]
