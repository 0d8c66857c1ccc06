"""Lowering: the graph answers exactly as the model, for every building block that is registered."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from difflut import REGISTRY, BaseLUTModel, GroupSum, InputFormat, SimpleFeedForward
from difflut.encoders import GrayEncoder, ThermometerEncoder
from difflut.layers import BaseLUTLayer, RandomLayer
from difflut.rules import Pins
from difflut_compiler.errors import CompilerError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import graph_to_json
from difflut_compiler.lower import class_count_nets, integer_thresholds, lower
from difflut_compiler.ops import Compare, Lut
from difflut_compiler.vectors import make_vectors
from tests.compiler.models import make_model
from tests.compiler.random_graphs import all_inputs, slow_outputs

FORMATS = [
    InputFormat(bits=4, signed=False, scale=1.0),
    InputFormat(bits=4, signed=True, scale=1.0),
    InputFormat(bits=5, signed=True, scale=0.25),
    InputFormat(bits=3, signed=False, scale=8.0),
    InputFormat(bits=1, signed=False, scale=1.0),
    InputFormat(bits=1, signed=True, scale=0.5),
    InputFormat(bits=8, signed=True, scale=2.0**-7),
]


@pytest.mark.parametrize("input_format", FORMATS, ids=str)
def test_integer_thresholds_answer_alike_for_every_representable_number(input_format: InputFormat) -> None:
    low, high, scale = input_format.min_integer, input_format.max_integer, input_format.scale
    grid = np.array([integer * scale for integer in range(low - 2, high + 3)], dtype=np.float32)
    beside = [np.nextafter(grid, np.float32(side)) for side in (-np.inf, np.inf)]
    thresholds = np.concatenate(
        [grid, *beside, grid + np.float32(scale / 3), np.array([-1e30, 1e30, -0.0], dtype=np.float32)]
    )
    constants = integer_thresholds(thresholds, input_format)
    assert constants.min() >= low
    assert constants.max() <= high + 1
    for threshold, constant in zip(thresholds.tolist(), constants.tolist(), strict=True):
        for integer in range(low, high + 1):
            above = Fraction(integer) * Fraction(scale) > Fraction(threshold)
            assert (integer >= constant) == above, (threshold, integer)


def answers(model: BaseLUTModel, inputs: np.ndarray) -> tuple[list[list[int]], list[int]]:
    """Votes and class of the model in eval mode, for integers in its input format."""
    reals = torch.from_numpy(inputs).to(torch.float64) * model.input_format.scale
    with torch.no_grad():
        scores = model.eval()(reals.to(torch.float32)) * model.output_layer.tau
    votes = [[round(score) for score in row] for row in scores.tolist()]
    return votes, [row.index(max(row)) for row in votes]


def check_equal(model: BaseLUTModel) -> LutGraph:
    """The lowered graph has the model's votes and classes on corner and random inputs."""
    graph = lower(model, "network")
    inputs = make_vectors(graph, None).inputs[-300:]
    inputs = np.concatenate([make_vectors(graph, None).inputs[:300], inputs])
    votes, classes = answers(model, inputs)
    assert evaluate_nets(graph, inputs, class_count_nets(graph)).T.tolist() == votes
    assert graph.evaluate(inputs)["class_index"].tolist() == classes
    assert slow_outputs(graph, inputs[:40])["class_index"] == classes[:40]
    return graph


