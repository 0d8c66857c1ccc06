"""Labelled samples: how often a graph is right on them, and how often it has to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph


@dataclass(frozen=True)
class LabelledData:
    """Samples as integers in the model's input format ``(samples, features)``, and their classes."""

    name: str
    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]


def check_budget(points: float, option: str) -> None:
    """A budget is a number of percentage points of accuracy."""
    if not 0 <= points <= 100:
        raise CompilerError(f"{option} is {points:g}; it is percentage points of accuracy, from 0 to 100")


def count_right(graph: LutGraph, data: LabelledData) -> int:
    """How many of the samples the graph classifies as they are labelled."""
    return int((graph.evaluate(data.inputs)["class_index"] == data.labels).sum())


def least_right(graph: LutGraph, data: LabelledData, budget_points: float) -> int:
    """How many samples must still be right when ``budget_points`` percent of all may be lost."""
    return count_right(graph, data) - math.floor(budget_points / 100 * len(data.labels))


def spend_budget(
    graph: LutGraph, allowances: Sequence[float], change: Callable[[float], LutGraph], data: LabelledData, least: int
) -> LutGraph:
    """What ``change`` makes of a graph at the greatest of ascending ``allowances`` that leaves ``least`` samples right.

    Found by bisection, as if accuracy only fell with the allowance; ``graph`` itself if none leaves so many.
    """
    best, low, high = graph, -1, len(allowances)
    while high - low > 1:
        middle = (low + high) // 2
        candidate = change(allowances[middle])
        if count_right(candidate, data) >= least:
            low, best = middle, candidate
        else:
            high = middle
    return best
