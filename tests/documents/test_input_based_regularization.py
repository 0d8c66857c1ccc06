"""The document on regularising at a batch's own inputs: its blocks run, and compute what it says."""

from __future__ import annotations

import doctest
import inspect
import itertools
import math
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from difflut.encoders import BinaryEncoder
from difflut.layers import RandomLayer
from difflut.nodes import LinearLUTNode
from difflut.nodes.utils import regularizers
from tests.documents.session import Document, Names, NotCode, Outcome, Outline, Run

ROWS, LEARNING_RATE = 16, 0.5


def draw_batches() -> list[tuple[Tensor, Tensor]]:
    """Batches of one number, and of the class that a node could learn from it."""
    generator = torch.Generator().manual_seed(1)
    numbers = [torch.rand(ROWS, 1, generator=generator) for _ in range(3)]
    return [(x, (x > 0.4).float()) for x in numbers]


def make_node() -> LinearLUTNode:
    """A node of eight inputs that answers differently at different corners."""
    node = LinearLUTNode(input_dim=8, output_dim=1)
    with torch.no_grad():
        node.weights.copy_(torch.linspace(-2, 1, 8).view(1, 8, 1))
    return node


def give_parts(names: Names) -> None:
    """An encoder that makes eight bits of a number, numbers, a node, and the regularisers."""
    x = draw_batches()[0][0]
    names.update(
        x=x,
        encoder=BinaryEncoder(num_bits=8).fit(x),
        node=make_node(),
        l_regularizer=regularizers.l_regularizer,
        l2_regularizer=regularizers.l2_regularizer,
    )


def give_loop(names: Names) -> None:
    """A criterion, and a data loader that makes the optimiser once there is a node to optimise."""

    def dataloader() -> Iterator[tuple[Tensor, Tensor]]:
        names["optimizer"] = torch.optim.SGD(names["node"].parameters(), lr=LEARNING_RATE)
        yield from draw_batches()

    names.update(dataloader=dataloader(), criterion=nn.BCELoss())


def give_layer(names: Names) -> None:
    names["layer"] = RandomLayer(input_size=8, output_size=5, node_type="linear_lut", n=8)
    with torch.no_grad():
        names["layer"].bank.weights.mul_(10)


DOCUMENT = Document(
    "input_based_regularization.md",
    {
        1: Run(given=give_parts),
        2: Outline(of="difflut.nodes.utils.regularizers"),
        3: Run(given=lambda names: names.update(torch=torch, z=torch.ones(4, 8))),
        4: Run(given=lambda names: names.update(inputs=names["encoded"])),
        5: NotCode("the last line of a test run"),
        6: Run(given=give_loop, warns=("takes its thresholds from the first batch, of 16 samples",)),
        7: Run(given=give_layer),
        8: Run(),
        9: Run(),
        10: Run(given=lambda names: names.update(current_batch_inputs=names["encoded"])),
        11: NotCode("a diagram of calls"),
        12: NotCode("where things stand in a file"),
        13: Run(
            given=lambda names: names.update(inputs=None, warnings=warnings),
            warns=("Random sampling mode is deprecated",),
        ),
        14: Outline(
            of="difflut.nodes.utils.regularizers",
            replace=((r"\.\.\.,", "node, p=2, num_samples=100, inputs=None,"), (r"\Z", "    ...\n")),
        ),
        15: Run(),
    },
)


@pytest.mark.parametrize("number", DOCUMENT.numbers(Run))
def test_block_runs(number: int, session: dict[int, Outcome]) -> None:
    DOCUMENT.check_run(number, session[number])


@pytest.mark.parametrize("number", DOCUMENT.numbers(Outline))
def test_outline_is_that_of_the_library(number: int) -> None:
    DOCUMENT.check_outline(number)


# -- values ------------------------------------------------------------------------------------------------------------


def answer(weights: Tensor, bias: Tensor, bits: Tensor) -> Tensor:
    """What a linear node answers in training, (batch,)."""
    return torch.sigmoid(bits @ weights + bias)


def sensitivity(weights: Tensor, bias: Tensor, bits: Tensor, p: float) -> Tensor:
    """Change of the answer when one input is inverted, to the power p, averaged over inputs and samples."""
    changes = []
    for j in range(bits.shape[1]):
        inverted = bits.clone()
        inverted[:, j] = 1 - inverted[:, j]
        changes.append((answer(weights, bias, bits) - answer(weights, bias, inverted)).abs() ** p)
    return torch.stack(changes).mean()


def sensitivity_of(node: nn.Module, bits: Tensor, p: float = 2) -> Tensor:
    assert isinstance(node.weights, Tensor)
    assert isinstance(node.bias, Tensor)
    return sensitivity(node.weights.flatten(), node.bias.flatten(), bits, p)