COMBINATIONS = list(itertools.product(REGISTRY.list_nodes(), REGISTRY.list_layers(), REGISTRY.list_encoders()))


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize(("node", "layer", "encoder"), COMBINATIONS)
def test_every_node_layer_and_encoder_lowers_to_what_it_computes(node: str, layer: str, encoder: str) -> None:
    model = make_model(node_type=node, layer_type=layer, encoder_config={"name": encoder, "num_bits": 3})
    graph = check_equal(model)
    luts = [net for net in graph if isinstance(graph.node(net).op, Lut) and graph.node(net).origin.layer != "encoder"]
    assert len(luts) == sum(model.config.layer_widths)


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize("classes", [1, 2, 5, 6, 7, 12])
def test_uneven_and_empty_groups(classes: int) -> None:
    # Twelve features in seven groups of two: the last group is empty. A configuration of that kind is refused.
    model = make_model(layer_widths=[12])
    model.output_layer = GroupSum(classes)
    graph = check_equal(model)
    assert len(class_count_nets(graph)) == classes


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize("classes", [3, 4])
def test_votes_are_counted_in_the_random_order_of_the_model(classes: int) -> None:
    model = make_model(num_classes=classes, layer_widths=[14, 11])
    plain = graph_to_json(lower(model, "network"))
    model.output_layer = GroupSum(classes, use_randperm=True)
    assert graph_to_json(check_equal(model)) != plain


@pytest.mark.parametrize("fan_in", [1, 2, 6, 8])
def test_every_number_of_pins(fan_in: int) -> None:
    check_equal(make_model(node_input_dim=fan_in, layer_widths=[9, 6]))


@pytest.mark.parametrize("node", REGISTRY.list_nodes())
@pytest.mark.filterwarnings("ignore:GroupSum")
def test_nodes_with_several_outputs(node: str) -> None:
    model = make_model(node_type=node, node_kwargs={"output_dim": 2}, layer_widths=[7, 5])
    graph = check_equal(model)
    assert graph.size().count_by_kind["lut"] == 24


@pytest.mark.parametrize("input_format", FORMATS, ids=str)
def test_every_input_of_every_format(input_format: InputFormat) -> None:
    fields = {"bits": input_format.bits, "signed": input_format.signed, "scale": input_format.scale}
    model = make_model(features=1, layer_widths=[9], node_input_dim=2, input_format=fields)
    graph = lower(model, "network")
    inputs = all_inputs(graph)
    assert len(inputs) == 2**input_format.bits
    assert slow_outputs(graph, inputs)["class_index"] == answers(model, inputs)[1]


def test_pins_and_tables_keep_the_order_of_the_model() -> None:
    model = make_model(layer_widths=[6], node_input_dim=3)
    layer = model.lut_layers()[0]
    graph = lower(model, "network")
    luts = [net for net in sorted(graph) if isinstance(graph.node(net).op, Lut)]
    compares = [net for net in sorted(graph) if isinstance(graph.node(net).op, Compare)]
    for index, net in enumerate(luts):
        op = graph.node(net).op
        assert isinstance(op, Lut)
        assert [compares.index(pin) for pin in graph.node(net).operands] == layer.mapping()[index].tolist()
        table = layer.bank.truth_table()[index, 0].tolist()
        assert [op.table >> address & 1 for address in range(8)] == [int(bit) for bit in table]
        assert str(graph.node(net).origin) == f"layers.0[{index}]"


def test_training_mode_and_runtime_settings_do_not_matter() -> None:
    model = make_model(layer_type="learnable", node_type="probabilistic")
    expected = graph_to_json(lower(model.eval(), "network"))
    model.apply_runtime_overrides({"output_tau": 7.0})
    assert graph_to_json(lower(model.train(), "network")) == expected


class Ladder(BaseLUTLayer):
    """Pin j of node i reads input i + j."""

    def create_wiring(self, generator: torch.Generator) -> None:
        steps = torch.arange(self.output_size).unsqueeze(1) + torch.arange(self.n)
        self.register_buffer("steps", steps % self.input_size)

    def mapping(self) -> torch.Tensor:
        return self.get_buffer("steps")


@pytest.mark.parametrize("layer_class", [BaseLUTLayer, Ladder])
def test_any_layer_that_only_wires_otherwise_is_lowered(layer_class: type[BaseLUTLayer]) -> None:
    model = make_model()
    model.layers[0] = layer_class(15, 14, "dwn", n=4)
    check_equal(model)


# -- refusals ----------------------------------------------------------------------------------------------------------


