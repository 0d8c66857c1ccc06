"""Differentiable logic gates."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode
from difflut.registry import register_node
from difflut.rules.multilinear import multilinear
from difflut.rules.pins import Pins, select_pins


@register_node("difflogic")
class DiffLogicNode(LutNode):
    """A gate of two of the node's inputs, learnt as a mixture of all sixteen.

    Bank of mixtures of the 16 gates of two inputs (Petersen et al., Deep Differentiable Logic Gate Networks, 2022).

    Every output reads two distinct inputs of its node, drawn at random: buffer ``indices``
    (num_nodes, output_dim, 2). Gate i answers bit ``2 * a + b`` of i for the inputs a, b: 8 is AND, 14 OR, 12 is a,
    10 is b. Parameter ``weights`` (num_nodes, output_dim, 16), start values standard normal. Training answers the
    expectation over gates drawn with probabilities softmax(weights) and inputs that are 1 with probability x.
    Table: expectation at the corner >= 0.5, which is a gate again; the paper takes the likeliest gate instead, which
    can disagree with the expectation.
    """

    min_input_dim: ClassVar[int] = 2
    takes_wired_pins: ClassVar[bool] = True
    indices: Tensor
    weights: nn.Parameter

    def create_parameters(self, generator: torch.Generator) -> None:
        order = torch.rand(self.num_nodes, self.output_dim, self.input_dim, generator=generator)
        self.register_buffer("indices", order.topk(2).indices)
        self.weights = nn.Parameter(torch.randn(self.num_nodes, self.output_dim, 16, generator=generator))

    def compute_fans(self, name: str) -> tuple[int, int]:
        return 16, self.output_dim

    def residual_values(self, name: str, clarity: float) -> Tensor:
        first, second = self.indices.unbind(2)
        self.indices[:, :, 1] = torch.where(second == 0, first, second)
        self.indices[:, :, 0] = 0
        values = torch.zeros(16)
        values[12] = clarity
        return values

    def train_pins(self, pins: Pins) -> Tensor:
        entries = _mix_gates(self.weights).view(-1, 1, 4)
        # In a four-entry table, b is address bit 0 and a is bit 1.
        answers = multilinear(entries, select_pins(pins, self.indices.flip(2)))
        return answers.view(self.num_nodes, self.output_dim, -1)

    def truth_table(self) -> Tensor:
        gates = _mix_gates(self.weights.detach().to(torch.float64)) >= 0.5
        corners = torch.arange(2**self.input_dim, device=gates.device)
        a, b = (corners >> self.indices[:, :, pin].unsqueeze(2) & 1 for pin in (0, 1))
        return gates.gather(2, 2 * a + b)

    def check_buffers(self) -> None:
        if not ((self.indices >= 0) & (self.indices < self.input_dim)).all():
            raise ValueError(f"indices points outside the {self.input_dim} inputs of a node")


def _mix_gates(weights: Tensor) -> Tensor:
    """Return (..., 4): the expected entries of a gate drawn with probabilities softmax(weights) (..., 16)."""
    gates = torch.arange(16, device=weights.device).unsqueeze(1) >> torch.arange(4, device=weights.device) & 1
    return (torch.softmax(weights, dim=-1).unsqueeze(-1) * gates).sum(-2)
