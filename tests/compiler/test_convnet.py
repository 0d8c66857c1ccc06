"""Convolutional networks as hardware: trees at every position, padding, pooling, the order of bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from difflut import REGISTRY
from difflut.layers import BitPlanes, RandomLayer
from difflut_compiler import lower as lower_module
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.frontend import LoadedModel
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.lower import Lowering, lower
from difflut_compiler.ops import Const, Lut
from difflut_compiler.passes import OPTIMISE, run_passes
from difflut_compiler.vectors import make_vectors
from difflut_compiler.verify.ladder import check_lowering
from tests.compiler.models import make_convnet
from tests.compiler.test_lower import check_equal


@pytest.mark.parametrize(("node", "layer"), list(itertools.product(REGISTRY.list_nodes(), REGISTRY.list_layers())))
def test_every_node_and_layer_lowers_to_what_it_computes(node: str, layer: str) -> None:
    check_equal(make_convnet(node_type=node, layer_type=layer))


CONVOLUTIONS: list[dict[str, Any]] = [
    {"out_channels": 2, "receptive_field": 1, "tree_depth": 0},
    {"out_channels": 2, "receptive_field": 3, "padding": 2, "stride": 2, "tree_depth": 2, "n_inputs_per_node": 2},
    {"out_channels": 3, "receptive_field": 2, "tree_depth": 1, "grouped_connections": True},
    {"out_channels": 2, "receptive_field": 2, "padding": 1, "tree_depth": 1, "pool": 3},
]


@pytest.mark.parametrize("convolution", CONVOLUTIONS, ids=str)
def test_every_shape_lowers_to_what_it_computes(convolution: dict[str, Any]) -> None:
    check_equal(make_convnet(params={"image_shape": [2, 3, 4], "convolutions": [convolution]}))


def test_every_level_is_a_layer_of_the_graph_with_a_name_for_every_place() -> None:
    graph = lower(make_convnet(), "net")
    assert graph.layers[2:-3] == ("layers.0.bank0", "layers.0", "layers.1", "layers.2.bank0", "layers.2", "layers.3")
    origins = [graph.node(net).origin for net in sorted(graph) if graph.node(net).origin.layer == "layers.0.bank0"]
    zero, *luts = origins
    assert zero == Origin("layers.0.bank0", 0, "zero")
    # 2 trees of 3 LUTs at 4 x 4 places
    assert [origin.number for origin in luts] == list(range(2 * 3 * 16))
    assert luts[(1 * 3 + 2) * 16 + 3 * 4 + 1].part == "channel1_lut2_row3_column1"
    pools = [graph.node(net).origin for net in sorted(graph) if graph.node(net).origin.layer == "layers.1"]
    assert [str(origin) for origin in pools][5] == "layers.1[5].channel1_row0_column1"


def test_padding_is_folded_away() -> None:
    graph = lower(make_convnet(), "net")
    zeros = {net for net in graph if graph.node(net).op == Const(0)}
    assert any(zeros & set(graph.node(net).operands) for net in graph)
    run_passes(graph, OPTIMISE, make_vectors(graph, None).inputs)
    for net in graph:
        if isinstance(graph.node(net).op, Lut):
            assert not any(isinstance(graph.node(pin).op, Const) for pin in graph.node(net).operands)


def climb(change: Callable[[LutGraph], None]) -> int:
    """Climb the first rung with a changed graph; the votes are those of the graph, as if nothing showed in them."""
    loaded = LoadedModel(make_convnet(), "")
    graph, count_nets, bank_nets = loaded.lower("net")
    change(graph)
    vectors = make_vectors(graph, None)
    answers = loaded.answers(vectors.inputs)
    votes = evaluate_nets(graph, vectors.inputs, count_nets).T
    answers = type(answers)(graph.evaluate(vectors.inputs)["class_index"], votes, "")
    layers = loaded.layer_answers(vectors.made, bank_nets)
    return check_lowering(graph, count_nets, vectors.inputs, answers, layers, "vectors").comparisons


def change_lut(layer: str, change: Callable[[Lut, list[int]], tuple[Lut, list[int]]]) -> Any:
    def apply(graph: LutGraph) -> None:
        nodes = [(net, node) for net, node in graph.snapshot().items() if node.origin.layer == layer]
        # Where both ends read the same, e.g. padding, turning the pins around would change nothing.
        net, node = [(net, node) for net, node in nodes if node.operands and node.operands[0] != node.operands[-1]][-1]
        assert isinstance(node.op, Lut)
        graph.replace(net, *change(node.op, list(node.operands)))

    return apply


@pytest.mark.parametrize("layer", ["layers.0.bank0", "layers.0", "layers.1", "layers.2.bank0", "layers.2"])
def test_one_wrong_table_entry_or_pin_at_one_position_fails_the_first_rung(layer: str) -> None:
    assert climb(lambda graph: None) > 0
    for change, what in (
        (lambda op, pins: (Lut(op.fan_in, op.table ^ 1), pins), "tables|bits"),
        (lambda op, pins: (op, pins[::-1]), "wiring|bits"),
    ):
        with pytest.raises(MismatchError, match=f"graph and model differ in the ({what}) of layers"):
            climb(change_lut(layer, change))


def test_channels_that_are_mixed_up_fail_the_first_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep_the_order(state: Lowering, name: str, planes: BitPlanes) -> None:
        state.bank_nets[name] = [state.bits]

    monkeypatch.setitem(lower_module._LOWERINGS, BitPlanes, keep_the_order)
    with pytest.raises(MismatchError, match="graph and model differ in the bits of bit_planes"):
        climb(lambda graph: None)


class Inverted(RandomLayer):
    """Not what its tables say."""

    def forward(self, x: Tensor) -> Tensor:
        return 1 - super().forward(x)


def test_a_level_that_does_not_answer_as_its_tables_is_refused_by_name() -> None:
    model = make_convnet()
    model.get_submodule("layers.2.levels.0").__class__ = Inverted
    with pytest.raises(CompilerError, match=r"layers\.2\.levels\.0 is a Inverted, which has no hardware form"):
        lower(model, "net")