class MyLayer(RandomLayer):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - super().forward(x)


class MyAnswers(RandomLayer):
    def _answer(self, pins: Pins) -> torch.Tensor:
        return 1 - super()._answer(pins)


class MyEncoder(ThermometerEncoder):
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - super().encode(x)


class MyBits(GrayEncoder):
    def code_bits(self, values: torch.Tensor) -> torch.Tensor:
        return 1 - super().code_bits(values)


class MyCode(ThermometerEncoder):
    """Its bits are still those of a thermometer, so the table does not say what it computes."""

    def code_table(self) -> torch.Tensor:
        return ~super().code_table()


class MyGroupSum(GroupSum):
    pass


class MyModel(SimpleFeedForward):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -super().forward(x)


class MyChain(SimpleFeedForward):
    def _answer(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - super()._answer(x)


def disguise(part: Callable[[SimpleFeedForward], nn.Module], cls: type) -> Callable[[SimpleFeedForward], None]:
    def change(model: SimpleFeedForward) -> None:
        part(model).__class__ = cls

    return change


def put_a_dropout_in(model: SimpleFeedForward) -> None:
    model.layers.append(nn.Dropout())


def give_it_its_own_votes(model: SimpleFeedForward) -> None:
    model.class_counts = lambda x: x.long()  # type: ignore[method-assign]


REFUSALS: list[tuple[Callable[[SimpleFeedForward], Any], str]] = [
    (
        disguise(lambda model: model.layers[1], MyLayer),
        "layers.1 is a MyLayer, which has no hardware form; supported are",
    ),
    (disguise(lambda model: model.layers[0], MyAnswers), "layers.0 is a MyAnswers, which has no hardware form"),
    *(
        (disguise(lambda model: model.encoder, cls), f"encoder is a {cls.__name__}, which has no hardware form")
        for cls in (MyEncoder, MyBits, MyCode)
    ),
    (disguise(lambda model: model.output_layer, MyGroupSum), "class_counts is a MyGroupSum, which has no hardware"),
    (disguise(lambda model: model, MyModel), "the model is a MyModel, which has its own forward, so it"),
    (disguise(lambda model: model, MyChain), "the model is a MyChain, which has its own _answer, so it"),
    (give_it_its_own_votes, "the model is a SimpleFeedForward, which has its own class_counts, so it"),
    (put_a_dropout_in, "layers.2 is a Dropout, which has no hardware form; supported are .*BaseLUTLayer"),
]


@pytest.mark.parametrize(("change", "message"), REFUSALS)
def test_what_has_no_hardware_form_is_refused_by_name(change: Callable[[SimpleFeedForward], Any], message: str) -> None:
    model = make_model()
    change(model)
    with pytest.raises(CompilerError, match=message):
        lower(model, "network")


@pytest.mark.parametrize(
    "table",
    [
        torch.zeros((14, 1, 8), dtype=torch.bool),
        torch.zeros((14, 2, 16), dtype=torch.bool),
        torch.zeros((13, 1, 16), dtype=torch.bool),
        torch.zeros((14, 1, 16), dtype=torch.float32),
    ],
)
def test_a_table_of_the_wrong_shape_is_refused(table: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    monkeypatch.setattr(model.layers[0].bank, "truth_table", lambda: table)
    with pytest.raises(CompilerError, match=r"layers.0: the truth table has shape .*, expected \(14, 1, 16\) of bool"):
        lower(model, "network")


@pytest.mark.parametrize(
    "wiring", [torch.full((14, 4), 15), torch.full((14, 4), -2), torch.zeros((14, 3), dtype=torch.int64)]
)
def test_wiring_that_reads_what_is_not_there_is_refused(wiring: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    monkeypatch.setattr(model.layers[0], "mapping", lambda: wiring)
    with pytest.raises(CompilerError, match=r"layers.0: the wiring must be \(14, 4\) of inputs 0 to 14"):
        lower(model, "network")
