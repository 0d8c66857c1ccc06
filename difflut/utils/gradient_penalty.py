"""Penalties that keep the gradient of a function, or the size of a tensor, near a target.

The gradient penalty is that of Gulrajani et al., Improved Training of Wasserstein GANs (NeurIPS 2017); common weights
in a loss are 1, 10 (theirs) and 100. It differentiates twice, which costs several times an ordinary step: apply it in
every few steps only if that is too much, or use `output_magnitude_penalty`, which needs no second derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

MODES = ("output", "interpolated")
_ALIASES = {"output_wrt_logprobs": "output"}


def gradient_penalty(
    loss_fn: Callable[[Tensor], Tensor], x: Tensor, *, target_norm: float = 1.0, per_sample: bool = False
) -> Tensor:
    """Return (|gradient of loss_fn at x| - target_norm)**2, a 0-d tensor, with the Euclidean norm over all of `x`.

    It is differentiable in whatever `loss_fn` depends on, and in `x` if that requires a gradient. It vanishes for a
    sum of 3 elements and a target of sqrt(3).

    Parameters
    ----------
    loss_fn : function of a tensor shaped like `x`, with one number as its result.
    x : real tensor of any shape.
    per_sample : take the norm of each ``x[i]``'s gradient instead, and average over i, as in the paper.

    Raises
    ------
    ValueError : the loss is not one number, or it has no gradient with respect to `x`.
    """
    gradient = input_gradient(loss_fn, x)
    axes = tuple(range(1, x.dim())) if per_sample else tuple(range(x.dim()))
    return penalize_norms(gradient, axes, target_norm)


def interpolated_gradient_penalty(
    loss_fn: Callable[[Tensor], Tensor],
    fake: Tensor,
    real: Tensor,
    *,
    target_norm: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return `gradient_penalty` at e * fake + (1 - e) * real, with one e for the whole tensor, uniform in [0, 1).

    Parameters
    ----------
    fake, real : tensors of one shape.
    generator : source of e; torch's global one if not given.

    Raises
    ------
    ValueError : the shapes differ; and what `gradient_penalty` raises.
    """
    if fake.shape != real.shape:
        raise ValueError(f"The tensors to interpolate have the shapes {tuple(fake.shape)} and {tuple(real.shape)}.")
    device = fake.device if generator is None else generator.device
    share = torch.rand((), generator=generator, device=device, dtype=fake.dtype).to(fake.device)
    return gradient_penalty(loss_fn, share * fake + (1 - share) * real, target_norm=target_norm)


def output_magnitude_penalty(x: Tensor, *, target: float = 1.0, reduction: str = "mean") -> Tensor:
    """Return (magnitude of x - target)**2, a 0-d tensor; a cheap stand-in for `gradient_penalty`.

    Parameters
    ----------
    reduction : ``mean`` for the root mean square as magnitude, ``sum`` for the Euclidean norm.

    Raises
    ------
    ValueError : another reduction, or `x` is empty.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is {reduction!r}; available: mean, sum.")
    if x.numel() == 0:
        raise ValueError("An empty tensor has no magnitude.")
    scaled = x / x.numel() ** 0.5 if reduction == "mean" else x
    return penalize_norms(scaled, tuple(range(x.dim())), target)


class GradientPenalty:
    """The gradient penalty as a regulariser of log-probabilities in a training loop that calls ``compute``."""

    name = "gradient_penalty"

    @staticmethod
    def compute(
        data: Sequence[dict[str, Any]],
        logprobs: Tensor,
        *,
        mode: str = "output",
        loss_fn: Callable[[Tensor], Tensor] = torch.sum,
        target_norm: float = 1.0,
        reference_field: str = "reference_logprobs",
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the penalty, a 0-d tensor, and an empty table of metrics.

        Parameters
        ----------
        data : the batch; the reference is ``data[0]["loss_fn_inputs"][reference_field]``.
        mode : ``output`` (or ``output_wrt_logprobs``) for `gradient_penalty` at `logprobs`, ``interpolated`` for
            `interpolated_gradient_penalty` between `logprobs` and the reference.
        loss_fn, target_norm : as in `gradient_penalty`.

        Raises
        ------
        ValueError : an unknown mode, or, when interpolating, empty data or a reference of another shape.
        KeyError : when interpolating, the first entry of the data has no such reference.
        """
        mode = _ALIASES.get(mode, mode)
        if mode == "output":
            return gradient_penalty(loss_fn, logprobs, target_norm=target_norm), {}
        if mode == "interpolated":
            reference = _read_reference(data, reference_field).to(logprobs)
            return interpolated_gradient_penalty(loss_fn, logprobs, reference, target_norm=target_norm), {}
        raise ValueError(f"mode is {mode!r}; available: {', '.join([*MODES, *_ALIASES])}.")


def input_gradient(loss_fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient of loss_fn at `x`, of its shape and differentiable again.

    Raises
    ------
    ValueError : the loss is not one number, or it has no gradient with respect to `x`.
    """
    with torch.enable_grad():
        point = x if x.requires_grad else x.detach().requires_grad_()
        loss = loss_fn(point)
        if loss.numel() != 1:
            raise ValueError(f"The loss has the shape {tuple(loss.shape)}; it must be one number.")
        if not loss.requires_grad:
            raise ValueError("The loss has no gradient with respect to its input; is there a module in eval mode?")
        (gradient,) = torch.autograd.grad(loss.sum(), point, create_graph=True, allow_unused=True)
    if gradient is None:
        raise ValueError("The loss has no gradient with respect to its input; it does not depend on it.")
    return gradient


def penalize_norms(x: Tensor, axes: tuple[int, ...], target_norm: float) -> Tensor:
    """Return (norm of x over `axes` - target_norm)**2, averaged over the other axes; at 0, its gradient is 0."""
    norms = torch.linalg.vector_norm(x, dim=axes) if axes else x.abs()
    return (norms - target_norm).square().mean()


def _read_reference(data: Sequence[dict[str, Any]], field: str) -> Tensor:
    if len(data) == 0:
        raise ValueError("The data are empty, so there is no reference to interpolate with.")
    if "loss_fn_inputs" not in data[0]:
        raise KeyError("The first entry of the data has no 'loss_fn_inputs'.")
    if field not in data[0]["loss_fn_inputs"]:
        raise KeyError(f"The loss_fn_inputs of the first entry have no {field!r}.")
    return torch.as_tensor(data[0]["loss_fn_inputs"][field])
