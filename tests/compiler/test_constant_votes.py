"""Constants among the votes of a class: they move into the sum's offset, and the hardware must still count them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import ArgMax, Compare, Input, Lut, Output, PopCount
from difflut_compiler.verify.netlist import read_back
from difflut_compiler.verify.prove_files import prove_whole
from tests.compiler.designs import design_of, is_proven
from tests.compiler.needs import need_for_target
from tests.compiler.random_graphs import all_inputs, slow_outputs

TRUE, FALSE, FREE = 0b1111, 0b0000, 0b0110


def voting_graph(classes: Sequence[Sequence[int]], *, scores: bool) -> LutGraph:
    """One LUT per vote with the tables given, all of them of two comparators; with the counts as outputs or without."""
    graph = LutGraph("network", ["input", "encoder", "layers.0", "class_counts", "argmax", "output"])
    word = graph.add(Input("x", 3), origin=Origin("input", 0))
    bits = [graph.add(Compare(3 * level + 1), (word,), origin=Origin("encoder", level)) for level in range(2)]
    counts = []
    for index, tables in enumerate(classes):
        first = sum(map(len, classes[:index]))
        votes = [
            graph.add(Lut(2, table), bits, origin=Origin("layers.0", first + vote)) for vote, table in enumerate(tables)
        ]
        counts.append(graph.add(PopCount(), votes, origin=Origin("class_counts", index)))
    winner = graph.add(ArgMax(), counts, origin=Origin("argmax", 0))
    graph.add(Output("class_index"), (winner,), origin=Origin("output", 0))
    for index, count in enumerate(counts if scores else []):
        graph.add(Output(f"score_{index}"), (count,), origin=Origin("output", 1 + index))
    graph.verify()
    return graph


VOTES = {
    "some are always true": [[TRUE, FREE, 0b0111], [FREE, 0b0010, TRUE, TRUE], [0b1000]],
    "some are never true": [[FALSE, FREE], [FALSE, FALSE, 0b0111]],
    "a class of constants leads": [[FREE, FREE], [TRUE, TRUE, TRUE], [0b0100, TRUE]],
    "a class of constants may win": [[TRUE], [0b0001, FREE], [FALSE, TRUE, FALSE]],
    "nothing but constants": [[TRUE], [TRUE, TRUE], [FALSE]],
}


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("target", ["verilog", "vhdl"])
@pytest.mark.parametrize("votes", VOTES)
def test_constant_votes_are_counted(votes: str, target: str, scores: bool, tmp_path: Path) -> None:
    need_for_target(target)
    graph = voting_graph(VOTES[votes], scores=scores)
    ports = [graph.node(net).width for net in graph.outputs()]
    inputs = all_inputs(graph)
    design = design_of(graph, target=target, pipeline="layers")
    assert {name: values.tolist() for name, values in design.graph.evaluate(inputs).items()} == slow_outputs(
        graph, inputs
    )
    assert [design.graph.node(net).width for net in design.graph.outputs()] == ports
    assert is_proven(design, design.plan, tmp_path)
    assert "in one piece" in prove_whole(read_back(design.plan, tmp_path), graph, tmp_path)
