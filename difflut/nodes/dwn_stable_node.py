"""Tables of probabilities, read at hard addresses, with a slowly decaying finite difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode, residual_logits
from difflut.registry import register_node
from difflut.rules.hard_lookup import hard_lookup_harmonic
from difflut.rules.pins import Pins
from difflut.rules.straight_through import straight_through


@register_node("dwn_stable")
class DWNStableNode(LutNode):
    """As dwn, with entries that a sigmoid keeps between 0 and 1, and far ones counting less.

    Bank of DWN nodes whose entries are probabilities, sigmoid(raw_luts), and whose far entries weigh 1 / (H + 1).

    A variant of Bacellar et al., Differentiable Weightless Neural Networks (ICML 2024). Parameter ``raw_luts``
    (num_nodes, output_dim, 2**input_dim), start values 0.1 * normal. Training reads the probability at the thresholded
    inputs; all gradients are those of ``gradient_scale`` times `hard_lookup_harmonic`. Table: raw entry >= 0.

    Arguments that are not listed are those of `LutNode`.

    Parameters
    ----------
    gradient_scale : factor of all gradients, positive.
    learn_gradient_scale : if true, ``gradient_scale`` is a parameter (num_nodes,) that starts at the given value and
        learns as the factor that it is in the gradients' formula.
    """

    takes_wired_pins: ClassVar[bool] = True
    raw_luts: nn.Parameter

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        num_nodes: int = 1,
        init_fn: str | Callable[..., Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
        *,
        gradient_scale: float = 1.25,
        learn_gradient_scale: bool = False,
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
        self.check_positive(gradient_scale=gradient_scale)
        if type(learn_gradient_scale) is not bool:
            raise TypeError("DWNStableNode: learn_gradient_scale must be true or false.")
        self.gradient_scale: float | nn.Parameter = gradient_scale
        if learn_gradient_scale:
            self.gradient_scale = nn.Parameter(torch.full((num_nodes,), float(gradient_scale)))

    def create_parameters(self, generator: torch.Generator) -> None:
        shape = (self.num_nodes, self.output_dim, 2**self.input_dim)
        self.raw_luts = nn.Parameter(0.1 * torch.randn(shape, generator=generator))

    def compute_fans(self, name: str) -> tuple[int, int]:
        return 2**self.input_dim, self.output_dim

    def residual_values(self, name: str, clarity: float) -> Tensor:
        return residual_logits(self.input_dim, clarity)

    def train_pins(self, pins: Pins) -> Tensor:
        entries = hard_lookup_harmonic(torch.sigmoid(self.raw_luts), pins)
        scale = self.gradient_scale
        scaled = scale.view(-1, 1, 1) * entries if isinstance(scale, Tensor) else scale * entries
        return straight_through(entries.detach(), scaled)

    def truth_table(self) -> Tensor:
        return self.raw_luts.detach().to(torch.float64) >= 0
