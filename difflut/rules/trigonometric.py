"""A sum of plane waves over the real-valued pins."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def plane_waves(frequencies: Tensor, amplitudes: Tensor, phases: Tensor, pins: Tensor) -> Tensor:
    """Return sum_k amplitudes_k * cos(2 pi frequencies_k . pins + phases_k) per node.

    The phase is taken out of the cosine by its addition theorem, so the waves are formed once for all outputs. Plain
    autograd, any order of derivative.

    Parameters
    ----------
    frequencies : (num_nodes, waves, n), in periods per unit.
    amplitudes, phases : (num_nodes, waves, outputs).
    pins : (num_nodes, n, batch).

    Returns
    -------
    (num_nodes, outputs, batch)
    """
    angles = 2 * math.pi * torch.bmm(frequencies, pins)
    in_phase = torch.bmm((amplitudes * torch.cos(phases)).transpose(1, 2), torch.cos(angles))
    quadrature = torch.bmm((amplitudes * torch.sin(phases)).transpose(1, 2), torch.sin(angles))
    return in_phase - quadrature
