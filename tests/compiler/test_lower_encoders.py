"""Lowered encoders: for every input that a format has, the graph's code bits are those of the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from difflut import REGISTRY, InputFormat, SimpleFeedForward
from difflut.encoders import BaseEncoder, CodedEncoder, GrayEncoder, ThermometerEncoder
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.graph import LutGraph
from difflut_compiler.lower import XOR_FAN_IN, code_flips, lower
from difflut_compiler.ops import Compare, Const, Lut
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from tests.compiler.models import make_model
from tests.compiler.random_graphs import all_inputs

FORMATS = [
    InputFormat(bits=6, signed=True, scale=0.25),
    InputFormat(bits=6, signed=False, scale=0.25),
    InputFormat(bits=3, signed=True, scale=1.0),
    InputFormat(bits=3, signed=False, scale=4.0),
    InputFormat(bits=1, signed=True, scale=2.0),
    InputFormat(bits=1, signed=False, scale=1.0),
]


def bit_model(encoder: str, num_bits: int, input_format: InputFormat, **changes: Any) -> SimpleFeedForward:
    """One feature; class k counts the ones of code bit k alone, so that the votes are the code."""
    fields = {"bits": input_format.bits, "signed": input_format.signed, "scale": input_format.scale}
    return make_model(
        features=1,
        encoder_config={"name": encoder, "num_bits": num_bits, **changes},
        node_input_dim=1,
        layer_widths=[num_bits],
        num_classes=num_bits,
        input_format=fields,
    )


def code_nets(graph: LutGraph, model: SimpleFeedForward) -> list[int]:
    """The nets of the code bits, bit 0 first, found through the first layer, which reads them by the wiring."""
    sources = model.lut_layers()[0].mapping().flatten().tolist()
    luts = [net for net in sorted(graph) if graph.node(net).origin.layer == "layers.0"]
    nets = {source: graph.node(lut).operands[0] for source, lut in zip(sources, luts, strict=True)}
    assert sorted(nets) == list(range(len(luts)))
    return [nets[source] for source in sorted(nets)]


def expected_codes(model: SimpleFeedForward, inputs: np.ndarray) -> list[list[int]]:
    """Codes by counting exceeded thresholds in Python, one input after another."""
    table = model.encoder.code_table().int().tolist()
    thresholds = model.encoder.thresholds[0].tolist()
    scale = model.input_format.scale
    return [table[sum(integer * scale > threshold for threshold in thresholds)] for integer in inputs[:, 0].tolist()]


class DoublingThermometer(BaseEncoder):
    """Thresholds of a user's own: each twice as far from the minimum as the one before."""

    def compute_thresholds(self, values: Tensor) -> Tensor:
        low = values.amin(0).unsqueeze(1)
        return low + (values.amax(0).unsqueeze(1) - low) / 2.0 ** torch.arange(self.num_bits, 0, -1)


class EvenAndHigh(CodedEncoder):
    """A code of a user's own: bit 0 says whether the level is even, the others are a thermometer."""

    def compute_thresholds(self, values: Tensor) -> Tensor:
        return torch.quantile(values, torch.linspace(0.1, 0.9, self.num_thresholds, dtype=torch.float64), dim=0).t()

    def code_table(self) -> Tensor:
        table = BaseEncoder.code_table(self)
        table[:, 0] = torch.arange(self.num_thresholds + 1) % 2 == 0
        return table


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize("input_format", FORMATS, ids=str)
@pytest.mark.parametrize("encoder", [DoublingThermometer, EvenAndHigh])
def test_encoders_of_ones_own_lower_to_what_they_compute(encoder: type[BaseEncoder], input_format: InputFormat) -> None:
    model = bit_model("thermometer", 4, input_format)
    reals = model.input_format.to_reals(torch.arange(input_format.min_integer, input_format.max_integer + 1))
    model.encoder = encoder(4).fit(reals.to(torch.float32).unsqueeze(1))
    graph = lower(model, "network")
    inputs = all_inputs(graph)
    codes = evaluate_nets(graph, inputs, code_nets(graph, model)).T.tolist()
    assert codes == expected_codes(model, inputs)
    assert codes == model.encode(model.input_format.to_reals(torch.from_numpy(inputs))).tolist()


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize("input_format", FORMATS, ids=str)
@pytest.mark.parametrize("num_bits", [2, 5])
@pytest.mark.parametrize("encoder", REGISTRY.list_encoders())
def test_code_bits_on_every_input(encoder: str, num_bits: int, input_format: InputFormat) -> None:
    model = bit_model(encoder, num_bits, input_format)
    graph = lower(model, "network")
    inputs = all_inputs(graph)
    expected = expected_codes(model, inputs)
    reals = torch.from_numpy(inputs).to(torch.float32) * model.input_format.scale
    assert model.encode(reals).int().tolist() == expected
    assert evaluate_nets(graph, inputs, code_nets(graph, model)).T.tolist() == expected


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize("encoder", REGISTRY.list_encoders())
def test_passes_keep_the_answers_of_every_encoder(encoder: str) -> None:
    model = bit_model(encoder, 6, FORMATS[0])
    graph = lower(model, "network")
    inputs = all_inputs(graph)
    before = graph.evaluate(inputs)["class_index"].tolist()
    run_passes(graph, OPTIMISE, inputs)
    run_passes(graph, EXPAND, inputs, repeat=False)
    assert graph.evaluate(inputs)["class_index"].tolist() == before


