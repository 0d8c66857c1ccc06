"""Training rules: how a bank of look-up tables answers real-valued inputs, and how its gradients flow.

All rules are batch-last: pins are (num_nodes, n, batch), outputs (num_nodes, outputs, batch), tables
(num_nodes, outputs, 2**n). Pin j of a node is address bit j, least significant first. Rules on tables also take
`WiredPins`, which say where the pins are, and run on the kernels of `difflut.kernels` where there is one.
"""

from difflut.rules.addressing import compute_addresses, read_table
from difflut.rules.annealing import anneal_tau
from difflut.rules.hard_lookup import hard_lookup, hard_lookup_expected, hard_lookup_harmonic, look_up
from difflut.rules.multilinear import multilinear, multilinear_of_logits
from difflut.rules.pins import Pins, Routing, WiredPins, gather_pins
from difflut.rules.pointwise import affine, pointwise_logit
from difflut.rules.routing import choose, route_hard
from difflut.rules.straight_through import straight_through
from difflut.rules.trigonometric import plane_waves
from difflut.rules.walsh import walsh_transform

__all__ = [
    "Pins",
    "Routing",
    "WiredPins",
    "affine",
    "anneal_tau",
    "choose",
    "compute_addresses",
    "gather_pins",
    "hard_lookup",
    "hard_lookup_expected",
    "hard_lookup_harmonic",
    "look_up",
    "multilinear",
    "multilinear_of_logits",
    "plane_waves",
    "pointwise_logit",
    "read_table",
    "route_hard",
    "straight_through",
    "walsh_transform",
]
