"""One value going forward, another one's gradient going back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def straight_through(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return `value`, exactly, with the gradient of `surrogate`; both have the same shape.

    The straight-through estimator of Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons
    (2013). Unlike ``surrogate + (value - surrogate).detach()`` it does not round. Differentiable again as far as the
    surrogate is.
    """
    result: Tensor = _StraightThrough.apply(value, surrogate)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, surrogate: Tensor) -> Tensor:  # noqa: ARG004
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:  # noqa: ARG004
        return None, grad
