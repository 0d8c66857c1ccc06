"""Nodes given by a sum of plane waves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import LutNode
from difflut.registry import register_node
from difflut.rules.trigonometric import plane_waves
from difflut.rules.walsh import walsh_transform

MAX_DRAWN_FREQUENCIES = 32


@register_node("fourier")
class FourierNode(LutNode):
    """A sum of cosines of the inputs against a threshold.

    Bank of nodes y = clamp(bias + sum_k A_k * cos(2 pi f_k . x + phases_k), 0, 1).

    A = max_amplitude * amplitudes / sum |amplitudes|: however they are trained, the waves add up to `max_amplitude` at
    most. Buffer ``frequencies`` (num_nodes, F, input_dim) of 0 and 1/2, distinct within a node. Parameters
    ``amplitudes`` and ``phases`` (num_nodes, F, output_dim), start values 0.1 * uniform in [0, 1) and uniform in
    [-pi, pi), and ``bias`` (num_nodes, output_dim), start values 1/2. Table: the sum before clamping >= 0.5.

    Parameters
    ----------
    use_all_frequencies : if true, F is 2**input_dim. If false, it is at most 32: every input's own frequency, so that
        no input is lost, and others drawn at random for each node.
    max_amplitude : positive. All others as in `LutNode`.
    """

    frequencies: Tensor
    amplitudes: nn.Parameter
    phases: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        num_nodes: int = 1,
        init_fn: str | Callable[..., Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
        *,
        use_all_frequencies: bool = False,
        max_amplitude: float = 1.0,
        regularizers: Any = None,
        use_cuda: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        if type(use_all_frequencies) is not bool:
            raise TypeError("FourierNode: use_all_frequencies must be true or false.")
        self.check_positive(max_amplitude=max_amplitude)
        self.use_all_frequencies = use_all_frequencies
        self.max_amplitude = max_amplitude
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
        masks = self._draw_masks(generator)
        bits = masks.unsqueeze(2) >> torch.arange(self.input_dim) & 1
        self.register_buffer("frequencies", bits / 2)  # of the type of the parameters
        shape = (self.num_nodes, masks.shape[1], self.output_dim)
        self.amplitudes = nn.Parameter(0.1 * torch.rand(shape, generator=generator))
        self.phases = nn.Parameter(math.pi * (2 * torch.rand(shape, generator=generator) - 1))
        self.bias = nn.Parameter(torch.full((self.num_nodes, self.output_dim), 0.5))

    def compute_fans(self, name: str) -> tuple[int, int]:
        return self.frequencies.shape[1], self.output_dim

    def residual_values(self, name: str, clarity: float) -> Tensor:
        # 1/2 + A * cos(pi x_0 + pi): the one frequency that has input 0 alone, shifted by half a period. How decided
        # that is depends on max_amplitude alone, because amplitudes are normalised.
        if name == "amplitudes":
            own = (self.frequencies[:, :, 0] > 0) & (self.frequencies[:, :, 1:] == 0).all(2)
            return own.to(torch.float32).unsqueeze(2)
        return torch.tensor(math.pi if name == "phases" else 0.5)

    def train_pins(self, pins: Tensor) -> Tensor:
        amplitudes = self._normalise(self.amplitudes)
        waves = plane_waves(self.frequencies, amplitudes, self.phases, pins)
        return (self.bias.unsqueeze(2) + waves).clamp(0, 1)

    def truth_table(self) -> Tensor:
        # At corners cos(pi |k & a| + phase) = (-1)**|k & a| * cos(phase): a Walsh series.
        amplitudes = self._normalise(self.amplitudes.detach().to(torch.float64))
        coefficients = amplitudes * torch.cos(self.phases.detach().to(torch.float64))
        places = 2 ** torch.arange(self.input_dim, device=self.frequencies.device)
        masks = ((2 * self.frequencies).to(torch.int64) * places).sum(2, keepdim=True)
        series = coefficients.new_zeros(self.num_nodes, 2**self.input_dim, self.output_dim)
        series = series.scatter(1, masks.expand_as(coefficients), coefficients)
        waves = walsh_transform(series.transpose(1, 2))
        return self.bias.detach().to(torch.float64).unsqueeze(2) + waves >= 0.5

    def get_dominant_frequencies(self, top_k: int = 5) -> tuple[Tensor, Tensor]:
        """Return the frequencies with the largest amplitudes A, of either sign, largest first, and these amplitudes.

        They are (num_nodes, output_dim, k, input_dim) and (num_nodes, output_dim, k), with k = min(top_k, F).

        Raises
        ------
        ValueError : `top_k` is not a positive integer.
        """
        if type(top_k) is not int or top_k < 1:
            raise ValueError(f"FourierNode: top_k is {top_k!r}; it must be a positive integer.")
        amplitudes = self._normalise(self.amplitudes.detach()).transpose(1, 2)
        best = amplitudes.abs().topk(min(top_k, amplitudes.shape[2])).indices
        index = best.flatten(1).unsqueeze(2).expand(-1, -1, self.input_dim)
        frequencies = self.frequencies.gather(1, index).view(*best.shape, self.input_dim)
        return frequencies, amplitudes.gather(2, best)

    def check_buffers(self) -> None:
        if not ((self.frequencies == 0) | (self.frequencies == 0.5)).all():
            raise ValueError("frequencies holds values other than 0 and 0.5")

    def _normalise(self, amplitudes: Tensor) -> Tensor:
        total = amplitudes.abs().sum(1, keepdim=True)
        return self.max_amplitude * amplitudes / (total + 1e-8)

    def _draw_masks(self, generator: torch.Generator) -> Tensor:
        """Return int64 (num_nodes, F), ascending: bit j of a mask is set if the frequency has input j."""
        corners = 2**self.input_dim
        if self.use_all_frequencies or corners <= MAX_DRAWN_FREQUENCIES:
            return torch.arange(corners).expand(self.num_nodes, corners)
        order = torch.rand(self.num_nodes, corners, generator=generator)
        order[:, 2 ** torch.arange(self.input_dim)] = 2.0  # above every draw: always taken
        return order.topk(MAX_DRAWN_FREQUENCIES).indices.sort().values
