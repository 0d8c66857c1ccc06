"""The decision record on gradient penalties: its Elixir, said in Python, computes what it says."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from difflut.utils.gradient_penalty import GradientPenalty, gradient_penalty, output_magnitude_penalty
from tests.documents.session import Corrected, Document, Names, Outcome

PENALTIES = """
from difflut.utils.gradient_penalty import (
    GradientPenalty,
    gradient_penalty,
    interpolated_gradient_penalty,
    output_magnitude_penalty,
)

gp = gradient_penalty(loss_fn, logprobs, target_norm=1.0)
interp_gp = interpolated_gradient_penalty(loss_fn, fake_logprobs, real_logprobs, target_norm=1.0)
proxy = output_magnitude_penalty(logprobs, target=1.0)

penalty, metrics = GradientPenalty.compute(data, logprobs)
interpolated_penalty, interpolated_metrics = GradientPenalty.compute(data, logprobs, mode="interpolated")
"""

EVERY_N_STEPS = """
for step in range(30):
    if step % 10 == 0:
        include_gradient_penalty(step)
"""

ELIXIR = "Elixir, of a library that calls it; here it is the same in Python"
WEIGHTS = torch.tensor([3.0, -4.0])


def weigh(x: Tensor) -> Tensor:
    """A loss whose gradient is WEIGHTS everywhere."""
    return (WEIGHTS * x).sum()


def give_tensors(names: Names) -> None:
    logprobs = torch.tensor([-1.0, -7.0])
    reference = torch.tensor([-2.0, -3.0])
    names.update(
        loss_fn=weigh,
        logprobs=logprobs,
        fake_logprobs=logprobs,
        real_logprobs=reference,
        data=[{"loss_fn_inputs": {"reference_logprobs": reference}}],
    )


def give_counter(names: Names) -> None:
    names["steps"] = []
    names["include_gradient_penalty"] = names["steps"].append


DOCUMENT = Document(
    "adr_007_gradient_penalty.md",
    {
        1: Corrected(ELIXIR, instead=PENALTIES, given=give_tensors),
        2: Corrected(ELIXIR, instead=EVERY_N_STEPS, given=give_counter),
    },
)


@pytest.mark.parametrize("number", DOCUMENT.numbers(Corrected))
def test_block_runs(number: int, session: dict[int, Outcome]) -> None:
    DOCUMENT.check_run(number, session[number])


def test_penalties_of_the_interface(session: dict[int, Outcome]) -> None:
    names = session[1]
    assert math.isclose(names["gp"], (5 - 1) ** 2, rel_tol=1e-6)  # |(3, -4)| = 5
    assert math.isclose(names["interp_gp"], (5 - 1) ** 2, rel_tol=1e-6)  # this gradient is the same everywhere
    assert math.isclose(names["proxy"], (math.sqrt((1 + 49) / 2) - 1) ** 2, rel_tol=1e-6)
    for penalty in (names["gp"], names["interp_gp"], names["proxy"]):
        assert penalty.shape == ()


def test_adapter_uses_the_sum_and_a_target_of_1_and_returns_no_metrics(session: dict[int, Outcome]) -> None:
    names = session[1]
    expected = (math.sqrt(2) - 1) ** 2  # the gradient of a sum of two numbers is (1, 1)
    assert math.isclose(names["penalty"], expected, rel_tol=1e-6)
    assert math.isclose(names["interpolated_penalty"], expected, rel_tol=1e-6)
    assert names["metrics"] == names["interpolated_metrics"] == {}
    options = inspect.signature(GradientPenalty.compute).parameters
    table = {"target_norm": 1.0, "mode": "output", "reference_field": "reference_logprobs", "loss_fn": torch.sum}
    assert {name: options[name].default for name in table} == table


def test_it_is_for_a_penalty_in_every_tenth_step(session: dict[int, Outcome]) -> None:
    assert session[2]["steps"] == [0, 10, 20]


def test_both_names_of_the_mode_without_a_reference() -> None:
    x = torch.tensor([0.5, 2.0, -1.0])
    values = [GradientPenalty.compute([], x, mode=mode)[0] for mode in ("output", "output_wrt_logprobs")]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("loss_fn", "x", "target", "expected"),
    [
        (torch.sum, [0.0, 0.0, 0.0], math.sqrt(3), 0.0),
        (lambda x: x.square().sum(), [1.0, 2.0], math.sqrt(20), 0.0),
        (lambda x: x.square().sum(), [1.0, 2.0], 1.0, (math.sqrt(20) - 1) ** 2),
        (lambda x: x.sin().sum(), [[0.0], [math.pi]], 1.0, (math.sqrt(2) - 1) ** 2),
    ],
)
def test_penalty_is_the_squared_distance_of_the_norm_from_its_target(
    loss_fn: Callable[[Tensor], Tensor], x: Any, target: float, expected: float
) -> None:
    penalty = gradient_penalty(loss_fn, torch.tensor(x), target_norm=target).item()
    assert math.isclose(penalty, expected, rel_tol=1e-5, abs_tol=1e-9)


def test_penalty_trains_a_function_towards_being_1_lipschitz() -> None:
    slope = torch.tensor([3.0, -4.0], requires_grad=True)
    optimizer = torch.optim.SGD([slope], lr=0.1)
    for _ in range(200):
        penalty = gradient_penalty(lambda x: (slope * x).sum(), torch.zeros(2))
        (slope.grad,) = torch.autograd.grad(penalty, slope)
        optimizer.step()
    assert math.isclose(slope.detach().norm(), 1.0, rel_tol=1e-4)
    torch.testing.assert_close(slope.detach() / slope.detach().norm(), torch.tensor([0.6, -0.8]))


def test_proxy_needs_no_second_derivative() -> None:
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(output_magnitude_penalty(x, target=1.0), x)
    rms = math.sqrt(25 / 2)
    torch.testing.assert_close(gradient, 2 * (rms - 1) * x.detach() / (2 * rms))
