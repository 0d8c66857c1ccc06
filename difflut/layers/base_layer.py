"""What every layer shares: pins taken from the inputs, answered by a bank of nodes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from difflut.layers.augmentation import BitFlips, stabilise_gradient
from difflut.layers.layer_config import LayerConfig
from difflut.layers.lut_stage import LutStage, WiredBank
from difflut.nodes.base_node import LutNode
from difflut.nodes.node_views import NodeViews
from difflut.nodes.utils.regularizer_settings import WeightedRegularizer, read_regularizers
from difflut.registry import REGISTRY


class BaseLUTLayer(LutStage):
    """`output_size` nodes of one family, each with `n` pins wired to the layer's inputs.

    A subclass says how pins are chosen: `create_wiring` and `mapping`, and `select_pins` if the choice is trained.
    Every int64 buffer of the layer itself holds input indices.

    Parameters
    ----------
    input_size : width of the input.
    output_size : number of nodes; the output is ``output_size * output_dim`` wide, node-major.
    node_type : registered name or class of the node family.
    n : pins per node; if not given, ``node_kwargs["input_dim"]``, else 6.
    node_kwargs : further arguments of the node family.
    seed : fixes wiring and start values, independently of the global random state.
    layer_config : what training does to bits and gradients; nothing if not given. It is not copied: a change acts from
        the next step on.
    regularizers : what `regularization` adds up, as `read_regularizers` takes it; none if not given.

    Raises
    ------
    ValueError : a size is out of its range, or `n` contradicts ``node_kwargs["input_dim"]``.
    TypeError : the node family does not know a keyword.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: str | type[LutNode],
        n: int | None = None,
        node_kwargs: dict[str, Any] | None = None,
        seed: int = 42,
        *,
        layer_config: LayerConfig | None = None,
        regularizers: Any = None,
    ) -> None:
        super().__init__()
        node_kwargs = dict(node_kwargs or {})
        n = self._agree_on_n(n, node_kwargs.pop("input_dim", None))
        for name, value in {"input_size": input_size, "output_size": output_size, "n": n}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{type(self).__name__}: {name} is {value!r}; it must be a positive integer.")
        node_class = REGISTRY.get_node(node_type) if isinstance(node_type, str) else node_type
        self.input_size = input_size
        self.output_size = output_size
        self.n = n
        generator = torch.Generator().manual_seed(seed)
        self.create_wiring(generator)
        self.bank = node_class(input_dim=n, num_nodes=output_size, generator=generator, **node_kwargs)
        self.layer_config = LayerConfig() if layer_config is None else layer_config
        self.bit_flips = BitFlips(generator)
        self.set_regularizers(regularizers)

    @abstractmethod
    def create_wiring(self, generator: torch.Generator) -> None:
        """Create the buffers and parameters that decide which input each pin reads."""

    @abstractmethod
    def mapping(self) -> Tensor:
        """Return the hard wiring, int64 (output_size, n): entry [i, j] is the input that pin j of node i reads."""

    @property
    def nodes(self) -> NodeViews[LutNode]:
        """The nodes of the bank, one by one: ``layer.nodes[i]`` takes (batch, n) and trains the bank's parameters."""
        return NodeViews(self.bank)

    @property
    def output_width(self) -> int:
        """Number of output features."""
        return self.output_size * self.bank.output_dim

    def wired_banks(self) -> list[WiredBank]:
        pins = self.mapping()
        return [WiredBank(self.bank, torch.arange(self.output_size, device=pins.device), pins)]

    def check_buffers(self) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            if buffer.dtype == torch.int64 and not ((buffer >= 0) & (buffer < self.input_size)).all():
                raise ValueError(f"{name} points outside the {self.input_size} inputs")

    def select_pins(self, features: Tensor) -> Tensor:
        """Take the pins (output_size, n, batch) from feature-major inputs (input_size, batch)."""
        pins = features.index_select(0, self.mapping().flatten())
        return pins.view(self.output_size, self.n, features.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """Answer a batch: (batch, input_size) -> (batch, output_width), feature-major in memory."""
        if x.dim() != 2 or x.shape[1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} got input of shape {tuple(x.shape)}; expected (batch, {self.input_size})."
            )
        return self._answer(self.select_pins(x.t())).flatten(0, 1).t()

    def set_regularizers(self, settings: Any) -> None:
        """Replace the layer's regularisers; `settings` as `read_regularizers` takes them, its errors included."""
        self._regularizers: dict[str, WeightedRegularizer] = read_regularizers(settings)
        self._last_pins: Tensor | None = None

    def regularization(self) -> Tensor:
        """Return the weighted sum of the layer's regularisers, a 0-d tensor; 0 if it has none.

        In training, those that depend on inputs see what the pins read in the last forward pass, so the sum is
        differentiable in the parameters of the nodes; else they fall back on random inputs, without a gradient.
        """
        inputs = None
        if self.training and self._last_pins is not None:
            inputs = self._last_pins.permute(2, 0, 1)
        terms = [regularizer(self.bank, inputs) for regularizer in self._regularizers.values()]
        return sum(terms, start=torch.zeros((), device=self.mapping().device))

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, output_size={self.output_size}, n={self.n}"

    def _answer(self, pins: Tensor) -> Tensor:
        """Apply the nodes and, in training, the augmentation: (output_size, n, batch) -> (output_size, ., batch)."""
        if self.training and self.layer_config.flip_probability > 0:
            pins = self.bit_flips(pins, self.layer_config.flip_probability)
        if self.training and self._regularizers:
            self._last_pins = pins.detach()
        outputs = self.bank.forward_pins(pins)
        if self.training and self.layer_config.grad_stabilization != "none":
            outputs = stabilise_gradient(outputs, self.layer_config)
        return outputs

    def _agree_on_n(self, n: int | None, input_dim: int | None) -> int:
        if n is None:
            return 6 if input_dim is None else input_dim
        if input_dim is not None and input_dim != n:
            raise ValueError(f"{type(self).__name__}: n is {n} but node_kwargs['input_dim'] is {input_dim}.")
        return n
