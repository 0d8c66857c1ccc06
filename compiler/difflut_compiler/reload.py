"""Tables that can be written while the hardware is there: the load port, and images of tables to be written through it.

The LUTs of a layer lie in groups of :data:`LOAD_BITS`. A write puts one word at an address: the group in its high
bits, in its low ones the entry, and bit ``k`` of the word becomes that entry in the table of the group's LUT ``k``.
Tables with fewer entries than the largest one do not look at the highest bits of the entry; an image says the same
there again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Node
from difflut_compiler.ops import Lut, bits_for, complement_table, table_to_bools
from difflut_compiler.passes import (
    DropDead,
    ExpandArgMax,
    ExpandEncoder,
    ExpandPopCount,
    ExpandWords,
    FoldConstants,
    Pass,
)

LOAD_BITS = 32
IMAGE_FILE = "tables.hex"
FIXED_LAYERS = frozenset({"input", "encoder", "class_counts", "argmax", "output"})
"""Layers whose tables say how the network is built, not what it has learnt."""


@dataclass(frozen=True)
class LoadMap:
    """Where the table of every LUT lies: ``groups`` are nets, at most :data:`LOAD_BITS` each and all of one layer."""

    groups: tuple[tuple[int, ...], ...]
    entry_bits: int

    @property
    def address_bits(self) -> int:
        return self.entry_bits + bits_for(len(self.groups) - 1)


def is_reloadable(node: Node) -> bool:
    """Whether the table of a node may be written while the hardware is there."""
    return isinstance(node.op, Lut) and node.origin.layer not in FIXED_LAYERS


def map_tables(graph: LutGraph) -> LoadMap:
    """The places of all tables of ``graph``, by layer and origin."""
    layers: dict[str, list[int]] = {layer: [] for layer in graph.layers}
    for net in sorted(graph, key=lambda net: (graph.node(net).origin, net)):
        if is_reloadable(graph.node(net)):
            layers[graph.node(net).origin.layer].append(net)
    groups = [nets[at : at + LOAD_BITS] for nets in layers.values() for at in range(0, len(nets), LOAD_BITS)]
    if not groups:
        raise CompilerError("the network has no look-up table that could be reloaded")
    fan_ins = [op.fan_in for nets in groups for net in nets if isinstance(op := graph.node(net).op, Lut)]
    return LoadMap(tuple(map(tuple, groups)), max(fan_ins))


def reloadable_passes(graph: LutGraph, lut_inputs: int) -> tuple[Pass, ...]:
    """The passes for hardware with reloadable tables: those that leave every such LUT what it is, with any table."""
    kept = frozenset(graph.layers) - FIXED_LAYERS
    return (
        ExpandPopCount(lut_inputs),
        ExpandArgMax(lut_inputs),
        ExpandEncoder(lut_inputs),
        ExpandWords(lut_inputs),
        FoldConstants(kept),
        DropDead(),
    )


def make_image(graph: LutGraph) -> NDArray[np.uint32]:
    """The words, by address, that write the tables of ``graph``."""
    loads = map_tables(graph)
    entries = np.arange(1 << loads.entry_bits)
    words = np.zeros((1 << bits_for(len(loads.groups) - 1), len(entries)), dtype=np.uint32)
    for group, nets in enumerate(loads.groups):
        for place, net in enumerate(nets):
            op = graph.node(net).op
            assert isinstance(op, Lut)
            table = table_to_bools(op.table, op.fan_in)
            words[group] |= table[entries % len(table)].astype(np.uint32) << np.uint32(place)
    return words[: len(loads.groups)].ravel()


def image_text(words: NDArray[np.uint32]) -> str:
    """An image as a file: a word per line in hexadecimal digits, as ``$readmemh`` takes it."""
    return "".join(f"{word:08x}\n" for word in words.tolist())


def complement_tables(graph: LutGraph) -> LutGraph:
    """The same network with every bit of every reloadable table inverted."""
    other = graph.copy()
    for net in graph:
        node = graph.node(net)
        if is_reloadable(node) and isinstance(node.op, Lut):
            other.replace(net, complement_table(node.op), node.operands)
    return other


def check_same_but_tables(made: LutGraph, other: LutGraph) -> None:
    """Make sure that ``other`` differs from the graph that hardware was made of in its reloadable tables only."""
    for net, place in _differences(made, other):
        raise CompilerError(f"another network: {place} (net {net}) is not the same; only tables can be reloaded")


def _differences(made: LutGraph, other: LutGraph) -> Iterator[tuple[int, str]]:
    for net in sorted(made.nodes.keys() | other.nodes.keys()):
        one, two = made.nodes.get(net), other.nodes.get(net)
        if one is None or two is None or _without_table(one) != _without_table(two):
            node = one or two
            assert node is not None
            yield net, f"{node.op.kind} {node.origin}"


def _without_table(node: Node) -> Node:
    if is_reloadable(node) and isinstance(node.op, Lut):
        return node._replace(op=Lut(node.op.fan_in, 0))
    return node
