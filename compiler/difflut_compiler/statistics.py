"""Figures of every LUT layer for people: what it listens to, how full its tables are, how many read its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Bit, Compare, Lut, table_to_bools
from difflut_compiler.words import entropies, influences


@dataclass(frozen=True)
class LayerStatistics:
    """One layer of LUTs, an entry per LUT in the order of the graph.

    ``entropy`` is in bits, of the table's output at equally likely addresses. ``fan_out`` counts readers.
    ``input_weight`` has an entry per feature of the network, and sums to 1: how much of the layer's sensitivity goes
    back to the feature, every LUT counted the same and split over its inputs by their influence.
    """

    layer: str
    entropy: NDArray[np.float64]
    fan_out: NDArray[np.int64]
    fan_in: NDArray[np.int64]
    input_weight: NDArray[np.float64]


COUNTING_LAYERS = frozenset({"class_counts", "argmax"})
"""The layers of a lowered network that sum votes and compare sums: what LUTs they become is not trained."""


def comparing_layers(graph: LutGraph) -> set[str]:
    """The layers that compare input words with thresholds, by comparators or by LUTs that read bits of the words."""
    bits = {net for net in graph if isinstance(graph.node(net).op, Bit)}
    nodes = map(graph.node, graph)
    return {node.origin.layer for node in nodes if isinstance(node.op, Compare) or not bits.isdisjoint(node.operands)}


def layer_statistics(graph: LutGraph) -> list[LayerStatistics]:
    """Statistics of every layer that has LUTs and neither counts nor compares words, in the order of the layers."""
    luts_of: dict[str, list[int]] = {}
    left_out = COUNTING_LAYERS | comparing_layers(graph)
    for net in graph:
        node = graph.node(net)
        if isinstance(node.op, Lut) and node.origin.layer not in left_out:
            luts_of.setdefault(node.origin.layer, []).append(net)
    shares = _pin_shares(graph, [net for nets in luts_of.values() for net in nets])
    entropy = _per_lut_entropy(graph, shares)
    order = graph.order()
    return [
        LayerStatistics(
            layer,
            np.array([entropy[net] for net in luts_of[layer]]),
            np.array([graph.dag.out_degree(net) for net in luts_of[layer]], dtype=np.int64),
            np.array([len(graph.node(net).operands) for net in luts_of[layer]], dtype=np.int64),
            _input_weight(graph, order, luts_of[layer], shares),
        )
        for layer in graph.layers
        if layer in luts_of
    ]


def _tables(graph: LutGraph, nets: Sequence[int]) -> NDArray[np.bool_]:
    ops = [graph.node(net).op for net in nets]
    return np.array([table_to_bools(op.table, op.fan_in) for op in ops if isinstance(op, Lut)])


def _by_fan_in(graph: LutGraph, nets: Sequence[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for net in nets:
        groups.setdefault(len(graph.node(net).operands), []).append(net)
    return groups


def _pin_shares(graph: LutGraph, nets: Sequence[int]) -> dict[int, NDArray[np.float64]]:
    """For every LUT, how its sensitivity is split over its pins."""
    shares: dict[int, NDArray[np.float64]] = {}
    for group in _by_fan_in(graph, nets).values():
        weights = influences(_tables(graph, group))
        totals = weights.sum(axis=1, keepdims=True)
        shares.update(zip(group, weights / np.where(totals > 0, totals, 1), strict=True))
    return shares


def _per_lut_entropy(graph: LutGraph, nets: Mapping[int, object]) -> dict[int, float]:
    found: dict[int, float] = {}
    for group in _by_fan_in(graph, list(nets)).values():
        found.update(zip(group, entropies(_tables(graph, group)).tolist(), strict=True))
    return found


def _input_weight(
    graph: LutGraph, order: Sequence[int], nets: Sequence[int], shares: Mapping[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Push a weight of one per LUT of ``nets`` backwards to the inputs."""
    weight = dict.fromkeys(nets, 1.0)
    for net in reversed(order):
        node = graph.node(net)
        if net not in weight or not node.operands:
            continue
        pins = shares.get(net, np.full(len(node.operands), 1 / len(node.operands)))
        for operand, share in zip(node.operands, pins.tolist(), strict=True):
            weight[operand] = weight.get(operand, 0.0) + weight[net] * share
    inputs = np.array([weight.get(net, 0.0) for net in graph.inputs()])
    total = inputs.sum()
    return inputs / total if total > 0 else inputs
