"""Bit flips, erased bits and gradient stabilisation, as `LayerConfig` describes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from difflut.layers.layer_config import LayerConfig
from difflut.utils.randomness import draw_counted

# Pins and outputs are (num_nodes, pins or outputs, batch).
_AXES = {"layerwise": (0, 1, 2), "nodewise": (1, 2), "batchwise": (0, 1)}


class BitFlips(nn.Module):
    """Inverts and erases bits at random, by a noise that goes on where it was when a checkpoint is loaded.

    Buffer ``noise_counter`` counts the draws from a drawn start; a mask is a function of it, as in `NeuralLUTNode`.
    """

    noise_counter: Tensor

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("noise_counter", torch.randint(2**62, (), generator=generator))

    def forward(self, bits: Tensor, config: LayerConfig) -> Tensor:
        """Return `bits` (any shape) as training sees them under `config`."""
        if config.dropout > 0:
            bits = self._erase(bits, config.dropout)
        if config.flip_probability > 0:
            bits = self._flip(bits, config.flip_probability)
        return bits

    def _flip(self, bits: Tensor, probability: float) -> Tensor:
        """Return x or, with the given probability, 1 - x for every x; the gradient is that of x in both cases."""
        flipped = draw_counted(self.noise_counter, bits) < probability
        return bits + (flipped * (1 - 2 * bits)).detach()

    def _erase(self, bits: Tensor, probability: float) -> Tensor:
        """Return x or, with the given probability, a fair coin without gradient for every x."""
        draws = draw_counted(self.noise_counter, bits)
        coins = (draws < probability / 2).to(bits.dtype)
        return torch.where(draws < probability, coins, bits)


def stabilise_gradient(outputs: Tensor, config: LayerConfig) -> Tensor:
    """Return `outputs` (num_nodes, outputs, batch), whose gradient is rescaled as the config says."""
    result: Tensor = _Stabilise.apply(outputs, config.copy())  # type: ignore[no-untyped-call]
    return result


class _Stabilise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, config: LayerConfig) -> Tensor:
        ctx.config = config
        return outputs.view_as(outputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return rescale(grad, ctx.config), None


def rescale(grad: Tensor, config: LayerConfig) -> Tensor:
    """Return a gradient (num_nodes, outputs, batch) with every part at the config's standard deviation."""
    axes = _AXES[config.grad_stabilization]
    centred = grad - grad.mean(axes, keepdim=True) if config.grad_subtract_mean else grad
    deviation = centred.square().mean(axes, keepdim=True).sqrt()
    scale = config.grad_target_std / deviation.clamp_min(config.grad_epsilon)
    return torch.where(deviation > config.grad_epsilon, scale * centred, grad)
