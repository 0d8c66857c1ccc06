"""Hard answers, expected gradients."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode, residual_logits
from difflut.registry import register_node
from difflut.rules.hard_lookup import hard_lookup_expected
from difflut.rules.pins import Pins


@register_node("hybrid")
class HybridNode(LutNode):
    """A table that answers as dwn does and learns as probabilistic does.

    Bank of nodes that answer as DWN nodes and learn as probabilistic ones.

    Parameter ``raw_luts`` (num_nodes, output_dim, 2**input_dim), start values 0.1 * normal. Training reads the
    probability sigmoid(raw_luts) at the thresholded inputs; all gradients are those of the probabilities' multilinear
    extension at the real-valued inputs, so that at the corners inputs get the finite difference. Table: raw entry >= 0.
    """

    takes_wired_pins: ClassVar[bool] = True
    raw_luts: nn.Parameter

    def create_parameters(self, generator: torch.Generator) -> None:
        shape = (self.num_nodes, self.output_dim, 2**self.input_dim)
        self.raw_luts = nn.Parameter(0.1 * torch.randn(shape, generator=generator))

    def compute_fans(self, name: str) -> tuple[int, int]:
        return 2**self.input_dim, self.output_dim

    def residual_values(self, name: str, clarity: float) -> Tensor:
        return residual_logits(self.input_dim, clarity)

    def train_pins(self, pins: Pins) -> Tensor:
        return hard_lookup_expected(torch.sigmoid(self.raw_luts), pins)

    def truth_table(self) -> Tensor:
        return self.raw_luts.detach().to(torch.float64) >= 0
