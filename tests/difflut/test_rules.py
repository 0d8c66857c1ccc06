"""Training rules, against sums written out from their definitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from difflut.rules import (
    compute_addresses,
    hard_lookup,
    hard_lookup_expected,
    hard_lookup_harmonic,
    multilinear,
    pointwise_logit,
    read_table,
    route_hard,
    straight_through,
    walsh_transform,
)

SIZES = [(1, 1), (2, 1), (3, 2), (6, 1), (5, 3)]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_addresses_are_lsb_first_with_ties_at_one() -> None:
    pins = torch.tensor([[0.5], [0.49999], [2.0], [-1.0]]).unsqueeze(0)
    assert compute_addresses(pins).tolist() == [[0b0101]]


def test_read_table_picks_per_node_and_output() -> None:
    table = draw(0, 3, 2, 4)
    address = torch.tensor([[0, 3, 1], [2, 2, 0], [1, 0, 3]])
    values = read_table(table, address)
    for node, output, sample in itertools.product(range(3), range(2), range(3)):
        assert values[node, output, sample] == table[node, output, address[node, sample]]


@pytest.mark.parametrize(("n", "outputs"), SIZES)
def test_multilinear_is_the_sum_over_all_corners(n: int, outputs: int) -> None:
    table, pins = draw(1, 3, outputs, 2**n), draw(2, 3, n, 4)
    values = multilinear(table, pins)
    for node, output, sample in itertools.product(range(3), range(outputs), range(4)):
        expected = 0.0
        for a in range(2**n):
            weight = 1.0
            for j in range(n):
                x = pins[node, j, sample].item()
                weight *= x if a >> j & 1 else 1 - x
            expected += weight * table[node, output, a].item()
        assert values[node, output, sample].item() == pytest.approx(expected, abs=1e-12)


def test_multilinear_gradients_and_second_gradients() -> None:
    table, pins = draw(1, 2, 2, 8).requires_grad_(), draw(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(multilinear, (table, pins))
    assert torch.autograd.gradgradcheck(multilinear, (table, pins))


def test_pointwise_logit_values_and_gradients() -> None:
    weights, bias, pins = draw(1, 2, 3, 2) - 0.5, draw(2, 2, 2) - 0.5, draw(3, 2, 3, 4)
    values = pointwise_logit(weights, bias, pins)
    for node, output, sample in itertools.product(range(2), range(2), range(4)):
        z = bias[node, output] + (weights[node, :, output] * pins[node, :, sample]).sum()
        assert values[node, output, sample].item() == pytest.approx(1 / (1 + torch.exp(-z).item()), abs=1e-12)
    inputs = tuple(x.requires_grad_() for x in (weights, bias, pins))
    assert torch.autograd.gradcheck(pointwise_logit, inputs)


Rule = Callable[[Tensor, Tensor], Tensor]


def geometric_weight(distance: int, n: int) -> float:
    """Weight of an entry in the extended finite difference, as the paper defines it."""
    alpha, beta = 0.5 * 0.75 ** (n - 1), 0.25 / 0.75
    return alpha * beta**distance


def harmonic_weight(distance: int, n: int) -> float:
    return 1 / (distance + 1)


def brute_force_pin_gradient(table: Tensor, address: int, j: int, n: int, weight: Callable[[int, int], float]) -> float:
    """Weighted finite difference across bit j of one output at one address, entry by entry."""
    total = 0.0
    for k in range(2**n):
        sign = 1 if k >> j & 1 else -1
        distance = ((k ^ address) & ~(1 << j)).bit_count()
        total += sign * table[k].item() * weight(distance, n)
    return total


@pytest.mark.parametrize(("rule", "weight"), [(hard_lookup, geometric_weight), (hard_lookup_harmonic, harmonic_weight)])
@pytest.mark.parametrize(("n", "outputs"), SIZES)
def test_hard_lookup_against_the_definition(
    n: int, outputs: int, rule: Rule, weight: Callable[[int, int], float]
) -> None:
    table, pins, grad = draw(1, 3, outputs, 2**n), draw(2, 3, n, 5), draw(3, 3, outputs, 5) - 0.5
    table.requires_grad_(), pins.requires_grad_()
    values = rule(table, pins)
    grad_table, grad_pins = torch.autograd.grad(values, (table, pins), grad)
    address = compute_addresses(pins.detach())
    assert torch.equal(values.detach(), read_table(table.detach(), address))

    expected_table = torch.zeros_like(table)
    for node, sample in itertools.product(range(3), range(5)):
        expected_table[node, :, address[node, sample]] += grad[node, :, sample]
    assert torch.allclose(grad_table, expected_table, atol=1e-14)

    for node, j, sample in itertools.product(range(3), range(n), range(5)):
        expected = sum(
            grad[node, o, sample].item()
            * brute_force_pin_gradient(table[node, o], int(address[node, sample]), j, n, weight)
            for o in range(outputs)
        )
        assert grad_pins[node, j, sample].item() == pytest.approx(expected, abs=1e-12)


def test_hard_lookup_pin_gradient_is_half_the_expected_difference() -> None:
    """Independent reading: half of E[f(bit j = 1) - f(bit j = 0)] with every other bit flipped with probability 1/4."""
    n, j = 4, 2
    table, pins = draw(5, 1, 1, 2**n), draw(6, 1, n, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(hard_lookup(table, pins).sum(), pins)
    bits = (pins.detach() >= 0.5).double()
    noisy = 0.75 * bits + 0.25 * (1 - bits)
    high, low = noisy.clone(), noisy.clone()
    high[:, j], low[:, j] = 1, 0
    expected = 0.5 * (multilinear(table, high) - multilinear(table, low))
    assert gradient[0, j, 0].item() == pytest.approx(expected.item(), abs=1e-14)


@pytest.mark.parametrize("rule", [hard_lookup, hard_lookup_harmonic, hard_lookup_expected])
def test_hard_lookup_pin_gradient_is_differentiable_in_the_table(rule: Rule) -> None:
    pins = draw(2, 2, 3, 4).requires_grad_()
    weights = draw(3, 2, 3, 4)

    def penalty(table: Tensor) -> Tensor:
        values = rule(table, pins)
        (gradient,) = torch.autograd.grad(values.sum(), pins, create_graph=True)
        return (weights * gradient).sum()

    assert torch.autograd.gradcheck(penalty, (draw(1, 2, 2, 8).requires_grad_(),))


def test_harmonic_differences_of_many_pins_are_accurate_in_single_precision() -> None:
    table, pins = draw(1, 1, 1, 2**16), draw(2, 1, 16, 2)
    gradients: list[Tensor] = []
    for dtype in (torch.float32, torch.float64):
        x = pins.to(dtype, copy=True).requires_grad_()
        gradients += torch.autograd.grad(hard_lookup_harmonic(table.to(dtype), x).sum(), x)
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * gradients[1].abs().max()


@pytest.mark.parametrize("at_corners", [False, True])
def test_expected_lookup_reads_entries_and_learns_from_the_expectation(at_corners: bool) -> None:
    table, pins, grad = draw(1, 3, 2, 16), draw(2, 3, 4, 5), draw(3, 3, 2, 5) - 0.5
    if at_corners:
        pins = pins.round()
    table.requires_grad_(), pins.requires_grad_()
    values = hard_lookup_expected(table, pins)
    assert torch.equal(values, read_table(table, compute_addresses(pins)))
    found = torch.autograd.grad(values, (table, pins), grad)
    expected = torch.zeros_like(pins)
    for j in range(4):
        high, low = pins.detach().clone(), pins.detach().clone()
        high[:, j], low[:, j] = 1, 0
        difference = multilinear(table, high) - multilinear(table, low)
        expected[:, j] = (grad * difference).sum(1).detach()
    assert torch.allclose(found[1], expected, atol=1e-14)
    assert found[1].abs().min() > 0
    (expected_table,) = torch.autograd.grad(multilinear(table, pins), table, grad)
    assert torch.allclose(found[0], expected_table, atol=1e-14)


def test_straight_through_passes_one_value_and_the_other_gradient() -> None:
    x = draw(1, 4).requires_grad_()
    value = torch.tensor([0.1, 1e-30, 3.0, -2.0], dtype=torch.float64)
    y = straight_through(value, x**3)
    assert torch.equal(y, value)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.allclose(first, 3 * x**2)
    assert torch.allclose(second, 6 * x)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_walsh_transform_is_the_sum_of_signs(n: int) -> None:
    table = draw(1, 3, 2, 2**n)
    values = walsh_transform(table)
    for a in range(2**n):
        signs = torch.tensor([(-1.0) ** (k & a).bit_count() for k in range(2**n)], dtype=torch.float64)
        assert torch.allclose(values[:, :, a], (table * signs).sum(2), atol=1e-13)
    assert torch.allclose(walsh_transform(values), table * 2**n)


def soft_route(features: Tensor, candidates: Tensor, logits: Tensor, tau: float) -> Tensor:
    """The softmax mixture that the logits are to learn from."""
    return (torch.softmax(logits / tau, dim=1).unsqueeze(2) * features[candidates]).sum(1)


def test_route_hard_values_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("difflut.rules.routing._CHUNK_ELEMENTS", 30)  # several chunks even for these few pins
    features, logits, grad = draw(1, 6, 4), draw(2, 5, 3), draw(3, 5, 4) - 0.5
    candidates = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 2, 4], [5, 3, 1], [2, 2, 0]])
    chosen = candidates.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
    features.requires_grad_(), logits.requires_grad_()
    values = route_hard(features, chosen, candidates, logits, 0.7)
    grad_features, grad_logits = torch.autograd.grad(values, (features, logits), grad)

    assert torch.equal(values, features[chosen])
    expected_features = torch.zeros_like(features)
    for pin in range(5):
        expected_features[chosen[pin]] += grad[pin]
    assert torch.allclose(grad_features, expected_features, atol=1e-14)
    (expected_logits,) = torch.autograd.grad(soft_route(features, candidates, logits, 0.7), logits, grad)
    assert torch.allclose(grad_logits, expected_logits, atol=1e-14)
