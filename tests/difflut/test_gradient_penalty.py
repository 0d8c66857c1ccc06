"""Gradient penalties: closed forms, errors, and second derivatives of every node type."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from difflut.layers import LayerConfig, RandomLayer
from difflut.nodes import LutNode
from difflut.registry import REGISTRY
from difflut.utils.gradient_penalty import (
    GradientPenalty,
    gradient_penalty,
    interpolated_gradient_penalty,
    output_magnitude_penalty,
)

NODES = REGISTRY.list_nodes()


def sum_of_squares(x: Tensor) -> Tensor:
    return x.square().sum()


@pytest.mark.parametrize(
    ("loss_fn", "x", "target", "expected"),
    [
        (torch.sum, [1.0, 2.0, 3.0], math.sqrt(3), 0.0),
        (torch.sum, [1.0, 2.0, 3.0], 1.0, (math.sqrt(3) - 1) ** 2),
        (sum_of_squares, [1.0, 2.0], math.sqrt(20), 0.0),
        (sum_of_squares, [[1.0], [2.0]], 0.0, 20.0),
        (sum_of_squares, [[[3.0, 4.0]]], 1.0, 81.0),
        (torch.sum, 5.0, 3.0, 4.0),
        (sum_of_squares, [0.0, 0.0], 1.0, 1.0),
    ],
)
def test_closed_forms(loss_fn: Any, x: Any, target: float, expected: float) -> None:
    penalty = gradient_penalty(loss_fn, torch.tensor(x), target_norm=target)
    assert penalty.dim() == 0
    assert penalty.item() == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_the_default_target_is_one() -> None:
    assert gradient_penalty(torch.sum, torch.zeros(1)).item() == 0


def test_per_sample_norms() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    expected = ((10 - 1) ** 2 + (2 - 1) ** 2) / 2
    assert gradient_penalty(sum_of_squares, x, per_sample=True).item() == pytest.approx(expected)


def test_it_trains_parameters_and_the_input() -> None:
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    torch.autograd.backward(gradient_penalty(lambda x: (weight * x).sum(), torch.ones(2), target_norm=1.0))
    assert weight.grad is not None
    assert weight.grad.tolist() == pytest.approx([2 * 4 * 0.6, 2 * 4 * 0.8])

    x = torch.tensor([1.0, 2.0])
    with torch.no_grad():  # the gradient inside does not depend on the mode outside
        assert gradient_penalty(sum_of_squares, x, target_norm=0.0).item() == pytest.approx(20.0)
    assert not x.requires_grad
    x.requires_grad_()
    torch.autograd.backward(gradient_penalty(sum_of_squares, x, target_norm=0.0))
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([8.0, 16.0])


def test_a_zero_gradient_is_no_nan() -> None:
    x = torch.zeros(3, requires_grad=True)
    torch.autograd.backward(gradient_penalty(sum_of_squares, x))
    assert x.grad is not None
    assert x.grad.tolist() == [0.0] * 3


def test_interpolation_has_one_share_for_the_whole_tensor() -> None:
    fake, real = torch.tensor([[1.0, 2.0], [4.0, 0.0]]), torch.tensor([[0.0, 5.0], [2.0, 1.0]])
    seen: list[Tensor] = []

    def watch(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return sum_of_squares(x)

    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(3)
    penalties = [interpolated_gradient_penalty(watch, fake, real, generator=generator) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), state)
    shares = [(point - real) / (fake - real) for point in seen]
    for share, point, penalty in zip(shares, seen, penalties, strict=True):
        assert torch.allclose(share, share[0, 0])
        assert 0 <= share[0, 0] < 1
        assert penalty.item() == pytest.approx((2 * point.norm().item() - 1) ** 2, rel=1e-5)
    assert not torch.allclose(shares[0], shares[1])
    assert interpolated_gradient_penalty(sum_of_squares, real, real, target_norm=2 * real.norm().item()) < 1e-8
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2,\)"):
        interpolated_gradient_penalty(torch.sum, fake, real[0])


def test_output_magnitude() -> None:
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    assert output_magnitude_penalty(x, target=2.0).item() == pytest.approx((5 / math.sqrt(2) - 2) ** 2)
    assert output_magnitude_penalty(x, target=5.0, reduction="sum").item() == 0
    assert output_magnitude_penalty(torch.ones(2, 3)).item() == pytest.approx(0)
    torch.autograd.backward(output_magnitude_penalty(x, target=3.0, reduction="sum"))
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([2 * 2 * 0.6, 2 * 2 * 0.8])
    with pytest.raises(ValueError, match="reduction is 'max'"):
        output_magnitude_penalty(x, reduction="max")
    with pytest.raises(ValueError, match="empty"):
        output_magnitude_penalty(torch.zeros(0))


def test_losses_that_cannot_be_penalised() -> None:
    x = torch.ones(3)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        gradient_penalty(lambda x: x, x)
    with pytest.raises(ValueError, match="eval mode"):
        gradient_penalty(lambda x: (x >= 0.5).float().sum(), x)
    weight = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="does not depend on it"):
        gradient_penalty(lambda x: weight * len(x), x)


def test_compute() -> None:
    logprobs = torch.tensor([1.0, 2.0])
    data = [{"loss_fn_inputs": {"reference_logprobs": [1.0, 2.0], "other": logprobs}}]
    assert GradientPenalty.name == "gradient_penalty"
    for mode in ("output", "output_wrt_logprobs", "interpolated"):
        penalty, metrics = GradientPenalty.compute(data, logprobs, mode=mode, loss_fn=sum_of_squares, target_norm=0.0)
        assert penalty.item() == pytest.approx(20.0)
        assert metrics == {}
    assert GradientPenalty.compute([], logprobs, target_norm=math.sqrt(2))[0].item() == pytest.approx(0, abs=1e-10)
    penalty, _ = GradientPenalty.compute(data, logprobs, mode="interpolated", reference_field="other")
    assert penalty.item() == pytest.approx((math.sqrt(2) - 1) ** 2)


@pytest.mark.parametrize(
    ("data", "mode", "error", "message"),
    [
        ([], "sideways", ValueError, "mode is 'sideways'; available: output, interpolated"),
        ([], "interpolated", ValueError, "empty"),
        ([{}], "interpolated", KeyError, "loss_fn_inputs"),
        ([{"loss_fn_inputs": {}}], "interpolated", KeyError, "reference_logprobs"),
        ([{"loss_fn_inputs": {"reference_logprobs": [1.0]}}], "interpolated", ValueError, r"\(2,\) and \(1,\)"),
    ],
)
def test_errors_of_compute(data: Any, mode: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        GradientPenalty.compute(data, torch.ones(2), mode=mode)


def make_node(name: str, num_nodes: int = 3) -> LutNode:
    return REGISTRY.get_node(name)(input_dim=3, output_dim=2, num_nodes=num_nodes).double()


def draw_inputs(num_nodes: int = 3) -> Tensor:
    return torch.rand(5, num_nodes, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def penalize(node: LutNode, state: dict[str, Tensor], **arguments: Any) -> Tensor:
    """The penalty of a node in a state, which holds the position in its noise."""
    node.load_state_dict(state)
    return REGISTRY.get_regularizer("gradient_penalty")(node, **arguments)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("name", NODES)
def test_second_derivatives_of_every_node_type(name: str, per_sample: bool) -> None:
    node, inputs = make_node(name), draw_inputs()
    state = {key: value.clone() for key, value in node.state_dict().items()}
    arguments = {"inputs": inputs, "target_norm": 0.3, "per_sample": per_sample}
    torch.autograd.backward(penalize(node, state, **arguments))
    generator = torch.Generator().manual_seed(0)
    for key, parameter in node.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-6 * direction
        above, below = ({**state, key: (state[key] + sign * step).clone()} for sign in (1, -1))
        expected = (penalize(node, above, **arguments) - penalize(node, below, **arguments)).item() / 2e-6
        slope = 0.0 if parameter.grad is None else (parameter.grad * direction).sum().item()
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-7), key


@pytest.mark.parametrize("name", NODES)
def test_values_per_node(name: str) -> None:
    node, inputs = make_node(name), draw_inputs()
    state = {key: value.clone() for key, value in node.state_dict().items()}
    point = inputs.clone().requires_grad_()
    torch.autograd.backward(node.forward_expected(point).sum())
    assert point.grad is not None
    norms = point.grad.square().sum((0, 2)).sqrt()
    assert penalize(node, state, inputs=inputs).item() == pytest.approx((norms - 1).square().mean().item())
    samples = point.grad.square().sum(2).sqrt()
    expected = (samples - 1).square().mean().item()
    assert penalize(node, state, inputs=inputs, per_sample=True).item() == pytest.approx(expected)


def test_a_bank_of_one_is_the_penalty_of_its_sum() -> None:
    node, inputs = make_node("warp", num_nodes=1), draw_inputs(1)[:, 0]
    expected = gradient_penalty(lambda x: node(x).sum(), inputs, target_norm=0.5)
    value = REGISTRY.get_regularizer("gradient_penalty")(node, target_norm=0.5, inputs=inputs)
    assert value.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", NODES)
def test_output_magnitude_of_nodes(name: str) -> None:
    node, inputs = make_node(name).eval(), draw_inputs()
    answers = node(inputs)
    expected = sum((answers[:, i].square().mean().sqrt().item() - 0.5) ** 2 for i in range(3)) / 3
    function = REGISTRY.get_regularizer("output_magnitude")
    assert function(node, target=0.5, inputs=inputs).item() == pytest.approx(expected, rel=1e-5)
    torch.autograd.backward(function(node.train(), inputs=inputs))
    assert all(parameter.grad is not None for parameter in node.parameters())


@pytest.mark.parametrize("regularizer", ["gradient_penalty", "output_magnitude"])
def test_without_inputs_the_value_has_no_gradient(regularizer: str) -> None:
    node = REGISTRY.get_node("probabilistic")(input_dim=3, num_nodes=4)
    function = REGISTRY.get_regularizer(regularizer)
    value = function(node)
    assert not value.requires_grad
    assert value == function(node)
    assert value >= 0


@pytest.mark.parametrize("name", NODES)
def test_eval_mode_penalises_the_training_rule(name: str) -> None:
    node, inputs = make_node(name).float(), draw_inputs().float()
    function = REGISTRY.get_regularizer("gradient_penalty")
    expected = function(node, inputs=inputs)
    assert function(node.eval(), inputs=inputs) == expected
    node.set_regularizers({"gradient_penalty": 0.5})
    assert node.regularization() == 0.5 * function(node)
    assert not node.regularization().requires_grad


@pytest.mark.parametrize("name", NODES)
def test_layers_train_with_both(name: str) -> None:
    regularizers = {"gradient_penalty": {"weight": 10, "target_norm": 2.0, "per_sample": True}, "output_magnitude": 0.5}
    layer = RandomLayer(8, 5, name, n=3, node_kwargs={"regularizers": regularizers})
    layer(torch.rand(6, 8))
    torch.autograd.backward(layer.regularization())
    assert any(bool((p.grad != 0).any()) for p in layer.bank.parameters() if p.grad is not None)


def test_stabilised_gradients_can_be_differentiated_again() -> None:
    config = LayerConfig(grad_stabilization="layerwise", grad_subtract_mean=True)
    layer = RandomLayer(8, 5, "probabilistic", n=3, layer_config=config)
    torch.autograd.backward(gradient_penalty(lambda x: layer(x).square().sum(), torch.rand(6, 8)))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
