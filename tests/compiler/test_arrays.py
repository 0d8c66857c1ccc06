"""Graphs as arrays, against what the nodes say one by one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflut_compiler.arrays import GraphArrays, distinct, ranges
from difflut_compiler.errors import GraphError
from difflut_compiler.graph import LutGraph, Node, Origin
from difflut_compiler.ops import Lut, table_to_bools
from tests.compiler.random_graphs import SEEDS, SHAPES, Shape, make_graph, small_graph


@given(shape=SHAPES, seed=SEEDS)
@settings(max_examples=40)
def test_rows_are_the_nodes(shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    arrays = graph.arrays()
    assert arrays.nets.tolist() == sorted(graph)
    for row, (net, node) in enumerate(sorted(graph.nodes.items())):
        read = arrays.operands[arrays.pins_of(np.array([row]))]
        assert tuple(arrays.nets[read].tolist()) == node.operands
        assert sorted(set(arrays.nets[arrays.readers_of(net)].tolist())) == sorted(graph.dag.successors(net))
    luts = {
        int(arrays.nets[row]): (tuple(arrays.nets[operands].tolist()), table.tolist())
        for block in arrays.luts.values()
        for row, operands, table in zip(block.rows, block.operands, block.tables, strict=True)
    }
    assert luts == {
        net: (node.operands, table_to_bools(node.op.table, node.op.fan_in).tolist())
        for net, node in graph.nodes.items()
        if isinstance(node.op, Lut)
    }


@given(shape=SHAPES, seed=SEEDS)
@settings(max_examples=40)
def test_order_is_topological_and_depends_only_on_the_graph(shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    place = {net: number for number, net in enumerate(graph.order())}
    assert all(place[operand] < place[net] for net, node in graph.nodes.items() for operand in node.operands)
    shuffled = list(graph.nodes.items())
    random.Random(seed).shuffle(shuffled)
    assert GraphArrays(dict(shuffled)).order.tolist() == graph.arrays().order.tolist()


@given(shape=SHAPES, seed=SEEDS)
@settings(max_examples=40)
def test_longest_paths_are_those_of_a_walk(shape: Shape, seed: int) -> None:
    graph = make_graph(shape, seed)
    arrays = graph.arrays()
    chance = np.random.default_rng(seed)
    weights, marked = chance.integers(0, 9, len(arrays)), chance.random(len(arrays.operands)) < 0.7
    expected = np.zeros(len(arrays), dtype=np.int64)
    for row in arrays.order.tolist():
        for pin in arrays.pins_of(np.array([row])).tolist():
            if marked[pin]:
                operand = arrays.operands[pin]
                expected[row] = max(expected[row], expected[operand] + weights[operand])
    assert arrays.longest_path_before(weights, marked).tolist() == expected.tolist()


def test_a_net_that_is_not_there_is_named() -> None:
    graph = small_graph(False)
    net = graph.extend([Node(Lut(1, 1), (10**6,), 1, Origin(graph.layers[2], 99))])[0]
    with pytest.raises(GraphError, match=rf"\(net {net}\) reads net 1000000, which is not in the graph"):
        graph.verify()


@pytest.mark.parametrize(
    "changes",
    [{"width": 2}, {"op": Lut(1, 4)}, {"op": Lut(2, 1)}, {"origin": Origin("nowhere", 99)}],
    ids=["width", "table", "arity", "layer"],
)
def test_nodes_added_together_are_checked_like_others(changes: dict[str, Any]) -> None:
    graph = small_graph(False)
    lut = next(net for net, node in graph.nodes.items() if isinstance(node.op, Lut))
    node = Node(Lut(1, 1), (lut,), 1, Origin(graph.node(lut).origin.layer, 99))
    graph.extend([node])
    graph.verify()
    graph.extend([node._replace(origin=node.origin._replace(number=100))._replace(**changes)])
    with pytest.raises(GraphError, match=r"\[(99|100)\]"):
        graph.verify()


def test_a_replaced_edge_is_in_the_index() -> None:
    graph: LutGraph = small_graph(False)
    lut = next(net for net, node in graph.nodes.items() if isinstance(node.op, Lut))
    before = set(graph.dag.edges)
    graph.rewire({lut: graph.node(lut).operands[:1] * len(graph.node(lut).operands)})
    assert set(graph.dag.edges) == {(a, b) for a, b in before if b != lut or a == graph.node(lut).operands[0]}


@given(values=st.lists(st.integers(0, 50)))
def test_distinct_is_the_sorted_set(values: list[int]) -> None:
    assert distinct(np.array(values, dtype=np.int64)).tolist() == sorted(set(values))


@given(pairs=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5))))
def test_ranges_stand_one_after_the_other(pairs: list[tuple[int, int]]) -> None:
    starts, counts = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    assert ranges(starts, counts).tolist() == [start + step for start, count in pairs for step in range(count)]
