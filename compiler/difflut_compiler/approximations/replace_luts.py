"""``replace-luts``: what a LUT answers at addresses that data hardly make is free, and often makes it needless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.accuracy import LabelledData, least_right, spend_budget
from difflut_compiler.arrays import GraphArrays, LutBlock
from difflut_compiler.evaluation import evaluator
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import BUFFER, INVERTER, Const, Lut

VALUES_PER_CHUNK = 1 << 25
"""Values of nets on samples that are held at once, about 20 bytes for each."""
LEAST_SAMPLES = 512
"""Fewer samples at once take as long to evaluate."""
VALUES_AT_ONCE = 1 << 17
"""Values that are computed with at once, to stay in the processor's cache."""


@dataclass(frozen=True)
class ReplaceLuts:
    """Replace LUTs by a constant, by one of their inputs or by its opposite, where training samples hardly notice.

    Each such replacement differs from the LUT at some of its addresses: those become don't-cares. It costs as many
    votes as it changes on the training samples, at those addresses and only where the LUTs behind look at the bit. All
    LUTs that cost at most so many votes per sample are replaced; how many that is, is found by bisection, such that the
    accuracy on the training samples falls by ``budget_points`` percentage points at most. The idea to take addresses
    that training data do not make as don't-cares is that of ReducedLUT (Cassidy et al., FPGA 2025).
    """

    budget_points: float
    name: ClassVar[str] = "replace-luts"

    def apply(self, graph: LutGraph, training: LabelledData) -> tuple[LutGraph, str]:
        replacements = find_replacements(graph, training.inputs)
        costs = sorted({one.votes for one in replacements.values()})
        least = least_right(graph, training, self.budget_points)
        best = spend_budget(graph, costs, lambda allowance: _replace(graph, replacements, allowance), training, least)
        return best, _describe(graph, best)


class Replacement(NamedTuple):
    """The cheapest replacement of a LUT: a constant, or a LUT of one pin that reads one of its operands.

    ``votes`` is how many votes per sample it changes, each replacement taken alone and each way to a vote for itself.
    """

    votes: float
    op: Const | Lut
    operands: tuple[int, ...]


