"""``narrow-encoder``: thresholds with few leading bits take smaller comparators, and more of them coincide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.accuracy import LabelledData, least_right, spend_budget
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Compare, Input

ALLOWANCES: tuple[float, ...] = (0.0, *(2.0 ** np.arange(-14, 6, 0.25)).tolist())
"""How many pins per sample a rounding may change, to choose from."""


@dataclass(frozen=True)
class NarrowEncoder:
    """Round every threshold to the fewest leading input bits at which few samples read another bit.

    ``x >= t`` needs only those bits of ``x`` that are not below the lowest 1 of ``t`` (counted from the least input
    word): one bit is a wire, none a constant. A rounding changes the comparator's bit for the samples between the old
    threshold and the new one, and every pin that reads it; how many pins per sample that is may be at most an
    allowance, the same one for all thresholds. It is the greatest, found by bisection, with which the accuracy on the
    training samples falls by ``budget_points`` percentage points at most.
    """

    budget_points: float
    name: ClassVar[str] = "narrow-encoder"

    def apply(self, graph: LutGraph, training: LabelledData) -> tuple[LutGraph, str]:
        roundings = _find_roundings(graph, training.inputs)
        least = least_right(graph, training, self.budget_points)
        best = spend_budget(graph, ALLOWANCES, lambda allowance: _narrow(graph, roundings, allowance), training, least)
        return best, _describe(graph, best)


class _Roundings(NamedTuple):
    """Every comparator's threshold, rounded to each number of leading bits of its word.

    ``thresholds`` are ``(comparators, bits + 1)``, those of all bits the old ones; ``pins`` of the same shape says how
    many pins per sample read another bit then.
    """

    nets: Sequence[int]
    thresholds: NDArray[np.int64]
    pins: NDArray[np.float64]

    def choose(self, allowance: float) -> NDArray[np.int64]:
        """The thresholds ``(comparators,)`` of the fewest bits that change at most so many pins per sample."""
        fewest = (self.pins <= allowance).argmax(axis=1)
        chosen: NDArray[np.int64] = self.thresholds[np.arange(len(self.nets)), fewest]
        return chosen


def _find_roundings(graph: LutGraph, inputs: NDArray[np.int64]) -> _Roundings:
    comparators: dict[int, list[int]] = defaultdict(list)
    for net in graph.order():
        if isinstance(graph.node(net).op, Compare):
            comparators[graph.node(net).operands[0]].append(net)
    bits = max((graph.node(word).width for word in comparators), default=0)
    column = {word: place for place, word in enumerate(graph.inputs())}
    nets, thresholds, pins = [], [], []
    for word, readers in comparators.items():
        old = np.array([op.threshold for net in readers if isinstance(op := graph.node(net).op, Compare)])
        port = graph.node(word).op
        assert isinstance(port, Input)
        rounded, share = _round(old, port, bits, np.sort(inputs[:, column[word]]))
        fan_out = np.array([graph.dag.out_degree(net) for net in readers])
        nets += readers
        thresholds.append(rounded)
        pins.append(share * fan_out[:, np.newaxis])
    none = np.zeros((0, bits + 1))
    return _Roundings(nets, np.concatenate([none.astype(np.int64), *thresholds]), np.concatenate([none, *pins]))


def _round(
    thresholds: NDArray[np.int64], port: Input, bits: int, values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Thresholds ``(thresholds, bits + 1)`` of 0 to ``bits`` leading bits, and for what share of samples they matter.

    ``values`` are the samples' words in ascending order. Of the two neighbours on the grid, the one that changes fewer
    samples is taken.
    """
    distance = np.clip(thresholds - port.min_value, 0, 1 << port.bits)[:, np.newaxis]
    step = 1 << np.maximum(port.bits - np.arange(bits + 1), 0)
    below = distance // step * step
    above = below + step * (below < distance)

    def changed(other: NDArray[np.int64]) -> NDArray[np.int64]:
        before, after = (np.searchsorted(values, port.min_value + one) for one in (distance, other))
        count: NDArray[np.int64] = np.abs(after - before)
        return count

    goes_up = (changed(above) < changed(below)) | (changed(above) == changed(below)) & (above + below < 2 * distance)
    rounded = np.where(goes_up, above, below)
    return port.min_value + rounded, changed(rounded) / len(values)


def _narrow(graph: LutGraph, roundings: _Roundings, allowance: float) -> LutGraph:
    narrowed = graph.copy()
    for net, threshold in zip(roundings.nets, roundings.choose(allowance).tolist(), strict=True):
        narrowed.replace(net, Compare(threshold), graph.node(net).operands)
    return narrowed


def _describe(before: LutGraph, after: LutGraph) -> str:
    comparators = [net for net in before if isinstance(before.node(net).op, Compare)]
    moved = sum(before.node(net).op != after.node(net).op for net in comparators)
    needed = [_count_comparisons(graph, comparators) for graph in (before, after)]
    return f"{moved} of {len(comparators)} thresholds rounded: {needed[1]} different comparisons instead of {needed[0]}"


def _count_comparisons(graph: LutGraph, comparators: Sequence[int]) -> int:
    """How many different comparisons there are that are not constants."""
    nodes = [graph.node(net) for net in comparators if graph.node(net).op.fold(graph.operands(net)) is None]
    return len({(node.op, node.operands) for node in nodes})
