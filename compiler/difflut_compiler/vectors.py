"""Inputs to check a network with: the values where something can go wrong, and random ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Compare, Input

RANDOM_SAMPLES = 1000
RANDOM_SEED = 2024


@dataclass(frozen=True)
class Vectors:
    """Integer inputs ``(samples, features)``: corners, then random ones, then those of the data, if any were given."""

    inputs: NDArray[np.int64]
    data_samples: int
    corner_samples: int
    random_samples: int

    @property
    def made(self) -> NDArray[np.int64]:
        """The corner and random inputs, without the data."""
        return self.inputs[: self.corner_samples + self.random_samples]

    def describe(self) -> str:
        parts = [(self.corner_samples, "corner"), (self.random_samples, "random"), (self.data_samples, "data")]
        return ", ".join(f"{count} {kind}" for count, kind in parts if count) + " samples"


def make_vectors(graph: LutGraph, data: NDArray[np.int64] | None) -> Vectors:
    """Vectors for a lowered graph; the same graph and data give the same vectors."""
    words = [op for net in graph.inputs() if isinstance(op := graph.node(net).op, Input)]
    low = np.array([op.min_value for op in words], dtype=np.int64)
    high = np.array([op.max_value for op in words], dtype=np.int64)
    corners = _corners(graph, low, high)
    random = np.random.default_rng(RANDOM_SEED).integers(low, high + 1, (RANDOM_SAMPLES, len(words)))
    given = np.zeros((0, len(words)), dtype=np.int64) if data is None else data
    return Vectors(np.concatenate([corners, random, given]), len(given), len(corners), len(random))


def _corners(graph: LutGraph, low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    """All lowest, all highest, alternating, and every feature on and just below each of its thresholds."""
    alternating = np.where(np.arange(len(low)) % 2, low, high)
    rows = [low, high, alternating, low + high - alternating]
    thresholds: dict[int, list[int]] = {net: [] for net in graph.inputs()}
    for net in graph:
        node = graph.node(net)
        if isinstance(node.op, Compare):
            thresholds[node.operands[0]].append(node.op.threshold)
    for number in range(max(len(values) for values in thresholds.values())):
        chosen = [sorted(values)[min(number, len(values) - 1)] if values else 0 for values in thresholds.values()]
        rows += [np.clip(np.array(chosen) + offset, low, high) for offset in (0, -1)]
    return np.stack(rows)
