"""Regularisers: a number for a bank of nodes that training can keep small.

A regulariser is a function ``fn(node, ...)`` of a bank that returns a 0-d tensor, at least 0, the average over the
bank's nodes. Those that look at outputs one by one sum over a node's outputs. It is registered under one or more
names, in any case::

    @register_regularizer("mine")
    def my_regularizer(node: LutNode) -> Tensor: ...

One that depends on what the nodes are asked takes it as ``inputs``, (batch, num_nodes, input_dim), or
(batch, input_dim) for a bank of one; `LutNode.regularization` passes what the pins read in the last training step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from difflut.registry import register_regularizer
from difflut.rules.walsh import walsh_transform
from difflut.utils.gradient_penalty import input_gradient, penalize_norms

if TYPE_CHECKING:
    from difflut.nodes.base_node import LutNode

SAMPLING_MODES = ("auto", "input_based", "random")
DEFAULT_NUM_SAMPLES = 100
_SAMPLE_SEED = 42


@register_regularizer("l")
@register_regularizer("functional")
def l_regularizer(
    node: LutNode,
    p: float = 2,
    num_samples: int = DEFAULT_NUM_SAMPLES,
    inputs: Tensor | None = None,
    mode: str = "auto",
) -> Tensor:
    """Change of the answer when one input is inverted, to the power p.

    R = 1/k * sum_i sum_o |g_o(z) - g_o(z with 1 - z_i for z_i)| ** p for a node g of k inputs, averaged over samples z
    and nodes. Pass inputs to train with it; without, it is an estimate to look at.

    Parameters
    ----------
    node : the bank; in train mode g is what the training rule answers without noise, in eval mode the truth table.
    p : exponent, at least 1.
    num_samples : random bit vectors that stand in for missing inputs; they are the same in every call, and the value
        has no gradient then.
    inputs : samples, (batch, num_nodes, input_dim), or (batch, input_dim) for a bank of one; the value is
        differentiable in all parameters.
    mode : ``auto`` uses the inputs if there are any, ``input_based`` insists on them, ``random`` ignores them.

    Raises
    ------
    ValueError : p is below 1, there are no samples, the inputs do not fit the bank, or there is no such mode.

    Examples
    --------
    ``loss = loss + 0.01 * l_regularizer(node, inputs=bits)`` in a training step; ``l_regularizer(node).item()`` for a
    report.
    """
    if not p >= 1:
        raise ValueError(f"l_regularizer: p is {p!r}; it must be at least 1, or there is no gradient at equal answers.")
    if mode not in SAMPLING_MODES:
        raise ValueError(f"l_regularizer: mode is {mode!r}; available: {', '.join(SAMPLING_MODES)}.")
    if mode == "input_based" and inputs is None:
        raise ValueError("l_regularizer: mode is 'input_based' but there are no inputs.")
    if mode == "random" or inputs is None:
        return _l_regularizer_random(node, p, num_samples)
    return _l_regularizer_input_based(node, inputs, p)


@register_regularizer("l1")
@register_regularizer("l1_functional")
def l1_regularizer(node: LutNode, num_samples: int = DEFAULT_NUM_SAMPLES, inputs: Tensor | None = None) -> Tensor:
    """Change of the answer when one input is inverted: l with p = 1.

    Parameters as in `l_regularizer`.
    """
    return l_regularizer(node, 1, num_samples, inputs)


@register_regularizer("l2")
@register_regularizer("l2_functional")
def l2_regularizer(node: LutNode, num_samples: int = DEFAULT_NUM_SAMPLES, inputs: Tensor | None = None) -> Tensor:
    """Squared change of the answer when one input is inverted: l with p = 2.

    Parameters as in `l_regularizer`.
    """
    return l_regularizer(node, 2, num_samples, inputs)


@register_regularizer("spectral")
@register_regularizer("fourier")
@register_regularizer("walsh")
def spectral_regularizer(node: LutNode) -> Tensor:
    """Walsh spectrum of the table, weighted by degree, so that parity costs most.

    The sum over sets S of inputs of |S| * c_S**2, where c_S is the average of (-1)**(number of ones in S) * probability
    over all addresses, with the probabilities that training works on. Constants cost nothing. It is k/4 times
    `l_regularizer` with p = 2 over all bit vectors.
    """
    coefficients = walsh_transform(node.soft_table()) / 2**node.input_dim
    degrees = node.corners()[0].sum(0)
    spectrum: Tensor = degrees * coefficients.square()
    return spectrum.sum((1, 2)).mean()


@register_regularizer("entropy")
def entropy_regularizer(node: LutNode) -> Tensor:
    """Average entropy of the table entries: 0 bits if all are decided, 1 bit if all are 1/2."""
    tiny = 1e-7  # the entropy's gradient is infinite at 0 and 1, where trained entries end
    p = node.soft_table().clamp(tiny, 1 - tiny)
    return -(p * torch.log2(p) + (1 - p) * torch.log2(1 - p)).mean(2).sum(1).mean()


@register_regularizer("clarity")
def clarity_regularizer(node: LutNode) -> Tensor:
    """Average of 4 p (1 - p) of the table entries p: 0 if all are decided, 1 if all are 1/2."""
    p = node.soft_table()
    return (4 * p * (1 - p)).mean(2).sum(1).mean()


@register_regularizer("gradient_penalty")
def gradient_penalty_regularizer(
    node: LutNode,
    target_norm: float = 1.0,
    num_samples: int = DEFAULT_NUM_SAMPLES,
    inputs: Tensor | None = None,
    per_sample: bool = False,
) -> Tensor:
    """Squared distance of the norm of a node's gradient from a target.

    `gradient_penalty` of each node, with the sum of its answers as loss, averaged over the bank's nodes.

    Parameters
    ----------
    node : the bank; its training rule is asked in any mode, for a truth table has no gradient.
    target_norm : of the gradient of one node with respect to its inputs in all samples.
    num_samples, inputs : as in `l_regularizer`.
    per_sample : take the norm in each sample instead, and average over them.

    Raises
    ------
    ValueError : the inputs do not fit the bank.
    """
    samples = draw_inputs(node, num_samples) if inputs is None else shape_inputs(node, inputs)
    gradient = input_gradient(lambda x: node.forward_expected(x).sum(), samples)
    penalty = penalize_norms(gradient, (2,) if per_sample else (0, 2), target_norm)
    return penalty.detach() if inputs is None else penalty


@register_regularizer("output_magnitude")
def output_magnitude_regularizer(
    node: LutNode, target: float = 1.0, num_samples: int = DEFAULT_NUM_SAMPLES, inputs: Tensor | None = None
) -> Tensor:
    """Squared distance of the root mean square of a node's answers from a target.

    `output_magnitude_penalty` of each node's answers, averaged over the bank's nodes.

    Parameters
    ----------
    target : of the root mean square of a node's answers.
    num_samples, inputs : as in `l_regularizer`.
    """
    if inputs is None:
        with torch.no_grad():
            return output_magnitude_regularizer(node, target, inputs=draw_inputs(node, num_samples))
    answers = ask(node, shape_inputs(node, inputs))  # (batch, nodes, outputs)
    answers_per_node = answers.shape[0] * answers.shape[2]
    return penalize_norms(answers / answers_per_node**0.5, (0, 2), target)


def _l_regularizer_input_based(node: LutNode, inputs: Tensor, p: float) -> Tensor:
    """`l_regularizer` at the given inputs, differentiable; one call of the node with batch * (k + 1) samples."""
    samples = shape_inputs(node, inputs)
    k = node.input_dim
    rows = torch.cat([samples.unsqueeze(2), _generate_hamming_neighbors(samples)], dim=2)  # (batch, nodes, k + 1, k)
    answers = ask(node, rows.transpose(1, 2).flatten(0, 1))
    answers = answers.reshape(-1, k + 1, *answers.shape[1:])  # (batch, k + 1, nodes, outputs)
    changes: Tensor = (answers[:, 1:] - answers[:, :1]).abs() ** p
    return changes.sum(3).mean()  # over samples, nodes, and the k inputs: the factor 1/k


def _l_regularizer_random(node: LutNode, p: float, num_samples: int) -> Tensor:
    """`l_regularizer` at random bit vectors, a value without gradient."""
    with torch.no_grad():
        return _l_regularizer_input_based(node, draw_inputs(node, num_samples), p)


def _generate_hamming_neighbors(z: Tensor) -> Tensor:
    """Return (..., k, k) for z (..., k): row i is z with 1 - z_i in place of z_i."""
    flipped = torch.eye(z.shape[-1], dtype=torch.bool, device=z.device)
    rows = z.unsqueeze(-2)
    return torch.where(flipped, 1 - rows, rows)


def ask(node: LutNode, inputs: Tensor) -> Tensor:
    """Return what the bank answers in its mode, without noise; nothing in the bank changes."""
    return node.forward_expected(inputs) if node.training else node.forward_eval(inputs)


def shape_inputs(node: LutNode, inputs: Tensor) -> Tensor:
    """Return inputs as (batch, num_nodes, input_dim).

    Raises
    ------
    ValueError : they have another shape, or there are none.
    """
    shaped = inputs.unsqueeze(1) if inputs.dim() == 2 and node.num_nodes == 1 else inputs
    if shaped.dim() != 3 or shaped.shape[1:] != (node.num_nodes, node.input_dim) or len(shaped) == 0:
        raise ValueError(
            f"A regulariser of {type(node).__name__} got inputs of shape {tuple(inputs.shape)}; "
            f"expected (batch, {node.num_nodes}, {node.input_dim})."
        )
    return shaped


def draw_inputs(node: LutNode, num_samples: int = DEFAULT_NUM_SAMPLES) -> Tensor:
    """Return random bits (num_samples, num_nodes, input_dim), the same in every call: the value can be compared.

    Raises
    ------
    ValueError : `num_samples` is not a positive integer.
    """
    if type(num_samples) is not int or num_samples < 1:
        raise ValueError(f"num_samples is {num_samples!r}; it must be a positive integer.")
    generator = torch.Generator().manual_seed(_SAMPLE_SEED)
    bits = torch.randint(0, 2, (num_samples, node.num_nodes, node.input_dim), generator=generator)
    return bits.to(node.corners())
