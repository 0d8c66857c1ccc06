"""What models, model files and the compiler ask of every layer, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from difflut.layers.layer_config import LayerConfig
from difflut.nodes.base_node import LutNode
from difflut.utils.losses import add_losses

_OF_EVERY_BANK = ("eval_mode", "sampling_generator")


class TableBank(Protocol):
    """A bank of look-up tables as the hardware sees it; every `LutNode` is one."""

    input_dim: int
    output_dim: int
    num_nodes: int

    def truth_table(self) -> Tensor:
        """Return the tables, bool (num_nodes, output_dim, 2**input_dim)."""

    def forward_pins(self, pins: Tensor) -> Tensor:
        """Answer in eval mode: (num_nodes, input_dim, batch) -> (num_nodes, output_dim, batch)."""


@dataclass(frozen=True)
class WiredBank:
    """A bank of tables and the look-up tables in hardware that it stands for.

    A table may be in use at several places, e.g. at every position of an image. Output ``o`` of look-up table ``i`` is
    bit ``i * bank.output_dim + o`` of the bank's outputs.

    Parameters
    ----------
    bank : the tables.
    nodes : int64 (luts,); entry i is the node of `bank` that look-up table i uses.
    pins : int64 (luts, bank.input_dim); what each pin reads: an output bit of the wired bank before, or for the first
        one of a stage an input bit of the stage; -1 is the constant 0.
    names : what each look-up table is called in hardware, beside its number: lower-case words and digits joined by
        underscores, for whoever reads the hardware. None if numbers say enough.
    """

    bank: TableBank
    nodes: Tensor
    pins: Tensor
    names: Sequence[str] | None = None


class LutStage(nn.Module, ABC):
    """A module that computes bits from bits, in eval mode by nothing but look-up tables.

    Its inputs and outputs are tensors with the batch first; their bits are counted as ``flatten(1)`` does. What
    `wired_banks` returns is all that the compiler knows of a stage, so a new kind of layer needs no more than this
    class and a line in the compiler's table of module types. A stage whose wiring depends on the shape of its input
    knows that shape from its constructor.
    """

    runtime_keys: ClassVar[tuple[str, ...]] = ()
    """Attributes that may be changed on a trained stage without changing its parameters."""

    layer_config: LayerConfig

    @property
    @abstractmethod
    def output_width(self) -> int:
        """Number of output bits."""

    @abstractmethod
    def wired_banks(self) -> list[WiredBank]:
        """Return the look-up tables of eval mode, in the order in which they read each other; the last one answers."""

    @abstractmethod
    def check_buffers(self) -> None:
        """Raise ValueError, naming the buffer, if one of the stage's own holds values that it could not have.

        Called on what was read from a file.
        """

    def banks(self) -> dict[str, LutNode]:
        """Return the banks of nodes by their names within the stage."""
        return {name: module for name, module in self.named_modules() if isinstance(module, LutNode)}

    def set_regularizers(self, settings: Any) -> None:
        """Replace the regularisers of every bank; `settings` as `read_regularizers` takes them, its errors included."""
        for bank in self.banks().values():
            bank.set_regularizers(settings)

    def regularization(self) -> Tensor:
        """Return the sum of `LutNode.regularization` of the banks, a 0-d tensor to add to the training loss."""
        return add_losses(bank.regularization() for bank in self.banks().values())

    def set_runtime(self, key: str, value: Any) -> bool:
        """Change a runtime setting wherever the stage or its banks have it; return whether any has."""
        if key == "regularizers":
            self.set_regularizers(value)
            return True
        if hasattr(self.layer_config, key):
            setattr(self.layer_config, key, value)
            return True
        owners = [one for one in self.modules() if isinstance(one, LutStage | LutNode)]
        owners = [one for one in owners if key in one.runtime_keys or (key in _OF_EVERY_BANK and hasattr(one, key))]
        for module in owners:
            setattr(module, key, value)
        return bool(owners)
