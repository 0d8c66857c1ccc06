"""Pins as they are wired to features, so that a rule can read them where they are."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from difflut.rules.routing import route_hard


class Routing(NamedTuple):
    """How the choice of each pin's input is trained; see `route_hard`."""

    candidates: Tensor
    """int64 (num_nodes, n, choices)"""
    logits: Tensor
    """(num_nodes, n, choices)"""
    tau: float


class WiredPins(NamedTuple):
    """Pin j of node i reads row ``wiring[i, j]`` of the features; with a routing, that choice learns."""

    features: Tensor
    """(inputs, batch)"""
    wiring: Tensor
    """int64 (num_nodes, n)"""
    routing: Routing | None = None

    def gather(self) -> Tensor:
        """Return the pins (num_nodes, n, batch)."""
        shape = (*self.wiring.shape, self.features.shape[1])
        chosen = self.wiring.flatten()
        if self.routing is None:
            return self.features.index_select(0, chosen).view(shape)
        candidates, logits, tau = self.routing
        return route_hard(self.features, chosen, candidates.flatten(0, 1), logits.flatten(0, 1), tau).view(shape)


Pins = Tensor | WiredPins
"""What a training rule reads: (num_nodes, n, batch), or where to find that."""


def gather_pins(pins: Pins) -> Tensor:
    """Return the pins (num_nodes, n, batch)."""
    return pins if isinstance(pins, Tensor) else pins.gather()


def select_pins(pins: Pins, order: Tensor) -> Pins:
    """Return pins of the nodes as pins of more nodes: pin j of node i * k + o is pin ``order[i, o, j]`` of node i.

    `order` is int64 (num_nodes, k, n of the new nodes).
    """
    nodes = order.shape[0] * order.shape[1]
    index = order.flatten(1)
    if isinstance(pins, Tensor):
        batch = pins.shape[2]
        return pins.gather(1, index.unsqueeze(2).expand(-1, -1, batch)).view(nodes, order.shape[2], batch)
    wiring = pins.wiring.gather(1, index).view(nodes, -1)
    return WiredPins(pins.features, wiring, _select_routing(pins.routing, index, nodes))


def _select_routing(routing: Routing | None, index: Tensor, nodes: int) -> Routing | None:
    if routing is None:
        return None
    candidates, logits, tau = routing
    choices = index.unsqueeze(2).expand(-1, -1, candidates.shape[2])
    shape = (nodes, -1, candidates.shape[2])
    return Routing(candidates.gather(1, choices).view(shape), logits.gather(1, choices).view(shape), tau)
