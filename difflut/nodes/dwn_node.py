"""Differentiable weightless nodes: trainable tables, read at hard addresses."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode, residual_logits
from difflut.registry import register_node
from difflut.rules.hard_lookup import hard_lookup
from difflut.rules.pins import Pins


@register_node("dwn")
class DWNNode(LutNode):
    """A table read at hard addresses; inputs learn from an extended finite difference.

    Bank of DWN nodes (Bacellar et al., Differentiable Weightless Neural Networks, ICML 2024).
    Parameter ``luts`` (num_nodes, output_dim, 2**input_dim), start values uniform in [0, 1). Training reads the
    real-valued entry at the thresholded inputs; inputs get the extended finite difference as gradient. Entries are
    kept in [0, 1] while training. Table: entry >= 0.5.
    """

    takes_wired_pins: ClassVar[bool] = True
    luts: nn.Parameter

    def create_parameters(self, generator: torch.Generator) -> None:
        shape = (self.num_nodes, self.output_dim, 2**self.input_dim)
        self.luts = nn.Parameter(torch.rand(shape, generator=generator))

    def compute_fans(self, name: str) -> tuple[int, int]:
        return 2**self.input_dim, self.output_dim

    def residual_values(self, name: str, clarity: float) -> Tensor:
        return torch.sigmoid(residual_logits(self.input_dim, clarity))

    def train_pins(self, pins: Pins) -> Tensor:
        # .data: two forwards may share one backward, and clamping twice must not look like a change in between.
        self.luts.data.clamp_(0, 1)
        return hard_lookup(self.luts, pins)

    def expected_pins(self, pins: Tensor) -> Tensor:
        return hard_lookup(self.luts.clamp(0, 1), pins)

    def truth_table(self) -> Tensor:
        return self.luts.detach().to(torch.float64) >= 0.5
