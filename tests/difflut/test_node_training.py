"""What smooth node families answer in training, against their formulas written out, and their derivatives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from difflut.nodes import DiffLogicNode, FourierNode, LutNode, NeuralLUTNode, PolyLUTNode, WARPNode
from difflut.registry import REGISTRY


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def poly_answer(bank: LutNode, node: int, output: int, x: list[float]) -> float:
    assert isinstance(bank, PolyLUTNode)
    terms = zip(bank.monomial_combinations, bank.weights[node, :, output].tolist(), strict=True)
    return sigmoid(sum(w * math.prod(v**power for v, power in zip(x, powers, strict=True)) for powers, w in terms))


def warp_answer(bank: LutNode, node: int, output: int, x: list[float]) -> float:
    assert isinstance(bank, WARPNode)
    z = 0.0
    for s, coefficient in enumerate(bank.coefficients[node, :, output].tolist()):
        z += coefficient * math.prod(2 * v - 1 for j, v in enumerate(x) if s >> j & 1)
    return sigmoid(z / bank.temperature)


def fourier_answer(bank: LutNode, node: int, output: int, x: list[float]) -> float:
    assert isinstance(bank, FourierNode)
    amplitudes = bank.amplitudes[node, :, output].tolist()
    y = bank.bias[node, output].item()
    for k, amplitude in enumerate(amplitudes):
        turns = sum(f * v for f, v in zip(bank.frequencies[node, k].tolist(), x, strict=True))
        wave = math.cos(2 * math.pi * turns + bank.phases[node, k, output].item())
        y += bank.max_amplitude * amplitude / (sum(map(abs, amplitudes)) + 1e-8) * wave
    return min(max(y, 0.0), 1.0)


def difflogic_answer(bank: LutNode, node: int, output: int, x: list[float]) -> float:
    assert isinstance(bank, DiffLogicNode)
    a, b = (x[index] for index in bank.indices[node, output].tolist())
    weights = [math.exp(w) for w in bank.weights[node, output].tolist()]
    corners = [(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b]
    y = 0.0
    for gate, weight in enumerate(weights):
        y += weight / sum(weights) * sum(corner for column, corner in enumerate(corners) if gate >> column & 1)
    return y


ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "relu": lambda z: max(z, 0.0),
    "sigmoid": sigmoid,
    "leakyrelu": lambda z: z if z > 0 else 0.01 * z,
}


def apply_linear(weights: Tensor, biases: Tensor, x: list[float]) -> list[float]:
    rows = zip(weights.t().tolist(), biases.tolist(), strict=True)
    return [bias + sum(w * v for w, v in zip(row, x, strict=True)) for row, bias in rows]


def neural_logit(bank: LutNode, node: int, output: int, x: list[float]) -> float:
    assert isinstance(bank, NeuralLUTNode)
    hidden = x
    for i in range(bank.depth):
        z = apply_linear(bank.layer_weights[i][node], bank.layer_biases[i][node], hidden)
        if i > 0 and i % bank.skip_interval == 0:
            skip = apply_linear(bank.skip_weights[str(i)][node], bank.skip_biases[str(i)][node], x)
            z = [v + w for v, w in zip(z, skip, strict=True)]
        hidden = [ACTIVATIONS[bank.activation](v) for v in z]
    return z[output]


def neural_answer(bank: LutNode, node: int, output: int, x: list[float]) -> float:
    assert isinstance(bank, NeuralLUTNode)
    return sigmoid(neural_logit(bank, node, output, x) / bank.tau.item())


ANSWERS: list[tuple[type[LutNode], dict[str, object], Callable[[LutNode, int, int, list[float]], float]]] = [
    (PolyLUTNode, {}, poly_answer),
    (PolyLUTNode, {"degree": 1}, poly_answer),
    (PolyLUTNode, {"degree": 5}, poly_answer),
    (WARPNode, {"temperature": 0.3}, warp_answer),
    (FourierNode, {}, fourier_answer),
    (FourierNode, {"max_amplitude": 3.0}, fourier_answer),
    (DiffLogicNode, {}, difflogic_answer),
    (NeuralLUTNode, {"tau_start": 0.4}, neural_answer),
    (NeuralLUTNode, {"depth": 1}, neural_answer),
    (NeuralLUTNode, {"depth": 3, "activation": "leakyrelu"}, neural_answer),
    (NeuralLUTNode, {"depth": 4, "skip_interval": 1, "activation": "sigmoid", "hidden_width": 3}, neural_answer),
]


def silence(bank: LutNode) -> LutNode:
    """Take the noise away, if there is one."""
    if isinstance(bank, NeuralLUTNode):
        bank.draw_noise = lambda logits: 0 * logits  # type: ignore[method-assign]
    return bank


def draw_pins(nodes: int, n: int, batch: int) -> Tensor:
    """Inputs in and around [0, 1], float64."""
    pins = torch.rand(nodes, n, batch, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return 1.4 * pins - 0.2


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize(("family", "arguments", "answer"), ANSWERS)
def test_training_answers_are_those_of_the_formula(
    n: int,
    family: type[LutNode],
    arguments: dict[str, object],
    answer: Callable[[LutNode, int, int, list[float]], float],
) -> None:
    bank = silence(family(n, 2, 3, **arguments).double())  # type: ignore[arg-type]
    pins = draw_pins(3, n, 4)
    values = bank.train_pins(pins)
    assert values.shape == (3, 2, 4)
    for node, output, sample in itertools.product(range(3), range(2), range(4)):
        expected = answer(bank, node, output, pins[node, :, sample].tolist())
        assert values[node, output, sample].item() == pytest.approx(expected, abs=1e-6)


SMOOTH = ["difflogic", "fourier", "linear_lut", "neurallut", "polylut", "probabilistic", "warp"]


@pytest.mark.parametrize("name", SMOOTH)
def test_first_and_second_derivatives(name: str) -> None:
    bank = silence(REGISTRY.get_node(name)(2, 2, 2).double())
    names = [name for name, _ in bank.named_parameters()]
    values = [parameter.detach().clone().requires_grad_() for parameter in bank.parameters()]
    x = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64).requires_grad_()

    def answer(x: Tensor, *values: Tensor) -> Tensor:
        result: Tensor = functional_call(bank, dict(zip(names, values, strict=True)), (x,))
        return result

    assert torch.autograd.gradcheck(answer, (x, *values))
    assert torch.autograd.gradgradcheck(answer, (x, *values), fast_mode=True)


def test_monomials_are_all_of_the_degree_and_below_ordered_by_it() -> None:
    bank = PolyLUTNode(4, degree=3)
    powers = bank.monomial_combinations
    assert bank.num_monomials == len(powers) == len(set(powers)) == 35
    assert powers[0] == (0, 0, 0, 0)
    assert [sum(row) for row in powers] == sorted(sum(row) for row in powers)
    assert set(powers) == {row for row in itertools.product(range(4), repeat=4) if sum(row) <= 3}


@pytest.mark.parametrize("degree", [0, -1, 2.0, "3"])
def test_the_degree_is_a_positive_integer(degree: int) -> None:
    with pytest.raises(ValueError, match="PolyLUTNode: degree is"):
        PolyLUTNode(4, degree=degree)


@pytest.mark.parametrize(("n", "degree"), [(16, 7), (1, 2000), (3, 10**30)])
def test_too_many_monomials_are_refused(n: int, degree: int) -> None:
    with pytest.raises(ValueError, match=f"degree {degree} of {n} inputs needs too many weights"):
        PolyLUTNode(n, degree=degree)


@pytest.mark.parametrize(("n", "everything", "count"), [(3, False, 8), (6, False, 32), (6, True, 64), (9, False, 32)])
def test_frequencies_are_distinct_and_miss_no_input(n: int, everything: bool, count: int) -> None:
    bank = FourierNode(n, num_nodes=5, use_all_frequencies=everything)
    assert bank.frequencies.shape == (5, count, n)
    for node in bank.frequencies.tolist():
        rows = {tuple(row) for row in node}
        assert len(rows) == count
        assert {value for row in rows for value in row} == {0.0, 0.5}
        assert all(tuple(0.5 * (i == j) for i in range(n)) in rows for j in range(n))
    if count < 2**n:
        assert not torch.equal(bank.frequencies[0], bank.frequencies[1])


def test_fourier_options_are_checked() -> None:
    with pytest.raises(TypeError, match="use_all_frequencies"):
        FourierNode(use_all_frequencies=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_amplitude"):
        FourierNode(max_amplitude=0.0)


def test_outputs_of_logic_gates_read_two_different_inputs_each() -> None:
    indices = DiffLogicNode(5, output_dim=40, num_nodes=20).indices
    assert indices.shape == (20, 40, 2)
    assert (indices[:, :, 0] != indices[:, :, 1]).all()
    assert torch.bincount(indices.flatten(), minlength=5).min() > 250  # 320 on average
    with pytest.raises(ValueError, match="input_dim is 1; it must be at least 2"):
        DiffLogicNode(1)


@pytest.mark.parametrize(
    ("depth", "skip_interval", "skips"), [(2, 2, []), (3, 2, ["2"]), (5, 2, ["2", "4"]), (1, 1, [])]
)
def test_skip_connections_are_every_so_many_layers(depth: int, skip_interval: int, skips: list[str]) -> None:
    bank = NeuralLUTNode(4, depth=depth, skip_interval=skip_interval)
    assert list(bank.skip_weights) == skips


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "leakyrelu"])
def test_tables_of_networks_with_skip_connections(activation: str) -> None:
    generator = torch.Generator().manual_seed(8)
    bank = NeuralLUTNode(4, 2, 3, depth=4, skip_interval=1, activation=activation, generator=generator)
    table = bank.truth_table()
    for node, output, a in itertools.product(range(3), range(2), range(16)):
        logit = neural_logit(bank, node, output, [float(a >> j & 1) for j in range(4)])
        assert table[node, output, a].item() == (logit >= 0)


def test_noise_is_logistic_and_fresh() -> None:
    bank = NeuralLUTNode(2)
    first, second = (bank.draw_noise(torch.empty(200, 500)) for _ in range(2))
    assert not torch.equal(first, second)
    for noise in (first, second):
        assert noise.isfinite().all()
        assert noise.mean().abs() < 0.03  # standard deviation of the mean: 0.006
        assert noise.std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.02)
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs() < 0.02


def test_noise_goes_on_where_a_checkpoint_left_it() -> None:
    x = torch.rand(50, 3)
    bank = NeuralLUTNode(3)
    state = torch.get_rng_state()
    bank(x)
    saved = {name: value.clone() for name, value in bank.state_dict().items()}
    expected = [bank(x), bank(x)]
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(*expected)
    restored = NeuralLUTNode(3, generator=torch.Generator().manual_seed(99))
    restored.load_state_dict(saved)
    assert all(torch.equal(restored(x), answer) for answer in expected)


def test_neurallut_answers_bits_straight_through_and_scales_gradients() -> None:
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    plain, scaled, bits = NeuralLUTNode(3), NeuralLUTNode(3, grad_factor=2.5), NeuralLUTNode(3, ste=True)
    answers = [bank(x) for bank in (plain, scaled, bits)]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[2], (answers[0] >= 0.5).float())
    gradients = [
        torch.autograd.grad(answer.sum(), bank.layer_weights[0])[0]
        for answer, bank in zip(answers, (plain, scaled, bits), strict=True)
    ]
    assert torch.allclose(gradients[1], 2.5 * gradients[0])
    assert torch.allclose(gradients[2], gradients[0])


def test_tau_falls_by_a_tenth_per_decay_and_is_saved() -> None:
    bank = NeuralLUTNode(3, tau_start=2.0, tau_min=0.01, tau_decay_iters=100)
    assert bank.tau.item() == 2.0
    for iteration, tau in [(50, 2 * 10**-0.5), (100, 0.2), (10**6, 0.01), (0, 2.0)]:
        bank.update_tau(iteration)
        assert bank.tau.item() == pytest.approx(tau)
    assert "tau" in bank.state_dict()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"hidden_width": 0}, ValueError),
        ({"depth": 1.0}, ValueError),
        ({"depth": 10**12}, ValueError),
        ({"skip_interval": 0}, ValueError),
        ({"tau_decay_iters": -1}, ValueError),
        ({"activation": "gelu"}, ValueError),
        ({"tau_start": 0.0}, ValueError),
        ({"tau_min": -1.0}, ValueError),
        ({"grad_factor": "2"}, ValueError),
        ({"ste": 1}, TypeError),
        ({"hidden_width": 2**30}, ValueError),
    ],
)
def test_neurallut_options_are_checked(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"NeuralLUTNode: {next(iter(arguments))}"):
        NeuralLUTNode(3, **arguments)
