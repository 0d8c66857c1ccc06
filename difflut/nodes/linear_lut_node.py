"""Linear nodes: a logistic unit per output, whose table is a linear threshold function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode
from difflut.registry import register_node
from difflut.rules.pointwise import pointwise_logit


@register_node("linear_lut")
class LinearLUTNode(LutNode):
    """A weighted sum of the inputs against a threshold.

    Bank of nodes y = sigmoid(x W + b).

    Parameters ``weights`` (num_nodes, input_dim, output_dim), start values 0.1 * normal, and ``bias``
    (num_nodes, output_dim), start values 0. Table: x W + b >= 0.
    """

    weights: nn.Parameter
    bias: nn.Parameter

    def create_parameters(self, generator: torch.Generator) -> None:
        shape = (self.num_nodes, self.input_dim, self.output_dim)
        self.weights = nn.Parameter(0.1 * torch.randn(shape, generator=generator))
        self.bias = nn.Parameter(torch.zeros(self.num_nodes, self.output_dim))

    def residual_values(self, name: str, clarity: float) -> Tensor:
        if name == "bias":
            return torch.tensor(-clarity)
        values = torch.zeros(self.input_dim, 1)
        values[0] = 2 * clarity
        return values

    def train_pins(self, pins: Tensor) -> Tensor:
        return pointwise_logit(self.weights, self.bias, pins)

    def truth_table(self) -> Tensor:
        # Doubling the table input by input adds in one fixed order, so the bits are the same on every machine;
        # a matrix product would be free to sum in another.
        weights = self.weights.detach().to(torch.float64)
        logits = self.bias.detach().to(torch.float64).unsqueeze(2)
        for j in range(self.input_dim):
            logits = torch.cat([logits, logits + weights[:, j].unsqueeze(2)], dim=2)
        return logits >= 0
