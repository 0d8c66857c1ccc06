"""Nodes given by their Walsh coefficients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode
from difflut.registry import register_node
from difflut.rules.multilinear import multilinear
from difflut.rules.pins import Pins
from difflut.rules.walsh import walsh_transform


@register_node("warp")
class WARPNode(LutNode):
    """A Walsh series of the inputs against a threshold.

    Bank of nodes y = sigmoid(z / temperature) with z = sum_S c_S * prod_{j in S} (2 x_j - 1).

    S runs over all sets of inputs, as bit masks whose bit j is input j. Parameter ``coefficients``
    (num_nodes, 2**input_dim, output_dim), start values 0.1 * normal. Table: z >= 0, whatever the temperature.

    Parameters
    ----------
    temperature : positive; smaller makes the answers more decided. All others as in `LutNode`.
    """

    runtime_keys: ClassVar[tuple[str, ...]] = ("temperature",)
    takes_wired_pins: ClassVar[bool] = True
    coefficients: nn.Parameter

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        num_nodes: int = 1,
        init_fn: str | Callable[..., Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
        *,
        temperature: float = 1.0,
        regularizers: Any = None,
        use_cuda: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            num_nodes,
            init_fn,
            init_kwargs,
            regularizers=regularizers,
            use_cuda=use_cuda,
            generator=generator,
        )
        self.check_positive(temperature=temperature)
        self.temperature = temperature

    def create_parameters(self, generator: torch.Generator) -> None:
        shape = (self.num_nodes, 2**self.input_dim, self.output_dim)
        self.coefficients = nn.Parameter(0.1 * torch.randn(shape, generator=generator))

    def residual_values(self, name: str, clarity: float) -> Tensor:
        values = torch.zeros(2**self.input_dim, 1)
        values[1] = clarity
        return values

    def train_pins(self, pins: Pins) -> Tensor:
        # z is linear in every input, so it is the multilinear extension of its own values at the corners.
        return torch.sigmoid(multilinear(_values_at_corners(self.coefficients), pins) / self.temperature)

    def truth_table(self) -> Tensor:
        return _values_at_corners(self.coefficients.detach().to(torch.float64)) >= 0


def _values_at_corners(coefficients: Tensor) -> Tensor:
    """Return z at every address, (num_nodes, output_dim, 2**input_dim)."""
    # A factor is -1 where the input is 0, the Walsh transform's sign where it is 1: complement every address.
    return walsh_transform(coefficients.transpose(1, 2)).flip(2)
