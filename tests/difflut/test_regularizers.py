"""Regularisers: their values, their gradients, and how layers and models are given them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from difflut import load_model, save_model
from difflut.errors import ConfigError
from difflut.layers import BaseLUTLayer
from difflut.models import SimpleFeedForward
from difflut.nodes import DWNNode, LutNode
from difflut.nodes.utils.regularizer_settings import read_regularizers
from difflut.nodes.utils.regularizers import (
    _generate_hamming_neighbors,
    _l_regularizer_input_based,
    _l_regularizer_random,
    clarity_regularizer,
    entropy_regularizer,
    gradient_penalty_regularizer,
    l1_regularizer,
    l2_regularizer,
    l_regularizer,
    spectral_regularizer,
)
from difflut.registry import REGISTRY

ModelMaker = Callable[..., SimpleFeedForward]
NODES = REGISTRY.list_nodes()
NOISELESS = [name for name in NODES if name != "neurallut"]
LAYERS = REGISTRY.list_layers()
N = 3
OUTPUTS = 2


def make_node(name: str, num_nodes: int = 4, output_dim: int = OUTPUTS) -> LutNode:
    return REGISTRY.get_node(name)(input_dim=N, output_dim=output_dim, num_nodes=num_nodes)


def draw_inputs(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


def all_corners(num_nodes: int) -> Tensor:
    addresses = torch.arange(2**N).unsqueeze(1) >> torch.arange(N) & 1
    return addresses.float().unsqueeze(1).expand(-1, num_nodes, -1)


@torch.no_grad()
def sensitivity_by_hand(node: LutNode, inputs: Tensor, p: float) -> float:
    """One node, one sample, one input at a time."""
    total = 0.0
    for sample in inputs:
        before = node(sample.unsqueeze(0))[0]
        for index in range(node.num_nodes):
            for i in range(N):
                changed = sample.clone()
                changed[index, i] = 1 - changed[index, i]
                after = node(changed.unsqueeze(0))[0]
                total += float((after[index] - before[index]).abs().pow(p).sum())
    return total / (len(inputs) * node.num_nodes * N)


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("p", [1, 2, 1.5])
def test_sensitivity_of_tables(name: str, p: float) -> None:
    node, inputs = make_node(name).eval(), draw_inputs(6, 4, N)
    assert l_regularizer(node, p=p, inputs=inputs).item() == pytest.approx(sensitivity_by_hand(node, inputs, p))


@pytest.mark.parametrize("name", NOISELESS)
@pytest.mark.parametrize("p", [1, 2, 1.5])
def test_sensitivity_of_training_rules(name: str, p: float) -> None:
    node, inputs = make_node(name), draw_inputs(6, 4, N)
    value = l_regularizer(node, p=p, inputs=inputs)
    assert value.dim() == 0
    assert value.item() == pytest.approx(sensitivity_by_hand(node, inputs, p), rel=1e-4)


@pytest.mark.parametrize("name", NODES)
def test_a_constant_node_has_no_sensitivity_and_asking_changes_nothing(name: str) -> None:
    node = REGISTRY.get_node(name)(input_dim=N, num_nodes=3, init_fn="zeros")
    before = {key: value.clone() for key, value in node.state_dict().items()}
    for function in (l_regularizer, l1_regularizer, l2_regularizer):
        assert function(node, inputs=draw_inputs(20, 3, N)).item() == pytest.approx(0, abs=1e-6)
    gradient_penalty_regularizer(node)
    entropy_regularizer(node)
    assert all(torch.equal(value, before[key]) for key, value in node.state_dict().items())


@pytest.mark.parametrize("name", NODES)
def test_what_is_not_training_writes_nothing(name: str) -> None:
    node = make_node(name).eval()
    for parameter in node.parameters():
        parameter.data += 5
    before = {key: value.clone() for key, value in node.state_dict().items()}
    node.eval_mode = "sampling"
    node(draw_inputs(20, 4, N))
    node.soft_table()
    gradient_penalty_regularizer(node)
    assert all(torch.equal(value, before[key]) for key, value in node.state_dict().items())


@pytest.mark.parametrize("name", NODES)
def test_an_eval_mode_is_one_that_there_is(name: str) -> None:
    node = make_node(name)
    with pytest.raises(ValueError, match="eval_mode is 'garbage'; available: expectation, "):
        node.eval_mode = "garbage"
    assert node.eval_mode == "expectation"


def test_a_node_that_copies_an_input_has_sensitivity_one_over_k() -> None:
    node = DWNNode(input_dim=N)
    node.luts.data = all_corners(1)[:, 0, 0].view(1, 1, -1).clone()
    for p in (1, 2, 3):
        assert l_regularizer(node, p=p, inputs=draw_inputs(5, N)).item() == pytest.approx(1 / N)


def test_hamming_neighbors() -> None:
    z = draw_inputs(2, 5, N)
    neighbors = _generate_hamming_neighbors(z)
    assert neighbors.shape == (2, 5, N, N)
    for i in range(N):
        for j in range(N):
            assert torch.equal(neighbors[..., i, j], 1 - z[..., j] if i == j else z[..., j])


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("batch", [1, 8, 32])
def test_input_based_regularisers_reach_every_parameter(name: str, batch: int) -> None:
    for function in (l_regularizer, l1_regularizer, l2_regularizer):
        node = make_node(name, num_nodes=1, output_dim=1)
        value = function(node, inputs=draw_inputs(batch, N))
        assert value.isfinite()
        assert value >= 0
        torch.autograd.backward(value)
        assert all(parameter.grad is not None for parameter in node.parameters())
        assert any(bool((parameter.grad != 0).any()) for parameter in node.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("function", [spectral_regularizer, entropy_regularizer, clarity_regularizer])
@pytest.mark.parametrize("name", NODES)
def test_table_regularisers_reach_every_parameter(name: str, function: Callable[[LutNode], Tensor]) -> None:
    node = make_node(name)
    value = function(node)
    assert value.dim() == 0
    assert value.isfinite()
    assert value >= 0
    torch.autograd.backward(value)
    assert all(parameter.grad is not None for parameter in node.parameters())


@pytest.mark.parametrize("name", NODES)
def test_the_random_mode_is_a_reproducible_value(name: str) -> None:
    state = torch.get_rng_state()
    node = make_node(name).eval()
    value = l2_regularizer(node, num_samples=50)
    assert not value.requires_grad
    assert value == l2_regularizer(node, num_samples=50) == _l_regularizer_random(node, 2, 50)
    assert torch.equal(torch.get_rng_state(), state)
    exact = _l_regularizer_input_based(node, all_corners(4), p=2)
    assert l2_regularizer(node, num_samples=3000).item() == pytest.approx(exact.item(), abs=0.05)


def test_wrappers_have_their_exponents() -> None:
    node, inputs = make_node("probabilistic"), draw_inputs(6, 4, N)
    assert l1_regularizer(node, inputs=inputs) == l_regularizer(node, p=1, inputs=inputs)
    assert l2_regularizer(node, inputs=inputs) == l_regularizer(node, p=2, inputs=inputs)
    assert l_regularizer(node, inputs=inputs) == l2_regularizer(node, inputs=inputs)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_inputs(value: float) -> None:
    assert l_regularizer(make_node("dwn"), inputs=torch.full((3, 4, N), value)).isfinite()


def test_wrong_use_is_refused() -> None:
    node = make_node("dwn")
    for shape in ((5, N), (5, 3, N), (5, 4, N + 1), (0, 4, N)):
        with pytest.raises(ValueError, match=r"expected \(batch, 4, 3\)"):
            l_regularizer(node, inputs=torch.zeros(shape))
    with pytest.raises(ValueError, match=r"p is 0\.5"):
        l_regularizer(node, p=0.5)
    with pytest.raises(ValueError, match="num_samples is 0"):
        l_regularizer(node, num_samples=0)


def spectrum_by_hand(table: Tensor) -> dict[int, float]:
    """Squared Walsh coefficients of one output's table, summed per degree."""
    spectrum = dict.fromkeys(range(N + 1), 0.0)
    for subset in range(2**N):
        signs = [(-1) ** (subset & address).bit_count() for address in range(2**N)]
        coefficient = sum(sign * entry for sign, entry in zip(signs, table.tolist(), strict=True)) / 2**N
        spectrum[subset.bit_count()] += coefficient**2
    return spectrum