def find_replacements(graph: LutGraph, inputs: NDArray[np.int64]) -> dict[int, Replacement]:
    """The cheapest replacement of every LUT on samples ``(samples, inputs)``."""
    arrays = graph.arrays()
    evaluate = evaluator(graph, arrays.nets.tolist())
    samples = max(LEAST_SAMPLES, VALUES_PER_CHUNK // len(arrays))
    counter = _VoteCounter(arrays, min(samples, len(inputs)))
    for start in range(0, len(inputs), samples):
        counter.add(evaluate(inputs[start : start + samples]) != 0)
    return {
        net: one
        for fan_in, block in arrays.luts.items()
        for net, one in _cheapest(arrays, block, _changes(block.tables, counter.by_address[fan_in]) / len(inputs))
    }


class _VoteCounter:
    """Counts how many votes hang on the LUTs of a graph, ``samples`` samples at a time or fewer.

    ``by_address`` has, by fan-in, ``(luts, 2**fan_in)`` votes that would have changed, had the LUT flipped, summed over
    the samples that made each address.
    """

    def __init__(self, arrays: GraphArrays, samples: int) -> None:
        self._arrays = arrays
        of_lut = arrays.is_lut[arrays.readers]
        self._direct_votes = np.bincount(arrays.operands[~of_lut], minlength=len(arrays))
        """``(nodes,)``: how often others than LUTs read each bit, each time as a vote."""
        pins = np.flatnonzero(of_lut & arrays.is_lut[arrays.operands])
        levels = arrays.level[arrays.operands[pins]]
        by_operand = np.lexsort((arrays.operands[pins], levels))
        ends = np.searchsorted(levels[by_operand], np.arange(1, len(arrays.levels)))
        self._pins_by_level = np.split(pins[by_operand], ends)
        """The pins between LUTs by the level of what they read, and then by what they read."""
        self._flips = {fan_in: _flips(block.tables) for fan_in, block in arrays.luts.items()}
        self._flipping = np.empty((len(arrays), samples), np.result_type(np.uint8, *self._flips.values()))
        self._votes = np.empty((len(arrays), samples), np.int64)
        self.by_address = {fan_in: np.zeros(block.tables.shape) for fan_in, block in arrays.luts.items()}

    def add(self, bits: NDArray[np.bool_]) -> None:
        """Count on more samples; ``bits`` ``(nodes, samples)`` are the values of all nodes that are one bit wide."""
        samples = bits.shape[1]
        flipping, votes = self._flipping[:, :samples], self._votes[:, :samples]
        for fan_in, part, rows, operands in self._lut_parts(samples):
            flipping[rows] = self._flips[fan_in][part].ravel()[_find_entries(operands, bits)]
        self._find_votes(flipping, votes)
        for fan_in, part, rows, operands in self._lut_parts(samples):
            sums = self.by_address[fan_in][part]
            more = np.bincount(_find_entries(operands, bits).ravel(), votes[rows].ravel(), minlength=sums.size)
            sums += more.reshape(sums.shape)  # whole numbers, so that sums are exact in any order

    def _lut_parts(self, samples: int) -> Iterator[tuple[int, slice, NDArray[np.int64], NDArray[np.int64]]]:
        """LUTs of one fan-in: it, which ones they are of its block, their rows and what they read."""
        for fan_in, block in self._arrays.luts.items():
            for part in _parts(len(block.rows), samples):
                yield fan_in, part, block.rows[part], block.operands[part]

    def _find_votes(self, flipping: NDArray[np.unsignedinteger[Any]], votes: NDArray[np.int64]) -> None:
        """Set ``votes`` ``(nodes, samples)``: in how many ways a vote changes with the bit of each LUT.

        ``flipping`` ``(nodes, samples)`` says which pins, a bit for each, would flip a LUT.
        """
        arrays = self._arrays
        votes[:] = self._direct_votes[:, np.newaxis]
        for pins in reversed(self._pins_by_level):
            for part in _parts(len(pins), votes.shape[1]):
                readers, operands = arrays.readers[pins[part]], arrays.operands[pins[part]]
                numbers = (pins[part] - arrays.starts[readers]).astype(flipping.dtype)
                through = votes[readers]
                through *= flipping[readers] >> numbers[:, np.newaxis] & 1
                firsts = np.flatnonzero(np.diff(operands, prepend=-1))
                votes[operands[firsts]] += np.add.reduceat(through, firsts)


def _parts(count: int, samples: int) -> list[slice]:
    """Slices of ``count`` rows whose values on so many samples fit into a cache."""
    size = max(1, VALUES_AT_ONCE // max(1, samples))
    return [slice(first, first + size) for first in range(0, count, size)]


def _flips(tables: NDArray[np.bool_]) -> NDArray[np.unsignedinteger[Any]]:
    """``(luts, 2**n)``: at every address of tables ``(luts, 2**n)``, the pins, a bit for each, that flip the answer."""
    size = tables.shape[1]
    pins = size.bit_length() - 1
    flips = np.zeros(tables.shape, dtype=np.min_scalar_type((1 << pins) - 1))
    for pin in range(pins):
        flips |= (tables ^ tables[:, np.arange(size) ^ (1 << pin)]).astype(flips.dtype) << pin
    return flips


def _find_entries(operands: NDArray[np.int64], bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``(luts, samples)``: which entry of their tables, counted through all of them, LUTs show."""
    luts, fan_in = operands.shape
    address = np.zeros((luts, bits.shape[1]), dtype=np.min_scalar_type((1 << fan_in) - 1))
    for pin in range(fan_in):
        address |= bits[operands[:, pin]].astype(address.dtype) << pin
    entries: NDArray[np.int64] = address + (np.arange(luts) << fan_in)[:, np.newaxis]
    return entries


def _changes(tables: NDArray[np.bool_], votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many votes change if a LUT becomes something else: ``(luts, 1 + fan_in, 2)``.

    Row 0 is the constant, row ``1 + j`` the LUT's pin ``j``; column 1 is the opposite. ``votes`` ``(luts, 2**fan_in)``
    are those that change if it flips.
    """
    size = tables.shape[1]
    pins = np.arange(size) >> np.arange(size.bit_length() - 1)[:, np.newaxis] & 1 == 1
    answers = np.concatenate([np.zeros((1, size), np.bool_), pins])
    changed = np.stack([(votes * (tables ^ answer)).sum(axis=1) for answer in answers], axis=1)
    return np.stack([changed, votes.sum(axis=1)[:, np.newaxis] - changed], axis=2)


def _cheapest(arrays: GraphArrays, block: LutBlock, votes: NDArray[np.float64]) -> Iterator[tuple[int, Replacement]]:
    """The nets of LUTs and their replacements; ``votes`` is what each of these costs, ``(luts, 1 + fan_in, 2)``."""
    sources, opposites = np.divmod(votes.reshape(len(votes), -1).argmin(axis=1), 2)
    read = arrays.nets[np.take_along_axis(block.operands, np.maximum(sources, 1)[:, np.newaxis] - 1, axis=1)[:, 0]]
    least = votes.min(axis=(1, 2))
    found = (arrays.nets[block.rows], least, sources, opposites, read)
    for net, cost, source, opposite, operand in zip(*(one.tolist() for one in found), strict=True):
        if source == 0:
            yield net, Replacement(cost, Const(opposite), ())
        else:
            yield net, Replacement(cost, INVERTER if opposite else BUFFER, (operand,))


def _replace(graph: LutGraph, replacements: Mapping[int, Replacement], allowance: float) -> LutGraph:
    smaller = graph.copy()
    for net, one in replacements.items():
        if one.votes <= allowance:
            smaller.replace(net, one.op, one.operands)
    return smaller


def _describe(before: LutGraph, after: LutGraph) -> str:
    luts = [net for net in before if isinstance(before.node(net).op, Lut)]
    constants = sum(isinstance(after.node(net).op, Const) for net in luts)
    wires = sum(before.node(net) != after.node(net) for net in luts) - constants
    return f"of {len(luts)} LUTs, {constants} made constants and {wires} one of their inputs or its opposite"
