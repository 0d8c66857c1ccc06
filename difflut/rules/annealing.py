"""Temperatures that fall while training goes on."""

from __future__ import annotations

import math


def anneal_tau(start: float, minimum: float, decay_iters: int, iteration: int) -> float:
    """Return a temperature that falls by a factor of 10 in every `decay_iters` iterations, down to a minimum."""
    return max(start * math.pow(10, -iteration / decay_iters), minimum)