@pytest.mark.parametrize("name", NODES)
def test_spectral_weights_the_walsh_spectrum_by_degree(name: str) -> None:
    node = make_node(name)
    tables = node.soft_table().detach()
    spectra = [spectrum_by_hand(table) for table in tables.flatten(0, 1)]
    assert sum(sum(s.values()) for s in spectra) / len(spectra) == pytest.approx(float(tables.square().mean()))
    expected = sum(degree * share for s in spectra for degree, share in s.items()) / node.num_nodes
    assert spectral_regularizer(node).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", NOISELESS)
def test_spectral_is_the_mean_square_sensitivity(name: str) -> None:
    node = make_node(name)
    sensitivity = l2_regularizer(node, inputs=all_corners(4)).item()
    assert spectral_regularizer(node).item() == pytest.approx(N / 4 * sensitivity, rel=1e-4)


def test_entropy_and_clarity() -> None:
    node = make_node("dwn", num_nodes=1, output_dim=1)
    entries = torch.tensor([0.0, 1.0, 0.5, 0.25, 0.75, 1.0, 0.0, 0.5])
    node.luts.data = entries.view(1, 1, -1).clone()
    quarter = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert entropy_regularizer(node).item() == pytest.approx((2 + 2 * quarter) / 8, abs=1e-5)
    assert clarity_regularizer(node).item() == pytest.approx((2 + 2 * 0.75) / 8)


