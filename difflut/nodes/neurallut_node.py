"""Small neural networks that become tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from difflut.nodes.base_node import MAX_TABLE_ENTRIES, LutNode
from difflut.registry import register_node
from difflut.rules.annealing import anneal_tau
from difflut.rules.pointwise import affine
from difflut.rules.straight_through import straight_through
from difflut.utils.randomness import draw_counted

MAX_DEPTH = 64
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "leakyrelu": nn.functional.leaky_relu,
}


@register_node("neurallut")
class NeuralLUTNode(LutNode):
    """A small neural network, trained with noise.

    Bank of multilayer perceptrons z(x) (Andronic and Constantinides, NeuralLUT, FPL 2024).

    Training answers sigmoid((z + log u - log(1 - u)) / tau) with fresh u, uniform in (0, 1): the binary concrete
    distribution of Maddison et al. (ICLR 2017). The noise is a function
    of the buffer ``noise_counter``, which counts training answers from a drawn start, so a model that is loaded from a
    checkpoint goes on with the noise that it would have had. Parameters, stacked over nodes: ``layer_weights[i]``
    (num_nodes, fan_in, fan_out) and ``layer_biases[i]``, and the same of the skip connections, ``skip_weights`` and
    ``skip_biases``; start values uniform in +-1 / sqrt(fan_in). Table: z >= 0, without noise.

    Parameters
    ----------
    hidden_width : units of a hidden layer.
    depth : number of linear layers, up to 64; 1 is a linear node.
    skip_interval : a linear map of the node's inputs is added before the activation of layers skip_interval,
        2 * skip_interval, ..., counted from 0. With the default depth there is none.
    activation : ``relu``, ``sigmoid`` or ``leakyrelu``.
    tau_start, tau_min, tau_decay_iters : buffer ``tau`` starts at tau_start, and `update_tau` lowers it; the last two
        are 1e-4 and 1000 if not given. If one of them is given, `train` calls it before every step.
    ste : if true, training answers bits, [y >= 0.5], with the gradient of y.
    grad_factor : factor of all gradients, positive. All others as in `LutNode`.
    """

    noise_counter: Tensor
    tau: Tensor

    def __init__(
        self,
        input_dim: int = 6,
        output_dim: int = 1,
        num_nodes: int = 1,
        init_fn: str | Callable[..., Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
        *,
        hidden_width: int = 8,
        depth: int = 2,
        skip_interval: int = 2,
        activation: str = "relu",
        tau_start: float = 1.0,
        tau_min: float | None = None,
        tau_decay_iters: int | None = None,
        ste: bool = False,
        grad_factor: float = 1.0,
        regularizers: Any = None,
        use_cuda: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        cools = tau_min is not None or tau_decay_iters is not None
        tau_min = 1e-4 if tau_min is None else tau_min
        tau_decay_iters = 1000 if tau_decay_iters is None else tau_decay_iters
        counts = {"hidden_width": hidden_width, "depth": depth, "skip_interval": skip_interval}
        for name, value in {**counts, "tau_decay_iters": tau_decay_iters}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"NeuralLUTNode: {name} is {value!r}; it must be a positive integer.")
        if depth > MAX_DEPTH:
            raise ValueError(f"NeuralLUTNode: depth is {depth}; it must be at most {MAX_DEPTH}.")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"NeuralLUTNode: activation is {activation!r}; available: {', '.join(_ACTIVATIONS)}.")
        if type(ste) is not bool:
            raise TypeError("NeuralLUTNode: ste must be true or false.")
        self.check_positive(tau_start=tau_start, tau_min=tau_min, grad_factor=grad_factor)
        self.hidden_width, self.depth, self.skip_interval, self.activation = *counts.values(), activation
        self.tau_start, self.tau_min, self.tau_decay_iters = tau_start, tau_min, tau_decay_iters
        self.ste, self.grad_factor, self.cools_in_training = ste, grad_factor, cools
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
        widths = [self.input_dim, *[self.hidden_width] * (self.depth - 1), self.output_dim]
        weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))
        if self.num_nodes * max(weights, self.hidden_width * 2**self.input_dim) > MAX_TABLE_ENTRIES:
            raise ValueError(f"NeuralLUTNode: hidden_width {self.hidden_width} and depth {self.depth} are too large.")
        self.layer_weights, self.layer_biases = nn.ParameterList(), nn.ParameterList()
        self.skip_weights, self.skip_biases = nn.ParameterDict(), nn.ParameterDict()
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
            weight, bias = self._draw_linear(fan_in, fan_out, generator)
            self.layer_weights.append(weight)
            self.layer_biases.append(bias)
            if layer > 0 and layer % self.skip_interval == 0:
                skip = self._draw_linear(self.input_dim, fan_out, generator)
                self.skip_weights[str(layer)], self.skip_biases[str(layer)] = skip
        self.register_buffer("noise_counter", torch.randint(2**62, (), generator=generator))
        self.register_buffer("tau", torch.tensor(float(self.tau_start)))

    def update_tau(self, iteration: int) -> None:
        """Set tau to max(tau_start * 10 ** (-iteration / tau_decay_iters), tau_min)."""
        self.tau.fill_(anneal_tau(self.tau_start, self.tau_min, self.tau_decay_iters, iteration))

    def draw_noise(self, logits: Tensor) -> Tensor:
        """Return log u - log(1 - u) for fresh u, of the shape of `logits`, and count the draw."""
        u = draw_counted(self.noise_counter, logits, logits.dtype)
        return torch.logit(u, eps=1e-6)  # u is never 0 or 1 exactly

    def compute_fans(self, name: str) -> tuple[int, int]:
        kind, _, layer = name.partition(".")
        shape = self.get_parameter(f"{kind.replace('biases', 'weights')}.{layer}").shape
        return shape[1], shape[2]

    def residual_values(self, name: str, clarity: float) -> Tensor:
        # Input 0 goes through unit 0 of every layer. Only the last layer and sigmoids need it turned into a logit.
        kind, _, layer = name.partition(".")
        values = torch.zeros_like(self.get_parameter(name))
        if kind in {"skip_weights", "skip_biases"}:
            return values
        is_last = int(layer) == self.depth - 1
        is_logit = is_last or self.activation == "sigmoid"
        units = slice(None) if is_last else slice(1)
        if kind == "layer_weights":
            values[:, 0, units] = 2 * clarity if is_logit else 1.0
        elif is_logit:
            values[:, units] = -clarity
        return values

    def train_pins(self, pins: Tensor) -> Tensor:
        logits = self._apply_network(pins, affine)
        return self._squash(logits + self.draw_noise(logits))

    def expected_pins(self, pins: Tensor) -> Tensor:
        return self._squash(self._apply_network(pins, affine))

    def truth_table(self) -> Tensor:
        return self._apply_network(self.corners().to(torch.float64), _affine_in_order) >= 0

    def soft_table(self) -> Tensor:
        """Return sigmoid(z / tau) at the corners, without noise."""
        return torch.sigmoid(self._apply_network(self.corners(), affine) / self.tau)

    def check_buffers(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"tau is {self.tau.item()}, not above 0")

    def _squash(self, logits: Tensor) -> Tensor:
        answers = torch.sigmoid(logits / self.tau)
        values = answers >= 0.5 if self.ste else answers
        return straight_through(values.detach().to(answers.dtype), self.grad_factor * answers)

    def _apply_network(self, x: Tensor, linear: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Return z: (num_nodes, input_dim, samples) -> (num_nodes, output_dim, samples)."""
        hidden = x
        for layer in range(self.depth):
            z = linear(self.layer_weights[layer], self.layer_biases[layer], hidden)
            if str(layer) in self.skip_weights:
                z = z + linear(self.skip_weights[str(layer)], self.skip_biases[str(layer)], x)
            hidden = _ACTIVATIONS[self.activation](z)
        return z

    def _draw_linear(self, fan_in: int, fan_out: int, generator: torch.Generator) -> tuple[nn.Parameter, nn.Parameter]:
        bound = 1 / math.sqrt(fan_in)
        weight = torch.rand(self.num_nodes, fan_in, fan_out, generator=generator)
        bias = torch.rand(self.num_nodes, fan_out, generator=generator)
        return nn.Parameter(bound * (2 * weight - 1)), nn.Parameter(bound * (2 * bias - 1))


def _affine_in_order(weights: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """As `affine`, in float64, adding input by input: a matrix product would be free to sum in another order."""
    weights = weights.detach().to(torch.float64)
    z = bias.detach().to(torch.float64).unsqueeze(2)
    for k in range(weights.shape[1]):
        z = z + weights[:, k].unsqueeze(2) * x[:, k].unsqueeze(1)
    return z
