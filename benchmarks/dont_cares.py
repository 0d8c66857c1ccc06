"""LUTs with addresses that cannot occur, and what these could save, by trying everything.

`lut_counts.py` counts them in what the exact passes left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.graph import LutGraph, Node
from difflut_compiler.ops import Lut, table_to_bools
from difflut_compiler.passes.windows import Column, grow_window, look_up

WINDOW_ROWS = 1 << 14
"""How many combinations are tried before the pins of a LUT, to see which of its addresses occur."""
MAX_PINS = 12
"""Two LUTs that read more than so many nets are no candidates for one."""


@dataclass(frozen=True)
class DontCareCount:
    """What is left after the exact passes of LUTs with addresses that cannot occur, and of what that could save.

    ``narrower`` could do with fewer pins; ``joined`` are pairs of which one LUT of six inputs could take the place:
    because they answer the same or the opposite, or because one is the only reader of the other.
    """

    network: str
    luts: int
    impossible: int
    narrower: int
    joined: int


def count_dont_cares(name: str, optimised: LutGraph) -> DontCareCount:
    """Every question is answered by trying: all combinations in a window, all choices of pins, all pairs of LUTs."""
    luts = {net: node for net, node in optimised.nodes.items() if isinstance(node.op, Lut)}
    possible = {net: possible_addresses(optimised, node.operands) for net, node in luts.items()}
    impossible = {net for net, one in possible.items() if not one.all()}
    narrower = [net for net in impossible if fewest_pins(answers(luts[net]), possible[net]) < len(luts[net].operands)]
    readers = Counter(operand for node in optimised.nodes.values() for operand in set(node.operands))
    pairs = [(net, operand) for net in luts for operand in set(luts[net].operands) & luts.keys()]
    joined = sum(
        can_be_one(optimised, inner, reader)
        for reader, inner in pairs
        if readers[inner] == 1 and not impossible.isdisjoint((inner, reader))
    )
    joined += sum(is_same_or_opposite(optimised, net, other) for net, other in siblings(luts, impossible))
    return DontCareCount(name, len(luts), len(impossible), len(narrower), joined)


def possible_addresses(graph: LutGraph, nets: Sequence[int]) -> Column:
    """``(2**nets,)``: which combinations of ``nets`` occur, as far as the window before them shows."""
    window = grow_window(graph, list(nets), WINDOW_ROWS)
    if window.rows > WINDOW_ROWS:
        return np.ones(1 << len(nets), dtype=np.bool_)
    return window.combinations(nets)


def answers(node: Node) -> Column:
    assert isinstance(node.op, Lut)
    return table_to_bools(node.op.table, node.op.fan_in)


def fewest_pins(table: Column, possible: Column) -> int:
    """How many pins tell apart all possible addresses with different answers."""
    pins = len(table).bit_length() - 1
    addresses = np.flatnonzero(possible)
    return next(
        count
        for count in range(pins + 1)
        for kept in combinations(range(pins), count)
        if is_function_of(addresses & sum(1 << pin for pin in kept), table[addresses], len(table))
    )


def is_function_of(keys: NDArray[np.int64], values: Column, key_count: int) -> bool:
    """Whether equal keys, from 0 to ``key_count`` - 1, always have equal values."""
    ones, zeros = (np.bincount(keys[values == value], minlength=key_count) for value in (True, False))
    return not bool((ones.astype(bool) & zeros.astype(bool)).any())


def on_pins(graph: LutGraph, net: int, columns: Mapping[int, Column]) -> Column:
    """What a LUT answers where its operands have the values in ``columns``."""
    node = graph.node(net)
    assert isinstance(node.op, Lut)
    return look_up(node.op, [columns[operand] for operand in node.operands])


def columns_of(nets: Sequence[int]) -> dict[int, Column]:
    """All combinations of values of ``nets``, ``(2**nets,)`` for each."""
    return {net: np.arange(1 << len(nets)) >> place & 1 == 1 for place, net in enumerate(nets)}


def can_be_one(graph: LutGraph, inner: int, reader: int) -> bool:
    """Whether a LUT of six inputs can answer as ``reader`` does at all that ``inner`` and it read."""
    nets = sorted({*graph.node(inner).operands, *graph.node(reader).operands} - {inner})
    if len(nets) > MAX_PINS:
        return False
    columns = columns_of(nets)
    columns[inner] = on_pins(graph, inner, columns)
    return fewest_pins(on_pins(graph, reader, columns), possible_addresses(graph, nets)) <= 6


def siblings(luts: Mapping[int, Node], some: Set[int]) -> Iterator[tuple[int, int]]:
    """Pairs of LUTs with a pin in common, the first in ``some``."""
    reading: dict[int, list[int]] = {}
    for net, node in luts.items():
        for operand in set(node.operands):
            reading.setdefault(operand, []).append(net)
    for net in some:
        others = {other for operand in luts[net].operands for other in reading[operand]}
        yield from ((net, other) for other in others if other != net and (other not in some or net < other))


def is_same_or_opposite(graph: LutGraph, net: int, other: int) -> bool:
    nets = sorted({*graph.node(net).operands, *graph.node(other).operands})
    if len(nets) > MAX_PINS or other in nets or net in nets:
        return False
    columns = columns_of(nets)
    different = (on_pins(graph, net, columns) ^ on_pins(graph, other, columns))[possible_addresses(graph, nets)]
    return bool(different.all() or not different.any())