@pytest.mark.parametrize("name", NODES)
def test_soft_tables_agree_with_truth_tables(name: str) -> None:
    node = make_node(name)
    decided = (node.soft_table() - 0.5).abs() > 1e-4
    assert torch.equal((node.soft_table() >= 0.5)[decided], node.truth_table()[decided])


@pytest.mark.parametrize(
    "names",
    [("l", "functional"), ("l1", "l1_functional"), ("L2", "l2_functional"), ("spectral", "Fourier", "walsh")],
)
def test_names(names: tuple[str, ...]) -> None:
    functions = [REGISTRY.get_regularizer(name) for name in names]
    assert all(function is functions[0] for function in functions)
    assert {name.lower() for name in names} <= set(REGISTRY.list_regularizers())


def double(node: LutNode, factor: float = 2.0) -> Tensor:
    return factor * node.soft_table().mean()


@pytest.mark.parametrize(
    ("settings", "weight", "arguments"),
    [
        (["l2"], 1.0, {}),
        ({"l2": 0.25}, 0.25, {}),
        ({"l2": {"weight": 0.25}}, 0.25, {}),
        ({"l2": {"weight": 0.25, "num_samples": 7}}, 0.25, {"num_samples": 7}),
        ({"L2": l2_regularizer}, 1.0, {}),
        ({"l2": [l2_regularizer]}, 1.0, {}),
        ({"l2": ["L2", 2]}, 2, {}),
        ({"l2": (l2_regularizer, 0.5, {"num_samples": 7})}, 0.5, {"num_samples": 7}),
        ({"l2": {"fn": l2_regularizer, "weight": 0.5, "kwargs": {"num_samples": 7}}}, 0.5, {"num_samples": 7}),
        ({"mine": {"fn": "l2", "num_samples": 7}}, 1.0, {"num_samples": 7}),
    ],
)
def test_settings(settings: Any, weight: float, arguments: dict[str, Any]) -> None:
    (entry,) = read_regularizers(settings).values()
    assert (entry.function, entry.weight, entry.arguments) == (l2_regularizer, weight, arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("l2", "must be a list of names or a table"),
        ({1: 0.5}, "names as keys"),
        (["l3"], "Unknown regularizer 'l3'; available: clarity"),
        ({"l2": -1}, "l2 has the weight -1"),
        ({"l2": None}, "l2 has the weight None"),
        ({"l2": {"weight": float("inf")}}, "weight inf"),
        ({"l2": {"samples": 3}}, "l2 has no argument 'samples'"),
        ({"l2": {"inputs": 3}}, "l2 has no argument 'inputs'"),
        ({"l2": []}, "l2 has the weight"),
        ({"l2": [3, 1.0]}, "l2 has 3 where a function"),
        ({"l2": ["l2", 1.0, 3]}, "l2 has the arguments 3"),
        ({"l2": {"kwargs": 3, "num_samples": 7}}, "l2 has the arguments 3"),
        ({"l2": {"fn": 3}}, "l2 has 3 where a function"),
    ],
)
def test_bad_settings_are_named(make_model: ModelMaker, settings: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        read_regularizers(settings)
    with pytest.raises(ConfigError, match=rf"runtime\..*{message}"):
        make_model(runtime={"regularizers": settings})


def make_layer(layer_name: str, node_name: str, regularizers: Any) -> BaseLUTLayer:
    return REGISTRY.get_layer(layer_name)(10, 6, node_name, n=N, node_kwargs={"regularizers": regularizers})


@pytest.mark.parametrize("layer_name", LAYERS)
def test_a_layer_regularises_on_the_pins_of_its_last_training_batch(layer_name: str) -> None:
    layer = make_layer(layer_name, "probabilistic", {"l2": 0.5, "mine": [double, 3.0, {"factor": 4.0}]})
    layer(draw_inputs(9, 10))
    x = draw_inputs(8, 10)
    layer(x)
    pins = x[:, layer.mapping()]
    expected = 0.5 * l2_regularizer(layer.bank, inputs=pins) + 3 * double(layer.bank, 4.0)
    assert layer.regularization().item() == pytest.approx(expected.item())
    layer.eval()
    fallback = 0.5 * l2_regularizer(layer.bank) + 3 * double(layer.bank, 4.0)
    assert layer.regularization().item() == pytest.approx(fallback.item())


@pytest.mark.parametrize("layer_name", LAYERS)
@pytest.mark.parametrize("node_name", NODES)
def test_a_configured_regulariser_trains(layer_name: str, node_name: str) -> None:
    layer = make_layer(layer_name, node_name, ["l2"])
    layer(draw_inputs(16, 10))
    torch.autograd.backward(layer.regularization())
    assert all(parameter.grad is not None for parameter in layer.bank.parameters())


@pytest.mark.parametrize("node_name", NODES)
def test_without_a_forward_pass_a_configured_regulariser_trains_on_random_bits(node_name: str) -> None:
    node = REGISTRY.get_node(node_name)(input_dim=N, regularizers={"l2": l2_regularizer})
    torch.autograd.backward(node.regularization())
    assert all(parameter.grad is not None for parameter in node.parameters())


def test_the_sum_of_a_node_is_that_of_its_own_inputs() -> None:
    node = REGISTRY.get_node("probabilistic")(input_dim=N, regularizers={"l2": 0.5, "entropy": 2.0})
    assert node.regularization().item() == pytest.approx(
        (0.5 * l2_regularizer(node) + 2 * entropy_regularizer(node)).item()
    )
    x = draw_inputs(8, N)
    node(x)
    expected = 0.5 * l2_regularizer(node, inputs=x) + 2 * entropy_regularizer(node)
    for _ in range(2):  # asking does not change what is remembered
        assert node.regularization().item() == pytest.approx(expected.item())
    node.set_regularizers(None)
    assert node.regularization() == 0


def test_a_regulariser_may_call_the_bank_without_being_remembered() -> None:
    x = draw_inputs(8, N)
    regularizers = {"calls": lambda node: node(1 - x).sum(), "l2": 1}
    node = REGISTRY.get_node("probabilistic")(input_dim=N, regularizers=regularizers)
    node(x)
    node.regularization()
    assert node.seen_pins is not None
    assert torch.equal(node.seen_pins, x.t().unsqueeze(0))


def test_views_of_a_layer_see_what_their_own_pins_read() -> None:
    layer = make_layer("random", "probabilistic", ["l2"])
    layer(draw_inputs(8, 10))
    terms = [node.regularization() for node in layer.nodes]
    assert torch.stack(terms).mean().item() == pytest.approx(layer.regularization().item())


def test_a_layer_without_regularisers_adds_nothing_and_keeps_nothing() -> None:
    layer = make_layer("random", "dwn", None)
    layer(draw_inputs(16, 10))
    assert layer.regularization().item() == 0
    assert layer.bank.seen_pins is None


def test_models_sum_over_layers_and_keep_the_settings(make_model: ModelMaker, tmp_path: Path) -> None:
    settings = {"l2": {"weight": 0.5}, "entropy": 0.25}
    model = make_model(runtime={"regularizers": settings})
    model.train()(torch.randn(8, 5))
    loss = model.get_regularization_loss()
    assert loss.item() == pytest.approx(sum(layer.regularization().item() for layer in model.lut_layers()))
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None for parameter in model.parameters())
    save_model(model, tmp_path / "model.pth")
    assert load_model(tmp_path / "model.pth").config.runtime == {"regularizers": settings}
    model.apply_runtime_overrides({"regularizers": []})
    assert model.get_regularization_loss() == 0


@pytest.mark.parametrize("name", REGISTRY.list_regularizers())
@pytest.mark.parametrize("was_trained", [False, True])
def test_the_loss_of_regularisers_has_the_type_of_the_parameters(
    make_model: ModelMaker, name: str, was_trained: bool, default_type: torch.dtype
) -> None:
    for settings in ({name: 1.0}, {}):
        model = make_model(node_type="probabilistic", runtime={"regularizers": settings})
        if was_trained:
            model(torch.rand(10, 5, dtype=torch.float32))
        assert torch.get_default_dtype() == default_type
        assert model.get_regularization_loss().dtype == torch.float32
        for layer in model.lut_layers():
            assert layer.regularization().dtype == torch.float32


def test_a_model_configuration_holds_no_functions(make_model: ModelMaker) -> None:
    for entry in (double, [double, 0.5], {"fn": double}):
        with pytest.raises(ConfigError, match="holds a function"):
            make_model(runtime={"regularizers": {"mine": entry}})
