"""The nodes of a bank, one by one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

from torch import Tensor, nn

from difflut.nodes.base_node import LutNode

Bank = TypeVar("Bank", bound=LutNode)
Module = TypeVar("Module", bound=nn.Module)


class NodeViews(Sequence[Bank], Generic[Bank]):
    """The nodes of a bank as banks of one, which read and train the bank's own parameters.

    A view is what `view_node` makes when it is asked for, in the bank's mode of that moment: take views anew in every
    training step. Calling the sequence iterates over it, too: ``for node in layer.nodes():``.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def __len__(self) -> int:
        return self._bank.num_nodes

    @overload
    def __getitem__(self, index: int) -> Bank: ...
    @overload
    def __getitem__(self, index: slice) -> list[Bank]: ...
    def __getitem__(self, index: int | slice) -> Bank | list[Bank]:
        places = range(len(self))[index]  # an index beyond the end is an IndexError here
        if isinstance(places, range):
            return [view_node(self._bank, place) for place in places]
        return view_node(self._bank, places)

    def __call__(self) -> Iterator[Bank]:
        return iter(self)


def view_node(bank: Bank, index: int) -> Bank:
    """Return node `index` of a bank as a bank of one.

    Its parameters and buffers are slices of the bank's: gradients flow into the bank, and what a view changes in
    place, the bank has. The view's mode is its own.
    """
    view = _slice_tensors(bank, index)
    view.num_nodes = 1
    view.seen_pins = None if bank.seen_pins is None else _slice(bank.seen_pins, index)
    return view


def _slice_tensors(module: Module, index: int) -> Module:
    """Return a copy of a module in which every tensor but those of rank 0, which nodes share, is cut to one node."""
    twin = copy.copy(module)
    vars(twin).update(
        _parameters={name: _slice(tensor, index) for name, tensor in module.named_parameters(recurse=False)},
        _buffers={name: _slice(tensor, index) for name, tensor in module.named_buffers(recurse=False)},
        _modules={name: _slice_tensors(child, index) for name, child in module.named_children()},
    )
    return twin


def _slice(tensor: Tensor, index: int) -> Tensor:
    return tensor if tensor.dim() == 0 else tensor[index : index + 1]
