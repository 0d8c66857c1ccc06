"""Probabilistic nodes: the expected output of a table under independent random inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode, residual_logits
from difflut.registry import register_node
from difflut.rules.multilinear import multilinear_of_logits
from difflut.rules.pins import Pins


@register_node("probabilistic")
class ProbabilisticNode(LutNode):
    """A table of probabilities; training answers with the expected entry.

    Bank of probabilistic nodes: the multilinear extension of sigmoid(raw_weights / temperature).

    The relaxation of Petersen et al., Deep Differentiable Logic Gate Networks (NeurIPS 2022), with a free table entry
    per input combination. Parameter ``raw_weights`` (num_nodes, 2**input_dim, output_dim), start values standard
    normal. Table: raw weight >= 0, whatever the temperature.

    Parameters
    ----------
    temperature : positive; smaller makes the probabilities more decided. All others as in `LutNode`.
    """

    runtime_keys: ClassVar[tuple[str, ...]] = ("temperature",)
    takes_wired_pins: ClassVar[bool] = True
    raw_weights: nn.Parameter

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
        self.raw_weights = nn.Parameter(torch.randn(shape, generator=generator))

    def residual_values(self, name: str, clarity: float) -> Tensor:
        return residual_logits(self.input_dim, clarity).unsqueeze(1)

    def train_pins(self, pins: Pins) -> Tensor:
        logits = self.raw_weights if self.temperature == 1 else self.raw_weights / self.temperature
        return multilinear_of_logits(logits.transpose(1, 2), pins)

    def truth_table(self) -> Tensor:
        return (self.raw_weights.detach().to(torch.float64) >= 0).transpose(1, 2).contiguous()
