"""Hard choice of an input, trained straight through a softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from difflut.kernels import chosen_for, ops
from difflut.kernels.cpu import GIVEN

_CHUNK_ELEMENTS = 2**17  # gathered at a time in the backward pass: 512 KiB of float32 stay in a core's cache


def choose(logits: Tensor, candidates: Tensor) -> Tensor:
    """Return int64 (nodes, n): the candidate with the largest logit, the first one of equals.

    Both arguments are (nodes, n, choices).
    """
    if chosen_for(1, logits):
        chosen: Tensor = ops.choose(logits.detach(), candidates)
        return chosen
    best = logits.detach().argmax(2, keepdim=True)
    return candidates.gather(2, best).squeeze(2)


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
        in_kernel = chosen_for(1, logits, rows=(features, grad)) and not torch.is_grad_enabled()
        grad_features = grad_logits = None
        if ctx.needs_input_grad[0]:
            add = _add_rows_in_kernel if in_kernel else _add_rows
            grad_features = add(features, chosen, grad)
        if ctx.needs_input_grad[3]:
            correlate = _correlate_in_kernel if in_kernel else _correlate
            differentiate = ops.differentiate_choice if in_kernel else _differentiate_choice
            grad_logits = differentiate(correlate(grad, features, chosen, candidates), logits, ctx.tau)
        return grad_features, None, None, grad_logits, None


def _differentiate_choice(gains: Tensor, logits: Tensor, tau: float) -> Tensor:
    """Return the gradient of sum_k softmax(logits / tau)_k * gains_k in the logits, (..., choices)."""
    weights = torch.softmax(logits / tau, dim=-1)
    return weights * (gains - (weights * gains).sum(-1, keepdim=True)) / tau


def _add_rows(features: Tensor, chosen: Tensor, grad: Tensor) -> Tensor:
    """Return the features' gradient (inputs, batch): every pin's added to that of its chosen feature."""
    return torch.zeros_like(features).index_add(0, chosen, grad)


def _add_rows_in_kernel(features: Tensor, chosen: Tensor, grad: Tensor) -> Tensor:
    unread = chosen.new_empty(0, dtype=torch.uint8)
    total: Tensor = ops.sum_by_feature(GIVEN, grad, grad, unread, features, chosen.unsqueeze(1))
    return total


def _correlate(grad: Tensor, features: Tensor, chosen: Tensor, candidates: Tensor) -> Tensor:  # noqa: ARG001 -- one signature
    """Return (pins, choices): sum over the batch of grad[pin] * features[candidate]."""
    batch = grad.shape[1]
    rows = max(1, _CHUNK_ELEMENTS // max(1, candidates.shape[1] * batch))
    parts = []
    for some_candidates, some_grad in zip(torch.split(candidates, rows), torch.split(grad, rows), strict=True):
        gathered = features.index_select(0, some_candidates.flatten()).view(*some_candidates.shape, batch)
        parts.append(torch.bmm(gathered, some_grad.unsqueeze(2)).squeeze(2))
    return torch.cat(parts)


def _correlate_in_kernel(grad: Tensor, features: Tensor, chosen: Tensor, candidates: Tensor) -> Tensor:
    unread = candidates.new_empty(0, dtype=torch.uint8)
    gains: Tensor = ops.correlate(GIVEN, grad, grad, unread, features, chosen.unsqueeze(1), candidates.unsqueeze(1))
    return gains.squeeze(1)
