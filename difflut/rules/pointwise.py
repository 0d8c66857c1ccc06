"""A logistic unit evaluated at the real-valued pins."""

from __future__ import annotations

import torch
from torch import Tensor


def pointwise_logit(weights: Tensor, bias: Tensor, pins: Tensor) -> Tensor:
    """Return sigmoid(weights^T pins + bias) per node.

    Parameters
    ----------
    weights : (num_nodes, n, outputs).
    bias : (num_nodes, outputs).
    pins : (num_nodes, n, batch).

    Returns
    -------
    (num_nodes, outputs, batch)
    """
    return torch.sigmoid(affine(weights, bias, pins))


def affine(weights: Tensor, bias: Tensor, pins: Tensor) -> Tensor:
    """Return weights^T pins + bias per node, of shapes as in `pointwise_logit`."""
    return torch.bmm(weights.transpose(1, 2), pins) + bias.unsqueeze(2)