@pytest.mark.filterwarnings("ignore:GroupSum")
@pytest.mark.parametrize("encoder", REGISTRY.list_encoders())
@pytest.mark.parametrize("constant", [-3.0, 0.0, 2.5])
def test_constant_features(encoder: str, constant: float) -> None:
    model = bit_model(encoder, 4, FORMATS[0])
    model.encoder.fit(torch.full((3, 1), constant))
    graph = lower(model, "network")
    inputs = all_inputs(graph)
    assert evaluate_nets(graph, inputs, code_nets(graph, model)).T.tolist() == expected_codes(model, inputs)


@pytest.mark.parametrize("encoder", REGISTRY.list_encoders())
def test_logic_behind_the_comparators_is_named_after_the_code_bit(encoder: str) -> None:
    model = make_model(encoder_config={"name": encoder, "num_bits": 5})
    graph = lower(model, "network")
    nodes = [graph.node(net) for net in graph if graph.node(net).origin.layer == "encoder"]
    thresholds = model.encoder.num_thresholds
    assert sorted(node.origin.number for node in nodes if isinstance(node.op, Compare)) == list(range(5 * thresholds))
    for node in nodes:
        if isinstance(node.op, Lut):
            assert node.op.fan_in <= XOR_FAN_IN
            assert node.origin.part.startswith("xor")
            assert 0 <= node.origin.number < 5 * 5


def test_thermometers_need_no_logic_behind_the_comparators() -> None:
    for encoder in ("thermometer", "distributive_thermometer", "gaussian_thermometer"):
        graph = lower(make_model(encoder_config={"name": encoder, "num_bits": 5}), "network")
        kinds = {type(graph.node(net).op) for net in graph if graph.node(net).origin.layer == "encoder"}
        assert kinds == {Compare}


def test_flips_of_a_gray_code_and_of_thresholds_that_fall_together() -> None:
    codes = GrayEncoder(2).code_table().numpy()  # 00, 01, 11, 10
    first, flips = code_flips(np.array([3, 5, 8]), codes)
    assert first.tolist() == [0, 1, 2]
    assert flips.tolist() == [[False, True], [True, False], [False, True]]
    first, flips = code_flips(np.array([3, 5, 5]), codes)
    assert first.tolist() == [0, 1]
    assert flips.tolist() == [[False, True], [True, True]]
    first, flips = code_flips(np.array([5, 5]), ThermometerEncoder(2).code_table().numpy())
    assert (first.tolist(), flips.tolist()) == ([0], [[True, True]])


@pytest.mark.filterwarnings("ignore:GroupSum")
def test_a_bit_that_never_flips_is_a_constant() -> None:
    model = bit_model("gray", 4, FORMATS[0])
    model.encoder.fit(torch.ones(3, 1))  # all thresholds are equal: the word 0000 or 1000
    graph = lower(model, "network")
    ops = [graph.node(net).op for net in code_nets(graph, model)]
    assert isinstance(ops[0], Compare)
    assert ops[1:] == [Const(0)] * 3


@pytest.mark.parametrize(("num_bits", "luts"), [(3, 1 + 1), (6, 1 + 1 + 2 + 3 + 7)])
def test_parity_trees_are_as_small_as_can_be(num_bits: int, luts: int) -> None:
    # Gray bits flip at 1, 2, 4, 8, 16, 32 thresholds; a LUT of six pins puts one net in the place of six.
    model = make_model(features=1, encoder_config={"name": "gray", "num_bits": num_bits}, layer_widths=[3])
    graph = lower(model, "network")
    nodes = [graph.node(net) for net in graph if graph.node(net).origin.layer == "encoder"]
    assert sum(isinstance(node.op, Lut) for node in nodes) == luts
