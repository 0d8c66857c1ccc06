"""The function of a look-up table in words, for people who look at one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.ops import table_to_bools

Entries = NDArray[np.bool_]


def describe_table(table: int, names: Sequence[str]) -> str:
    """What a table of ``len(names)`` inputs computes, as one phrase: ``a and not b``, ``at least 2 of a, b, c``.

    A function that is none of those with a name is described by how often it is 1 and by the input that matters most.
    Input ``j`` is address bit ``j``. Inputs that do not matter are left out.
    """
    entries = table_to_bools(table, len(names))
    kept = [j for j, weight in enumerate(influences(entries[None])[0]) if weight > 0]
    if not kept:
        return f"always {int(entries[0])}"
    names = [names[j] for j in kept]
    entries = _restrict(entries, kept)
    for phrase in (_one_literal, _and_or, _parity, _threshold, _choice):
        found = phrase(entries, names)
        if found:
            return found
    return _statistics(entries, names)


def influences(tables: Entries) -> NDArray[np.float64]:
    """The share of addresses at which flipping an input flips the output: ``(luts, n)`` for ``(luts, 2**n)``."""
    luts, size = tables.shape
    inputs = size.bit_length() - 1
    shares = np.zeros((luts, inputs))
    for j in range(inputs):
        pairs = tables.reshape(luts, -1, 2, 1 << j)
        shares[:, j] = (pairs[:, :, 0] != pairs[:, :, 1]).mean(axis=(1, 2))
    return shares


def entropies(tables: Entries) -> NDArray[np.float64]:
    """Entropy in bits of the output of every table ``(luts, 2**n)`` at equally likely addresses."""
    ones = tables.mean(axis=1)
    bits = np.zeros(len(tables))
    for share in (ones, 1 - ones):
        bits -= share * np.log2(np.where(share > 0, share, 1))
    return bits + 0.0


def _restrict(entries: Entries, kept: Sequence[int]) -> Entries:
    """The table over the inputs ``kept`` alone; the others do not matter and are taken as 0."""
    address = np.zeros(1 << len(kept), dtype=np.int64)
    for new, old in enumerate(kept):
        address |= (np.arange(1 << len(kept)) >> new & 1) << old
    return entries[address]


def _bits(entries: Entries) -> NDArray[np.int64]:
    """The inputs at every address: ``(addresses, inputs)``."""
    inputs = len(entries).bit_length() - 1
    bits: NDArray[np.int64] = np.arange(len(entries))[:, None] >> np.arange(inputs) & 1
    return bits


def _literal(name: str, value: int) -> str:
    return name if value else f"not {name}"


def _one_literal(entries: Entries, names: Sequence[str]) -> str:
    return _literal(names[0], int(entries[1])) if len(names) == 1 else ""


def _and_or(entries: Entries, names: Sequence[str]) -> str:
    """A conjunction has a single 1, a disjunction a single 0."""
    for value, word in ((1, " and "), (0, " or ")):
        if (entries == bool(value)).sum() == 1:
            address = int(np.flatnonzero(entries == bool(value))[0])
            return word.join(_literal(name, (address >> j & 1) == value) for j, name in enumerate(names))
    return ""


def _parity(entries: Entries, names: Sequence[str]) -> str:
    parity = _bits(entries).sum(axis=1) % 2 == 1
    if (entries == parity).all():
        return f"an odd number of {', '.join(names)}"
    if (entries != parity).all():
        return f"an even number of {', '.join(names)}"
    return ""


def _threshold(entries: Entries, names: Sequence[str]) -> str:
    """At least k of the inputs, each as it is or inverted."""
    bits = _bits(entries)
    rising = [bool(entries[bits[:, j] == 1].sum() > entries[bits[:, j] == 0].sum()) for j in range(len(names))]
    count = (bits == np.array(rising)).sum(axis=1)
    for least in range(1, len(names) + 1):
        if (entries == (count >= least)).all():
            literals = ", ".join(_literal(name, up) for name, up in zip(names, rising, strict=True))
            return f"at least {least} of {literals}"
    return ""


def _choice(entries: Entries, names: Sequence[str]) -> str:
    """One of two inputs, as a third one says."""
    if len(names) != 3:
        return ""
    bits = _bits(entries)
    for select in range(3):
        low, high = (j for j in range(3) if j != select)
        for first, second in ((low, high), (high, low)):
            if (entries == np.where(bits[:, select] == 1, bits[:, first], bits[:, second])).all():
                return f"{names[first]} if {names[select]}, else {names[second]}"
    return ""


def _statistics(entries: Entries, names: Sequence[str]) -> str:
    weights = influences(entries[None])[0]
    first = int(weights.argmax())
    agreeing = float((entries == (_bits(entries)[:, first] == 1)).mean())
    relation = _literal(names[first], agreeing >= 0.5)
    return (
        f"1 at {int(entries.sum())} of {len(entries)} addresses; most like {relation}, "
        f"with which it agrees at {max(agreeing, 1 - agreeing):.0%}"
    )
