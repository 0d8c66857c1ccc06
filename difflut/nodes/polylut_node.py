"""Polynomial nodes: a logistic unit over all monomials of the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import MAX_TABLE_ENTRIES, LutNode
from difflut.registry import register_node
from difflut.rules.pointwise import pointwise_logit

MAX_FACTORS = 2**20  # of all monomials together: 16 inputs up to degree 6


@register_node("polylut")
class PolyLUTNode(LutNode):
    """A polynomial of the inputs against a threshold.

    Bank of nodes y = sigmoid(sum_i weights_i * monomial_i(x)) (Andronic and Constantinides, PolyLUT, FPT 2023).

    The monomials are all of total degree `degree` and less, the constant first, then by degree. Attributes
    ``monomial_combinations``, their exponents per input, and ``num_monomials``. Parameter ``weights``
    (num_nodes, num_monomials, output_dim), start values 0.1 * normal. Table: polynomial >= 0.

    Parameters
    ----------
    degree : highest total degree, 1 or more. All others as in `LutNode`.
    """

    weights: nn.Parameter

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        num_nodes: int = 1,
        init_fn: str | Callable[..., Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
        *,
        degree: int = 3,
        regularizers: Any = None,
        use_cuda: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        if type(degree) is not int or degree < 1:
            raise ValueError(f"PolyLUTNode: degree is {degree!r}; it must be a positive integer.")
        self.degree = degree
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

    def create_parameters(self, generator: torch.Generator) -> None:
        n = self.input_dim
        self.num_monomials = math.comb(n + self.degree, self.degree)
        size = self.num_nodes * self.output_dim * self.num_monomials
        if self.num_monomials * self.degree > MAX_FACTORS or size > MAX_TABLE_ENTRIES:
            raise ValueError(f"PolyLUTNode: degree {self.degree} of {n} inputs needs too many weights.")
        # Every monomial has `degree` factors: 0 stands for the constant 1, j + 1 for input j.
        factors = list(combinations_with_replacement(range(n + 1), self.degree))
        self.monomial_combinations = [tuple(row.count(j + 1) for j in range(n)) for row in factors]
        shape = (self.num_nodes, self.num_monomials, self.output_dim)
        self.weights = nn.Parameter(0.1 * torch.randn(shape, generator=generator))

    def residual_values(self, name: str, clarity: float) -> Tensor:
        values = torch.zeros(self.num_monomials, 1)
        values[0] = -clarity
        values[self.monomial_combinations.index((1, *[0] * (self.input_dim - 1)))] = 2 * clarity
        return values

    def train_pins(self, pins: Tensor) -> Tensor:
        return pointwise_logit(self.weights[:, 1:], self.weights[:, 0], _multiply_out(pins, self.degree))

    def truth_table(self) -> Tensor:
        # A power of a bit is the bit, so monomials of equal support S are one; its coefficient counts at every
        # address that contains S. Both sums add in one fixed order, the first because it is made on the CPU.
        weights = self.weights.detach().cpu().to(torch.float64)
        supports = [sum(1 << j for j, power in enumerate(powers) if power) for powers in self.monomial_combinations]
        logits = weights.new_zeros(self.num_nodes, 2**self.input_dim, self.output_dim)
        logits.index_add_(1, torch.tensor(supports), weights)
        logits = logits.transpose(1, 2).contiguous()
        for j in range(self.input_dim):
            pairs = logits.view(self.num_nodes, self.output_dim, -1, 2, 2**j)
            pairs[:, :, :, 1] += pairs[:, :, :, 0]
        return (logits >= 0).to(self.weights.device)


def _multiply_out(pins: Tensor, degree: int) -> Tensor:
    """Return (num_nodes, monomials, batch): all of degree 1, 2, ... `degree`, each degree in lexicographic order."""
    n = pins.shape[1]
    levels = [pins]
    for d in range(2, degree + 1):
        # Input j times the monomials of degree d - 1 in inputs j and above, which stand last.
        counts = [math.comb(n - j + d - 2, d - 1) for j in range(n)]
        level = [pins[:, j : j + 1] * levels[-1][:, -count:] for j, count in enumerate(counts)]
        levels.append(torch.cat(level, dim=1))
    return torch.cat(levels, dim=1)
