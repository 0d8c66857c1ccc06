"""Initialisers: the names, the values drawn, and residual tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difflut.models import ModelConfig, build_model
from difflut.nodes import DiffLogicNode, DWNNode, LinearLUTNode, LutNode, NeuralLUTNode, ProbabilisticNode
from difflut.registry import REGISTRY, register_initializer
from tests.documents.session import registry_restored

NODES = REGISTRY.list_nodes()
NAMES = (
    "zeros ones normal uniform xavier_uniform glorot_uniform xavier xavier_normal glorot_normal glorot "
    "kaiming_uniform he_uniform kaiming_normal he_normal kaiming he "
    "variance_stabilized probabilistic probabilistic_init residual"
).split()


def test_the_twenty_names() -> None:
    assert len(NAMES) == 20
    assert set(NAMES) <= set(REGISTRY.list_initializers())
    assert REGISTRY.get_initializer("Kaiming_Normal") is REGISTRY.get_initializer("he")
    assert REGISTRY.get_initializer("XAVIER") is REGISTRY.get_initializer("glorot_uniform")
    with pytest.raises(ValueError, match="Unknown initializer 'orthogonal'; available: glorot"):
        LinearLUTNode(init_fn="orthogonal")


def weights_of(name: str, **kwargs: Any) -> Tensor:
    """Weights of 400 nodes of 16 inputs and 4 outputs: 25,600 draws."""
    return LinearLUTNode(16, 4, 400, init_fn=name, init_kwargs=kwargs).weights.detach()


@pytest.mark.parametrize(
    ("name", "kwargs", "mean", "std", "is_uniform"),
    [
        ("normal", {}, 0.0, 1.0, False),
        ("normal", {"mean": 3.0, "std": 0.5}, 3.0, 0.5, False),
        ("uniform", {}, 0.0, 1 / math.sqrt(3), True),
        ("uniform", {"a": 0, "b": 1}, 0.5, 1 / math.sqrt(12), True),
        ("xavier_uniform", {}, 0.0, math.sqrt(2 / 20), True),
        ("xavier_normal", {"gain": 2.0}, 0.0, 2 * math.sqrt(2 / 20), False),
        ("kaiming_normal", {}, 0.0, math.sqrt(2 / 16), False),
        ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "linear"}, 0.0, math.sqrt(1 / 4), False),
        ("kaiming_uniform", {"a": 1.0}, 0.0, math.sqrt(1 / 16), True),
        ("kaiming_uniform", {"a": 1.0, "nonlinearity": "relu"}, 0.0, math.sqrt(2 / 16), True),
        ("variance_stabilized", {"v_target": 2.0}, 0.0, math.sqrt(8 / 20), False),
    ],
)
def test_draws_have_the_stated_distribution(
    name: str, kwargs: dict[str, Any], mean: float, std: float, is_uniform: bool
) -> None:
    values = weights_of(name, **kwargs)
    # Five standard errors of 25,600 draws; that of the standard deviation is at most std / sqrt(2 * 25,600).
    assert values.mean().item() == pytest.approx(mean, abs=5 * std / 160)
    assert values.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * 25600))
    largest = (values - mean).abs().max().item() / std
    assert largest <= math.sqrt(3) + 1e-5 if is_uniform else largest > 3


def test_constants() -> None:
    assert (weights_of("zeros") == 0).all()
    assert (weights_of("ones") == 1).all()


@pytest.mark.parametrize(
    ("bank", "fans"),
    [
        (LinearLUTNode(5, 2, 3), {"weights": (5, 2), "bias": (5, 2)}),
        (DWNNode(3, 2, 3), {"luts": (8, 2)}),
        (ProbabilisticNode(3, 2, 3), {"raw_weights": (8, 2)}),
        (
            NeuralLUTNode(5, 2, 3, hidden_width=4, depth=3),
            {"layer_weights.1": (4, 4), "layer_biases.2": (4, 2), "skip_weights.2": (5, 2), "skip_biases.2": (5, 2)},
        ),
        (REGISTRY.get_node("fourier")(3, 2, 3), {"amplitudes": (8, 2), "phases": (8, 2), "bias": (8, 2)}),
        (REGISTRY.get_node("difflogic")(3, 2, 3), {"weights": (16, 2)}),
        (REGISTRY.get_node("polylut")(3, 2, 3, degree=2), {"weights": (10, 2)}),
        (REGISTRY.get_node("warp")(3, 2, 3), {"coefficients": (8, 2)}),
        (REGISTRY.get_node("hybrid")(3, 2, 3), {"raw_luts": (8, 2)}),
        (REGISTRY.get_node("dwn_stable")(3, 2, 3), {"raw_luts": (8, 2)}),
    ],
)
def test_fans_follow_the_orientation_of_the_parameters(bank: LutNode, fans: dict[str, tuple[int, int]]) -> None:
    assert {name: bank.compute_fans(name) for name in fans} == fans


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("outputs", [1, 4, 16])  # 16 outputs of 4 inputs: a square table
def test_residual_nodes_pass_input_0_on(name: str, outputs: int) -> None:
    for n in range(REGISTRY.get_node(name).min_input_dim, 8):
        bank = REGISTRY.get_node(name)(n, outputs, 3, init_fn="residual")
        expected = torch.arange(2**n) % 2 == 1
        assert torch.equal(bank.truth_table(), expected.expand(3, outputs, -1))


def test_residual_logic_gates_still_read_two_different_inputs() -> None:
    indices = DiffLogicNode(3, 4, 50, init_fn="residual").indices
    assert (indices[:, :, 0] == 0).all()
    assert set(indices[:, :, 1].flatten().tolist()) == {1, 2}


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "leakyrelu"])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_residual_networks_of_any_depth(activation: str, depth: int) -> None:
    bank = NeuralLUTNode(4, 2, 3, init_fn="residual", depth=depth, activation=activation)
    assert torch.equal(bank.truth_table(), (torch.arange(16) % 2 == 1).expand(3, 2, -1))


def test_residual_clarity_and_noise() -> None:
    clear = ProbabilisticNode(3, init_fn="residual", init_kwargs={"logit_clarity": 2.0})
    assert set(clear.raw_weights.flatten().tolist()) == {-2.0, 2.0}
    noisy = ProbabilisticNode(8, num_nodes=20, init_fn="residual", init_kwargs={"noise_factor": 0.3})
    deviation = noisy.raw_weights.detach().abs() - 5
    assert deviation.std().item() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("initializer", NAMES)
@pytest.mark.parametrize("name", NODES)
def test_every_initializer_works_for_every_node_and_follows_the_seed(name: str, initializer: str) -> None:
    state = torch.get_rng_state()
    first, second, other = (
        REGISTRY.get_node(name)(3, 2, 3, init_fn=initializer, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
        assert a.isfinite().all()
    if initializer not in {"zeros", "ones", "residual"}:
        assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_functions_get_what_their_signature_names() -> None:
    seen = []

    def record(parameter: Tensor, value: float, *, node: LutNode, param_name: str, fan_in: int) -> None:
        seen.append((param_name, type(node), fan_in, parameter.shape))
        parameter.fill_(value)

    bank = LinearLUTNode(5, 2, 3, init_fn=record, init_kwargs={"value": 0.25})
    assert seen == [("weights", LinearLUTNode, 5, (3, 5, 2)), ("bias", LinearLUTNode, 5, (3, 2))]
    assert (bank.weights == 0.25).all()
    with pytest.raises(TypeError, match="init_kwargs holds 'fan_in'"):
        LinearLUTNode(init_fn=record, init_kwargs={"value": 0.25, "fan_in": 3})
    assert LinearLUTNode(init_fn=nn.init.constant_, init_kwargs={"val": 2.0}).weights.max() == 2


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("normal", {"std": -1.0}, "std"),
        ("normal", {"mean": "0"}, "mean"),
        ("uniform", {"a": -1e308, "b": 1e308}, "a is"),
        ("uniform", {"a": 2.0, "b": 1.0}, "a is 2.0"),
        ("xavier", {"gain": math.inf}, "gain"),
        ("kaiming", {"mode": "fan"}, "mode"),
        ("kaiming", {"nonlinearity": "gelu"}, "gelu"),
        ("variance_stabilized", {"v_target": -1}, "v_target"),
        ("residual", {"logit_clarity": 0}, "logit_clarity"),
    ],
)
def test_bad_arguments_are_named(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearLUTNode(init_fn=name, init_kwargs=kwargs)


def test_init_kwargs_are_a_table() -> None:
    with pytest.raises(TypeError, match="init_kwargs"):
        LinearLUTNode(init_fn="normal", init_kwargs=[1])  # type: ignore[arg-type]


def test_a_family_without_residual_values_says_so() -> None:
    class Other(LinearLUTNode):
        residual_values = LutNode.residual_values

    with pytest.raises(NotImplementedError, match="Other has no residual start values"):
        Other(init_fn="residual")


def test_configurations_name_initializers() -> None:
    node_kwargs = {"init_fn": "residual", "init_kwargs": {"logit_clarity": 3.0}}
    encoder = {"name": "thermometer", "num_bits": 2}
    model = build_model(
        ModelConfig("feedforward", "random", "dwn_stable", encoder, 3, [6], 2, input_size=4, node_kwargs=node_kwargs)
    )
    assert {abs(value) for value in model.get_parameter("layers.0.bank.raw_luts").flatten().tolist()} == {3.0}


def test_own_initializers_can_be_registered() -> None:
    def halves(parameter: Tensor) -> None:
        parameter.fill_(0.5)

    with registry_restored():
        register_initializer("Halves_Of_This_Test")(halves)
        assert (LinearLUTNode(init_fn="halves_of_this_test").weights == 0.5).all()
