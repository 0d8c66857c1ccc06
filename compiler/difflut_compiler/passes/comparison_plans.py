"""How the comparators of one word share their parts, planned with numbers alone.

A word is compared with thresholds ``t``, counted from its least value. A comparator of more bits than a LUT has inputs
is cut into high, middle and low bits. With the same parts of ``t``,

    x >= t  is  high > t.high,  or  high = t.high and middle > t.middle,
                                or  high = t.high and middle = t.middle and low >= t.low

One LUT reads the middle bits, ``high >= t.high``, ``high > t.high`` and ``low >= t.low``. The two about high bits are
comparators of the word themselves, with thresholds that end in zeros; thresholds near each other share them, and they
may be cut in turn. The one about low bits is a LUT, and its answer matters only where the bits above are those of
``t``: as long as a few of these, the *selectors*, tell thresholds with different low bits apart, they share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from difflut_compiler.ops import lowest_one

SELECTOR_CHOICE = 6
"""How many bits above the low ones selectors are chosen from."""
MAX_CUTS = 2
"""How many cuts a plan has at most: enough for words of 16 bits, and every further one makes the search much longer."""


@dataclass(frozen=True)
class LowPart:
    """A LUT of low bits and of the bits at the places ``selectors``, for all of ``thresholds``."""

    selectors: tuple[int, ...]
    thresholds: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """The places of the lowest bit of low, middle and high parts, and the thresholds that are cut there.

    No bit below ``low`` matters. There are no low bits where ``middle`` is ``low``, and no high ones where ``high`` is
    the number of the word's bits.
    """

    low: int
    middle: int
    high: int
    thresholds: tuple[int, ...]
    low_parts: tuple[LowPart, ...]

    def bounds(self, threshold: int, bits: int) -> tuple[int | None, int | None]:
        """The thresholds of ``high >= threshold.high`` and ``high > threshold.high``; None where that is constant."""
        reached = threshold >> self.high << self.high
        above = reached + (1 << self.high)
        return reached or None, above if above < 1 << bits else None


@dataclass(frozen=True)
class Plan:
    """Cuts, each of thresholds and of bounds of the cuts before it, and the LUTs of the word's comparators with them.

    A threshold that no cut has is a chain of LUTs of its own.
    """

    luts: int
    cuts: tuple[Cut, ...] = ()


@lru_cache(maxsize=1 << 12)
def plan_comparisons(bits: int, thresholds: tuple[int, ...], lut_inputs: int) -> Plan:
    """The plan with the fewest LUTs, none of them behind more others than in a chain for one comparator alone.

    ``thresholds`` are between 0 and ``2**bits``, ascending.
    """
    luts_each = [plain_luts(bits, threshold, lut_inputs) for threshold in thresholds]
    plan = _Planner(bits, lut_inputs).plan(0, thresholds, max(luts_each, default=0), MAX_CUTS)
    assert plan is not None
    return plan


def plain_luts(bits: int, threshold: int, lut_inputs: int) -> int:
    """LUTs of one comparator alone, in a chain from the lowest bit that matters to the highest one."""
    return -(-(bits - lowest_one(threshold) - 1) // (lut_inputs - 1))


@dataclass(frozen=True)
class _Planner:
    """Plans for words of ``bits`` and LUTs of ``lut_inputs``."""

    bits: int
    lut_inputs: int

    def plan(self, start: int, thresholds: Sequence[int], levels: int, cuts: int) -> Plan | None:
        """The best plan with so many levels of LUTs and cuts at most, from ``start`` upwards; None if there is none."""
        luts_each = [plain_luts(self.bits, threshold, self.lut_inputs) for threshold in thresholds]
        best = Plan(sum(luts_each)) if max(luts_each, default=0) <= levels else None
        long = [threshold for threshold, luts in zip(thresholds, luts_each, strict=True) if luts > 1]
        if not long or levels < 2 or not cuts:
            return best
        for cut in self._cuts(start, long):
            bounds = {bound for threshold in cut.thresholds for bound in cut.bounds(threshold, self.bits) if bound}
            others = tuple(sorted(bounds.union(thresholds).difference(cut.thresholds)))
            luts = len(cut.thresholds) + len(cut.low_parts)
            at_least = luts + len(others) - 1  # one at most, that of the highest bit alone, is a wire
            if best is not None and at_least >= best.luts:
                continue
            rest = self.plan(cut.high, others, levels - 1, cuts - 1)
            if rest is not None and (best is None or luts + rest.luts < best.luts):
                best = Plan(luts + rest.luts, (cut, *rest.cuts))
        return best

    def _cuts(self, start: int, thresholds: Sequence[int]) -> Iterator[Cut]:
        """All ways to cut thresholds that have no bit below ``start``; what is only high bits is left to later cuts."""
        for low_bits in (0, *range(2, self.lut_inputs + 1)):
            middle = start + low_bits
            low_parts = self._low_parts(start, middle, thresholds) if low_bits else ()
            pins_left = self.lut_inputs - (low_bits > 0)
            highest = min(middle + pins_left, self.bits)
            for high in range(middle + (low_bits == 0), highest + 1):
                here = tuple(threshold for threshold in thresholds if threshold % (1 << high))
                if here and (high == self.bits or high - middle <= pins_left - 2):
                    yield Cut(start, middle, high, here, low_parts)

    def _low_parts(self, low: int, middle: int, thresholds: Sequence[int]) -> tuple[LowPart, ...]:
        """Few low parts: every threshold with low bits goes to the first one that it fits."""
        parts: list[_GrowingPart] = []
        for threshold in thresholds:
            if threshold % (1 << middle) and not any(part.take(threshold) for part in parts):
                choice = range(middle, min(middle + SELECTOR_CHOICE, self.bits))
                count = min(self.lut_inputs - (middle - low), len(choice))
                parts.append(_GrowingPart(middle, combinations(choice, count), threshold))
        return tuple(part.finish() for part in parts)


class _GrowingPart:
    """A low part for more and more thresholds, with all selectors that can still tell them apart."""

    def __init__(self, middle: int, selectors: Iterable[tuple[int, ...]], threshold: int) -> None:
        self._mask = (1 << middle) - 1
        self._thresholds = [threshold]
        self._low_by_key = {places: {selector_key(threshold, places): threshold & self._mask} for places in selectors}

    def take(self, threshold: int) -> bool:
        """Take another threshold, if some selectors tell it from those with other low bits."""
        low = threshold & self._mask
        fitting = {
            places: lows
            for places, lows in self._low_by_key.items()
            if lows.get(selector_key(threshold, places), low) == low
        }
        if not fitting:
            return False
        for places, lows in fitting.items():
            lows[selector_key(threshold, places)] = low
        self._low_by_key = fitting
        self._thresholds.append(threshold)
        return True

    def finish(self) -> LowPart:
        return LowPart(next(iter(self._low_by_key)), tuple(self._thresholds))


def selector_key(number: int, places: Sequence[int]) -> int:
    """The bits of ``number`` at ``places``, the first one lowest."""
    return sum((number >> place & 1) << position for position, place in enumerate(places))
