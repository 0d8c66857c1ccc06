"""Time of a training step of learnable wiring, against a dense softmax mapping, in turns.

    python benchmarks/routing_speed.py [--batch 128] [--rounds 7] [-o FILE]

2352 bits to the 12,000 pins of 2000 nodes of 6 inputs. Ours is a whole learnable layer, look-up tables included. The
dense mapping is the pins alone, as torch-dwn's LearnableMapping trains them, written anew because that package does not
install without CUDA: every pin has a weight per input and reads the input of the largest; the gradient is that of a
softmax over all of them. Both with Adam, one thread, CPU time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from torch import Tensor, nn

from difflut.layers import LearnableLayer

INPUTS, NODES, PINS_PER_NODE, SEED = 2352, 2000, 6, 0
TURN_SECONDS = 0.2


class _Choose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights)
        return x[:, weights.argmax(0)]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weights = ctx.saved_tensors
        shares = torch.softmax(weights, dim=0)
        gains = x.t() @ grad
        return grad @ shares.t(), shares * (gains - (shares * gains).sum(0))


class DenseMapping(nn.Module):
    """(batch, inputs) to (batch, pins): the input with the largest weight."""

    def __init__(self, inputs: int, pins: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.rand(inputs, pins))

    def forward(self, x: Tensor) -> Tensor:
        chosen: Tensor = _Choose.apply(x, self.weights)  # type: ignore[no-untyped-call]
        return chosen


def make_step(module: nn.Module, batch: int) -> Callable[[], None]:
    """Return a training step that also asks for the gradient of the input."""
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    x = torch.rand(batch, INPUTS).round().requires_grad_()
    grad = torch.randn_like(module(x))

    def step() -> None:
        optimizer.zero_grad()
        x.grad = None
        torch.autograd.backward(module(x), grad)
        optimizer.step()

    return step


def take_turn(step: Callable[[], None]) -> float:
    """Take steps for a while; return the CPU milliseconds of one."""
    steps, started = 0, time.process_time()
    while time.process_time() - started < TURN_SECONDS:
        step()
        steps += 1
    return 1e3 * (time.process_time() - started) / steps


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    modules = {
        "learnable layer": LearnableLayer(INPUTS, NODES, "dwn", n=PINS_PER_NODE),
        "dense mapping": DenseMapping(INPUTS, NODES * PINS_PER_NODE),
    }
    steps = {name: make_step(module, arguments.batch) for name, module in modules.items()}
    for step in steps.values():
        step()
    rounds = [{name: take_turn(step) for name, step in steps.items()} for _ in range(arguments.rounds)]
    medians = {name: statistics.median(one[name] for one in rounds) for name in steps}
    report = {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "seed": SEED,
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "median_ms": medians,
        "min_ms": {name: min(one[name] for one in rounds) for name in steps},
        "ratio": medians["dense mapping"] / medians["learnable layer"],
    }
    text = json.dumps(report, indent=2) + "\n"
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
