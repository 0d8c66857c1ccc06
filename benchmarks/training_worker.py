"""One contestant of `training_speed.py`, in a process and an environment of its own.

    python benchmarks/training_worker.py CONTESTANT CASE [--compile] [--realtime]

Builds the case, then answers every line on standard input by taking training steps for a while, and the CPU
milliseconds of one; and the end of the input by the peak memory. A turn has many steps, because others have used the
caches since the last one. With ``--compile`` the network goes through torch.compile; with ``--realtime`` turns are
taken at real-time priority. Peers are imported only by the worker that measures them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

FEATURES = 4096  # of a single layer, and its nodes
NETWORKS = {"mnist": (2352, [2000, 1000], 6), "gates": (784, [8000] * 6, 2)}
CLASSES = 10
SEED = 0
TURN_SECONDS = 0.1

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


OURS = ("multilinear", "hard")
CONTESTANTS: dict[str, Callable[[], MakeLayer]] = {
    "multilinear": lambda: make_ours("probabilistic"),
    "hard": lambda: make_ours("dwn"),
    "torchlogix-raw": lambda: make_torchlogix("raw"),
    "torchlogix-warp": lambda: make_torchlogix("warp"),
    "torchlogix-light": lambda: make_torchlogix("light"),
    "llnn": make_llnn,
}


def make_votes(contestant: str) -> nn.Module:
    """The end of a network, sums of consecutive features: each library's own; llnn has none, and takes another's."""
    if contestant in OURS:
        from difflut.utils.modules import GroupSum

        return GroupSum(CLASSES, tau=30)
    from torchlogix.layers import GroupSum as TheirGroupSum

    votes: nn.Module = TheirGroupSum(CLASSES, tau=30)
    return votes


def make_step(contestant: str, case: str, *, compiled: bool = False) -> Callable[[], None]:
    """Return a training step: forward, backward and Adam. A single layer also gets the gradient of its input."""
    make_layer = CONTESTANTS[contestant]()
    kind, *numbers = case.split("-")
    batch = int(numbers[-1])
    if kind == "layer":
        return _make_layer_step(make_layer(FEATURES, FEATURES, int(numbers[0])), batch, compiled)
    inputs, widths, n = NETWORKS[kind]
    sizes = [inputs, *widths]
    layers = [make_layer(a, b, n) for a, b in zip(sizes, widths, strict=False)]
    return _make_network_step(nn.Sequential(*layers, make_votes(contestant)), inputs, batch, compiled)


def _make_layer_step(layer: nn.Module, batch: int, compiled: bool) -> Callable[[], None]:
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    # As they lie between layers: one feature after the other for ours, one sample after the other for the peers.
    feature_major = type(layer).__module__.startswith("difflut")
    x, grad = (_draw(FEATURES, batch, feature_major) for _ in range(2))
    x.requires_grad_()
    answer = torch.compile(layer) if compiled else layer

    def step() -> None:
        optimizer.zero_grad()
        x.grad = None
        torch.autograd.backward(answer(x), grad)
        optimizer.step()

    return step


def _make_network_step(network: nn.Module, inputs: int, batch: int, compiled: bool) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    x, y = _draw(inputs, batch, feature_major=False).round(), torch.randint(0, CLASSES, (batch,))
    answer = torch.compile(network) if compiled else network

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(answer(x), y))
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


def take_turn(step: Callable[[], None]) -> float:
    """Take steps for a while; return the CPU milliseconds of one."""
    steps, started = 0, time.process_time()
    while steps == 0 or time.process_time() - started < TURN_SECONDS:
        step()
        steps += 1
    return 1e3 * (time.process_time() - started) / steps


def main() -> None:
    """Measure until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("case")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--realtime", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make_step(arguments.contestant, arguments.case, compiled=arguments.compile)
    step()
    step()  # the optimizer's first step has made its state
    package = arguments.contestant.split("-", maxsplit=1)[0]
    package = "difflut" if arguments.contestant in OURS else package
    _say({"version": find_version(package), "torch": torch.__version__, "python": sys.version.split()[0]})
    if arguments.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    for _ in sys.stdin:
        _say(take_turn(step))
    _say((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def _say(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
