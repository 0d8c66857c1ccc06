"""A look-up table as a sequence of two-to-one selections: what C expressions and AND gates are made of."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

FALSE, TRUE = 0, 1
"""Literals. Input ``j`` is ``2 + 2 * j``, step ``i`` of a table of ``n`` inputs is ``2 + 2 * (n + i)``; the next
greater, odd number is the same inverted."""


class Step(NamedTuple):
    """``low`` where ``select`` is 0, ``high`` where it is 1; ``select`` and ``low`` are never inverted literals."""

    select: int
    low: int
    high: int


class Steps(NamedTuple):
    """Steps, each reading only inputs and earlier ones, and the literal that is the value of the table."""

    steps: tuple[Step, ...]
    value: int


@lru_cache(maxsize=1 << 16)
def decompose(table: int, fan_in: int) -> Steps:
    """Split ``table`` by its highest input, again and again; equal or inverse parts are made once."""
    steps: list[Step] = []
    known: dict[tuple[int, int], int] = {}

    def literal(part: int, inputs: int) -> int:
        """The literal of a part of the table that depends on the first ``inputs`` inputs."""
        ones = (1 << (1 << inputs)) - 1
        if part & 1:  # of a part and its inverse, only the one that starts with 0 is made
            return literal(part ^ ones, inputs) ^ 1
        if part == 0:
            return FALSE
        if (part, inputs) not in known:
            half = 1 << inputs - 1
            low, high = literal(part & ones >> half, inputs - 1), literal(part >> half, inputs - 1)
            known[part, inputs] = choose(2 * inputs, low, high)
        return known[part, inputs]

    def choose(select: int, low: int, high: int) -> int:
        if low == high:
            return low
        if (low, high) == (FALSE, TRUE):
            return select
        steps.append(Step(select, low, high))
        return 2 + 2 * (fan_in + len(steps) - 1)

    value = literal(table, fan_in)
    return Steps(tuple(steps), value)
