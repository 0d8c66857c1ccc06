"""What every layer shares: pins taken from the inputs, answered by a bank of nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from difflut.layers.augmentation import BitFlips, stabilise_gradient
from difflut.layers.layer_config import LayerConfig
from difflut.layers.lut_stage import LutStage, WiredBank
from difflut.layers.wiring import draw_covering_rows
from difflut.nodes.base_node import LutNode
from difflut.nodes.node_config import NodeConfig
from difflut.nodes.node_views import NodeViews
from difflut.registry import REGISTRY
from difflut.rules.pins import Pins, WiredPins, gather_pins
from difflut.utils.randomness import make_generator

DEFAULT_INPUT_SIZE = 512
DEFAULT_OUTPUT_SIZE = 256
DEFAULT_NODE_TYPE = "probabilistic"
DEFAULT_INPUT_DIM = 6
DEFAULT_SEED = 42


class BaseLUTLayer(LutStage):
    """`output_size` nodes of one family, each with `n` pins wired to the layer's inputs.

    As it stands, pins are wired at random once: every input is read equally often, give or take one, and the pins of
    a node differ as long as the inputs suffice. The wiring is the buffer ``mapping_indices`` (output_size, n).

    A subclass may wire otherwise: it overrides `create_wiring`, also `mapping` if the wiring is not that buffer, and
    `select_pins` if the choice of pins is trained. Every int64 buffer of the layer itself holds input indices. Or it
    overrides `forward` and asks its ``nodes`` itself, one by one, or their ``bank`` at once.

    Parameters
    ----------
    input_size : width of the input.
    output_size : number of nodes; the output is ``output_size * output_dim`` wide, node-major.
    node_type : registered name or class of the node family.
    n : pins per node; if not given, ``input_dim`` of `node_kwargs`, else 6.
    node_kwargs : further arguments of the node family, as a table or a `NodeConfig`.
    seed : fixes wiring and start values, independently of the global random state.
    layer_config : what training does to bits and gradients; nothing if not given. It is not copied: a change acts from
        the next step on.

    Raises
    ------
    ValueError : a size is out of its range, or `n` contradicts ``input_dim`` of `node_kwargs`.
    TypeError : an argument has the wrong type, or the node family does not know a keyword.
    """

    mapping_indices: Tensor

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: str | type[LutNode],
        n: int | None = None,
        node_kwargs: dict[str, Any] | NodeConfig | None = None,
        seed: int = DEFAULT_SEED,
        *,
        layer_config: LayerConfig | None = None,
    ) -> None:
        super().__init__()
        node_arguments = self._read_node_kwargs(node_kwargs)
        n = self._agree_on_n(n, node_arguments.pop("input_dim", None))
        for name, value in {"input_size": input_size, "output_size": output_size, "n": n}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{type(self).__name__}: {name} is {value!r}; it must be a positive integer.")
        node_class = self._find_family(node_type)
        self.input_size = input_size
        self.output_size = output_size
        self.n = n
        self.layer_config = layer_config
        generator = make_generator(seed)
        self.create_wiring(generator)
        self.bank = node_class(input_dim=n, num_nodes=output_size, generator=generator, **node_arguments)
        self.bit_flips = BitFlips(generator)

    def create_wiring(self, generator: torch.Generator) -> None:
        """Create the buffers and parameters that decide which input each pin reads."""
        wiring = draw_covering_rows(self.input_size, self.output_size, self.n, generator)
        self.register_buffer("mapping_indices", wiring)

    def mapping(self) -> Tensor:
        """Return the hard wiring, int64 (output_size, n): entry [i, j] is the input that pin j of node i reads."""
        return self.mapping_indices

    @property
    def layer_config(self) -> LayerConfig:
        """What training does to bits and gradients. It may be changed or replaced at any time, by None as well."""
        return self._layer_config

    @layer_config.setter
    def layer_config(self, config: LayerConfig | None) -> None:
        if not isinstance(config, LayerConfig | None):
            raise TypeError(f"{type(self).__name__}: layer_config is {config!r}; it must be a LayerConfig.")
        self._layer_config = LayerConfig() if config is None else config

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

    def select_pins(self, features: Tensor) -> Pins:
        """Wire the pins, output_size times n, to feature-major inputs (input_size, batch)."""
        return WiredPins(features, self.mapping())

    def forward(self, x: Tensor) -> Tensor:
        """Answer a batch: (batch, input_size) -> (batch, output_width), feature-major in memory."""
        if x.dim() != 2 or x.shape[1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} got input of shape {tuple(x.shape)}; expected (batch, {self.input_size})."
            )
        return self._answer(self.select_pins(x.t())).flatten(0, 1).t()

    def get_mapping(self, x: Tensor) -> Tensor:
        """Return what the pins read: (batch, input_size) -> (batch, output_size, n), without bit flips."""
        return gather_pins(self.select_pins(x.t())).permute(2, 0, 1)

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, output_size={self.output_size}, n={self.n}"

    def _answer(self, pins: Pins) -> Tensor:
        """Apply the nodes and, in training, the augmentation; returns (output_size, output_dim, batch)."""
        if self.training and self.layer_config.changes_bits:
            pins = self.bit_flips(gather_pins(pins), self.layer_config)
        outputs = self.bank.forward_pins(pins)
        if self.training and self.layer_config.grad_stabilization != "none":
            outputs = stabilise_gradient(outputs, self.layer_config)
        return outputs

    def _read_node_kwargs(self, node_kwargs: dict[str, Any] | NodeConfig | None) -> dict[str, Any]:
        if isinstance(node_kwargs, NodeConfig):
            return node_kwargs.to_dict()
        if not isinstance(node_kwargs, dict | None):
            raise TypeError(f"{type(self).__name__}: node_kwargs is {node_kwargs!r}; it must be a table or NodeConfig.")
        return dict(node_kwargs or {})

    def _agree_on_n(self, n: int | None, input_dim: int | None) -> int:
        if n is None:
            return DEFAULT_INPUT_DIM if input_dim is None else input_dim
        if input_dim is not None and input_dim != n:
            raise ValueError(f"{type(self).__name__}: n is {n} but input_dim of node_kwargs is {input_dim}.")
        return n

    def _find_family(self, node_type: str | type[LutNode]) -> type[LutNode]:
        family = REGISTRY.get_node(node_type) if isinstance(node_type, str) else node_type
        if not (isinstance(family, type) and issubclass(family, LutNode)):
            raise TypeError(f"{type(self).__name__}: node_type is {node_type!r}; it must be a name or class of nodes.")
        return family
