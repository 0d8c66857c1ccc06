"""The nodes of a layer, one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from difflut.layers import BaseLUTLayer
from difflut.nodes import DWNNode, DWNStableNode, LutNode, NeuralLUTNode
from difflut.registry import REGISTRY

NODES = REGISTRY.list_nodes()
REGULARIZERS = REGISTRY.list_regularizers()
ROWS, WIDTH, N = 9, 5, 3


def make_layer(node_name: str) -> BaseLUTLayer:
    layer = REGISTRY.get_layer("random")(8, WIDTH, node_name, n=N, node_kwargs={"output_dim": 2})
    if isinstance(layer.bank, NeuralLUTNode):  # else equal inputs get different answers
        layer.bank.draw_noise = lambda logits: 0 * logits  # type: ignore[method-assign]
    return layer


def draw_pins() -> Tensor:
    return torch.rand(ROWS, WIDTH, N, generator=torch.Generator().manual_seed(4))


def gradients(bank: LutNode, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(bank.parameters()), materialize_grads=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NODES)
def test_a_view_answers_as_its_node_in_the_bank(name: str, training: bool) -> None:
    layer, pins = make_layer(name).train(training), draw_pins()
    together = layer.bank(pins)
    assert len(layer.nodes) == WIDTH
    for index, node in enumerate(layer.nodes()):
        assert type(node) is type(layer.bank)
        assert node.training == training
        assert torch.allclose(node(pins[:, index]), together[:, index], atol=1e-6)
        assert torch.equal(node.truth_table()[0], layer.bank.truth_table()[index])


@pytest.mark.parametrize("name", NODES)
def test_gradients_of_views_are_those_of_the_bank(name: str) -> None:
    layer, pins = make_layer(name), draw_pins()
    expected = gradients(layer.bank, layer.bank(pins).square().sum())
    answers = torch.stack([node(pins[:, index]) for index, node in enumerate(layer.nodes)], dim=1)
    for one, other in zip(gradients(layer.bank, answers.square().sum()), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("name", NODES)
def test_the_average_of_a_regulariser_over_views_is_that_of_the_bank(name: str, regularizer: str) -> None:
    layer, pins, function = make_layer(name), draw_pins(), REGISTRY.get_regularizer(regularizer)
    if "inputs" in function.__annotations__:
        values = [function(node, inputs=pins[:, index]) for index, node in enumerate(layer.nodes)]
        expected = function(layer.bank, inputs=pins)
    else:
        values, expected = [function(node) for node in layer.nodes], function(layer.bank)
    mean = torch.stack(values).mean()
    assert mean.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
    for one, other in zip(gradients(layer.bank, mean), gradients(layer.bank, expected), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_views_are_found_as_the_elements_of_a_list() -> None:
    nodes = make_layer("dwn").nodes
    last = nodes[WIDTH - 1].truth_table()
    assert torch.equal(nodes[-1].truth_table(), last)
    assert [torch.equal(node.truth_table(), last) for node in nodes[3:]] == [False, True]
    with pytest.raises(IndexError):
        nodes[WIDTH]


def test_a_view_is_not_a_second_module_of_the_layer() -> None:
    layer = make_layer("dwn")
    node = layer.nodes[1]
    node.eval()
    assert layer.bank.training
    assert list(layer.state_dict()) == ["mapping_indices", "bank.luts", "bit_flips.noise_counter"]


def test_what_a_view_changes_in_place_the_bank_has() -> None:
    bank = make_layer("dwn").bank
    assert isinstance(bank, DWNNode)
    layer = make_layer("dwn")
    with torch.no_grad():
        view = layer.nodes[2]
        assert isinstance(view, DWNNode)
        view.luts.fill_(0.75)
    assert isinstance(layer.bank, DWNNode)
    assert (layer.bank.luts[2] == 0.75).all()
    assert torch.equal(layer.bank.luts[:2], bank.luts[:2])


def test_noise_of_views_is_drawn_from_the_bank() -> None:
    layer = REGISTRY.get_layer("random")(8, WIDTH, "neurallut", n=N)
    assert isinstance(layer.bank, NeuralLUTNode)
    start = layer.bank.noise_counter.item()
    first, second = (layer.nodes[0](draw_pins()[:, 0]) for _ in range(2))
    assert not torch.equal(first, second)
    assert layer.bank.noise_counter.item() == start + 2


def test_a_learned_gradient_scale_is_cut_too() -> None:
    layer = REGISTRY.get_layer("random")(8, WIDTH, "dwn_stable", n=N, node_kwargs={"learn_gradient_scale": True})
    view = layer.nodes[1]
    assert isinstance(view, DWNStableNode)
    assert isinstance(view.gradient_scale, Tensor)
    assert view.gradient_scale.shape == (1,)
