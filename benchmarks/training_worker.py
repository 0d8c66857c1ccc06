"""One contestant of `training_speed.py`, in a process and an environment of its own.

    python benchmarks/training_worker.py CONTESTANT CASE

Builds the case, then answers every line on standard input by one training step and its CPU milliseconds, and the end
of the input by the peak memory. Peers are imported only by the worker that measures them.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

FEATURES = 4096  # of a single layer, and its nodes
NETWORKS = {"mnist": (2352, [2000, 1000], 6), "gates": (784, [8000] * 6, 2)}
CLASSES = 10

MakeLayer = Callable[[int, int, int], nn.Module]
"""A layer by its numbers of inputs, nodes and pins per node."""


def make_ours(node_type: str) -> MakeLayer:
    from difflut.layers import RandomLayer

    return lambda inputs, nodes, n: RandomLayer(inputs, nodes, node_type, n=n)


def make_torchlogix(parametrization: str) -> MakeLayer:
    from torchlogix.layers import LogicDense

    return lambda inputs, nodes, n: LogicDense(inputs, nodes, lut_rank=n, parametrization=parametrization)


def make_llnn() -> MakeLayer:
    from llnn.lutlayer import LUTLayer

    return lambda inputs, nodes, n: LUTLayer(inputs, lut_size=n, n_luts=nodes)


CONTESTANTS: dict[str, Callable[[], MakeLayer]] = {
    "multilinear": lambda: make_ours("probabilistic"),
    "hard": lambda: make_ours("dwn"),
    "torchlogix-raw": lambda: make_torchlogix("raw"),
    "torchlogix-warp": lambda: make_torchlogix("warp"),
    "torchlogix-light": lambda: make_torchlogix("light"),
    "llnn": make_llnn,
}


class Votes(nn.Module):
    """Sums of consecutive features, as every contestant's network ends."""

    def forward(self, x: Tensor) -> Tensor:
        return x.t().reshape(CLASSES, -1, x.shape[0]).sum(1).t() / 30


def make_step(make_layer: MakeLayer, case: str) -> Callable[[], None]:
    """Return a training step: forward, backward and Adam. A single layer also gets the gradient of its input."""
    kind, *numbers = case.split("-")
    batch = int(numbers[-1])
    if kind == "layer":
        return _make_layer_step(make_layer(FEATURES, FEATURES, int(numbers[0])), batch)
    inputs, widths, n = NETWORKS[kind]
    sizes = [inputs, *widths]
    layers = [make_layer(a, b, n) for a, b in zip(sizes, widths, strict=False)]
    return _make_network_step(nn.Sequential(*layers, Votes()), inputs, batch)


def _make_layer_step(layer: nn.Module, batch: int) -> Callable[[], None]:
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    # As they lie between layers: one feature after the other for ours, one sample after the other for the peers.
    feature_major = type(layer).__module__.startswith("difflut")
    x, grad = (_draw(FEATURES, batch, feature_major) for _ in range(2))
    x.requires_grad_()

    def step() -> None:
        optimizer.zero_grad()
        x.grad = None
        torch.autograd.backward(layer(x), grad)
        optimizer.step()

    return step


def _make_network_step(network: nn.Module, inputs: int, batch: int) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    x, y = _draw(inputs, batch, feature_major=False).round(), torch.randint(0, CLASSES, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(network(x), y))
        optimizer.step()

    return step


def _draw(features: int, batch: int, feature_major: bool) -> Tensor:
    return torch.rand(features, batch).t() if feature_major else torch.rand(batch, features)


def find_version(package: str) -> str:
    """Return a package's version, or that it runs from its sources."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "sources"


def main(arguments: Sequence[str]) -> None:
    """Measure until the input ends."""
    contestant, case = arguments
    torch.manual_seed(0)
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make_step(CONTESTANTS[contestant](), case)
    step()
    package = contestant.split("-", maxsplit=1)[0] if contestant not in ("multilinear", "hard") else "difflut"
    _say({"version": find_version(package), "torch": torch.__version__})
    for _ in sys.stdin:
        started = time.process_time()
        step()
        _say(1e3 * (time.process_time() - started))
    _say((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def _say(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