def test_given_inputs_are_differentiable_and_random_ones_are_not(session: dict[int, Outcome]) -> None:
    at_inputs, at_random = session[1].assigned["reg"]
    torch.testing.assert_close(at_inputs, sensitivity_of(session[1]["node"], session[1]["encoded"]))
    assert at_inputs.requires_grad
    assert not at_random.requires_grad
    corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)))
    exact = sensitivity_of(session[1]["node"], corners)
    assert math.isclose(at_random.item(), exact.item(), rel_tol=0.2)  # an estimate from 100 samples


def test_before_there_were_no_gradients_and_now_they_reach_every_parameter(session: dict[int, Outcome]) -> None:
    assert not session[3]["g_z"].requires_grad
    parameters = list(session[4]["node"].parameters())
    gradients = torch.autograd.grad(session[4]["g_z"].sum(), parameters)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_training_loop_takes_the_steps_of_one_written_by_hand(session: dict[int, Outcome]) -> None:
    start = LinearLUTNode(input_dim=8, output_dim=1)  # nodes start alike
    weights, bias = (parameter.detach().flatten().requires_grad_() for parameter in (start.weights, start.bias))
    first = draw_batches()[0][0]
    low, high = first.min(), first.max()
    for x, y in draw_batches():
        levels = ((x - low) / (high - low) * 256).floor().clamp(0, 255).long()  # as a binary encoder cuts the range
        bits = (levels >> torch.arange(7, -1, -1) & 1).float()
        loss = nn.functional.binary_cross_entropy(answer(weights, bias, bits), y.flatten())
        loss = loss + 0.01 * sensitivity(weights, bias, bits, 2)
        for parameter, gradient in zip((weights, bias), torch.autograd.grad(loss, (weights, bias)), strict=True):
            parameter.data -= LEARNING_RATE * gradient
    torch.testing.assert_close(session[6]["encoded"], bits)
    torch.testing.assert_close(session[6]["node"].weights.detach().flatten(), weights.detach())
    torch.testing.assert_close(session[6]["node"].bias.detach().flatten(), bias.detach())


def test_nodes_of_a_layer_are_added_one_by_one(session: dict[int, Outcome]) -> None:
    nodes, bits = session[7]["layer"].nodes, session[7]["encoded"]
    added = session[7]["loss"] - session[6]["loss"].detach()
    expected = sum(0.01 * sensitivity_of(node, bits).item() for node in nodes)
    assert math.isclose(added.item(), expected, rel_tol=0.01)
    (gradient,) = torch.autograd.grad(added, session[7]["layer"].bank.weights)
    assert gradient.abs().sum((1, 2)).min() > 0


def test_old_calls_still_give_values(session: dict[int, Outcome]) -> None:
    node, bits = session[8]["node"], session[8]["encoded"]
    at_random, at_inputs = session[8].assigned["reg_value"]
    torch.testing.assert_close(at_inputs, sensitivity_of(node, bits))
    assert at_random == session[9]["reg"] == session[10].assigned["reg"][0]
    torch.testing.assert_close(session[10].assigned["reg"][1], at_inputs)


def test_mode_forces_what_the_arguments_would_choose(session: dict[int, Outcome]) -> None:
    node, bits = session[10]["node"], session[10]["encoded"]
    l_regularizer = regularizers.l_regularizer
    assert l_regularizer(node, inputs=bits, mode="input_based") == l_regularizer(node, inputs=bits)
    assert l_regularizer(node, inputs=bits, mode="random") == l_regularizer(node)
    with pytest.raises(ValueError, match="input_based"):
        l_regularizer(node, mode="input_based")
    with pytest.raises(ValueError, match="auto, input_based, random"):
        l_regularizer(node, mode="sometimes")


def test_diagram_names_the_functions_that_are_called(session: dict[int, Outcome]) -> None:
    node, bits = session[10]["node"], session[10]["encoded"]
    for name in ("_l_regularizer_input_based", "_l_regularizer_random", "_generate_hamming_neighbors"):
        assert name in DOCUMENT.blocks[11].text
        assert inspect.isfunction(getattr(regularizers, name))
    at_inputs = regularizers._l_regularizer_input_based(node, bits, p=2)
    assert at_inputs == regularizers.l_regularizer(node, p=2, inputs=bits)
    assert regularizers._l_regularizer_random(node, p=2, num_samples=100) == regularizers.l_regularizer(node)
    neighbours = regularizers._generate_hamming_neighbors(bits)
    assert neighbours.shape == (ROWS, 8, 8)
    for j in range(8):
        assert {column for _, column in neighbours[:, j].ne(bits).nonzero().tolist()} == {j}


def test_examples_of_the_docstring_run(session: dict[int, Outcome]) -> None:
    docstring = session[15]["__doc__"] if "__doc__" in session[15].names else DOCUMENT.blocks[15].text
    names = dict(session[10].names, main_loss=torch.zeros(()))
    for example in doctest.DocTestParser().get_examples(docstring):
        exec(example.source, names)  # noqa: S102 - a text in this folder
    assert not names["reg"].requires_grad
    torch.testing.assert_close(names["loss"], 0.01 * sensitivity_of(names["node"], names["encoded"]))
