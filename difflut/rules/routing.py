"""Hard choice of an input, trained straight through a softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 2**17  # gathered at a time in the backward pass: 512 KiB of float32 stay in a core's cache


def route_hard(features: Tensor, chosen: Tensor, candidates: Tensor, logits: Tensor, tau: float) -> Tensor:
    """Return the chosen feature of each pin; the logits learn as if candidates were mixed.

    Gradients: that of a pin goes to its chosen feature only; that of the logits is the gradient of
    sum_k softmax(logits / tau)_k * features[candidates_k].

    Parameters
    ----------
    features : (inputs, batch).
    chosen : int64 (pins,).
    candidates : int64 (pins, choices).
    logits : (pins, choices).

    Returns
    -------
    (pins, batch)
    """
    result: Tensor = _RouteHard.apply(features, chosen, candidates, logits, tau)  # type: ignore[no-untyped-call]
    return result


class _RouteHard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, chosen: Tensor, candidates: Tensor, logits: Tensor, tau: float) -> Tensor:
        ctx.save_for_backward(features, chosen, candidates, logits)
        ctx.tau = tau
        return features.index_select(0, chosen)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor | None, None]:
        features, chosen, candidates, logits = ctx.saved_tensors
        grad_features = None
        if ctx.needs_input_grad[0]:
            grad_features = torch.zeros_like(features).index_add(0, chosen, grad)
        grad_logits = None
        if ctx.needs_input_grad[3]:
            weights = torch.softmax(logits / ctx.tau, dim=1)
            gains = _correlate(grad, features, candidates)
            grad_logits = weights * (gains - (weights * gains).sum(1, keepdim=True)) / ctx.tau
        return grad_features, None, None, grad_logits, None


def _correlate(grad: Tensor, features: Tensor, candidates: Tensor) -> Tensor:
    """Return (pins, choices): sum over the batch of grad[pin] * features[candidate]."""
    batch = grad.shape[1]
    rows = max(1, _CHUNK_ELEMENTS // max(1, candidates.shape[1] * batch))
    parts = []
    for some_candidates, some_grad in zip(torch.split(candidates, rows), torch.split(grad, rows), strict=True):
        gathered = features.index_select(0, some_candidates.flatten()).view(*some_candidates.shape, batch)
        parts.append(torch.bmm(gathered, some_grad.unsqueeze(2)).squeeze(2))
    return torch.cat(parts)
