"""Time of a training step of learnable wiring, against a dense softmax mapping, in turns.

    python benchmarks/routing_speed.py [--batch 128] [--rounds 7] [-o FILE]
    python benchmarks/routing_speed.py --accuracy MNIST.npz [--batch 128] [--epochs 3] [-o FILE]

2352 bits to the 12,000 pins of 2000 nodes of 6 inputs. Ours is a whole learnable layer, look-up tables included. The
dense mapping is the pins alone, as torch-dwn's LearnableMapping trains them, written anew because that package does not
install without CUDA: every pin has a weight per input and reads the input of the largest; the gradient is that of a
softmax over all of them. Both with Adam, one thread, CPU time.

The second form trains a network of 300 such nodes with either mapping, all else equal (three thresholds per pixel,
Adam, the same batches in the same order), and compares the accuracy on the test images after each epoch. The file holds
x_train, y_train, x_test and y_test.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine, hand_out
from torch import Tensor, nn

from difflut.encoders import DistributiveThermometerEncoder
from difflut.layers import LearnableLayer, RandomLayer
from difflut.utils.modules import GroupSum

INPUTS, NODES, PINS_PER_NODE, SEED = 2352, 2000, 6, 0
ACCURACY_NODES, CLASSES = 300, 10
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


def measure_speed(batch: int, rounds: int) -> dict[str, Any]:
    """Return the CPU time of a step of both mappings, in turns."""
    modules = {
        "learnable layer": LearnableLayer(INPUTS, NODES, "dwn", n=PINS_PER_NODE),
        "dense mapping": DenseMapping(INPUTS, NODES * PINS_PER_NODE),
    }
    steps = {name: make_step(module, batch) for name, module in modules.items()}
    for step in steps.values():
        step()
    turns = [{name: take_turn(step) for name, step in steps.items()} for _ in range(rounds)]
    medians = {name: statistics.median(one[name] for one in turns) for name in steps}
    return {
        "rounds": rounds,
        "median_ms": medians,
        "min_ms": {name: min(one[name] for one in turns) for name in steps},
        "ratio": medians["dense mapping"] / medians["learnable layer"],
    }


def make_network(learnable: bool) -> nn.Module:
    """A small network with one of the two mappings: `ACCURACY_NODES` nodes of 6 inputs, and votes for ten classes."""
    votes = GroupSum(CLASSES, tau=4)
    if learnable:
        return nn.Sequential(LearnableLayer(INPUTS, ACCURACY_NODES, "dwn", n=PINS_PER_NODE), votes)
    pins = ACCURACY_NODES * PINS_PER_NODE
    nodes = RandomLayer(pins, ACCURACY_NODES, "dwn", n=PINS_PER_NODE)
    nodes.mapping_indices.copy_(torch.arange(pins).view(ACCURACY_NODES, PINS_PER_NODE))
    return nn.Sequential(DenseMapping(INPUTS, pins), nodes, votes)


def measure_accuracy(data: Path, epochs: int, batch: int) -> dict[str, Any]:
    """Train both networks on the same images in the same order; return the test accuracy after every epoch."""
    with np.load(data) as arrays:
        images = [torch.from_numpy(arrays[name]).flatten(1).float() for name in ("x_train", "x_test")]
        labels = [torch.from_numpy(arrays[name]).long() for name in ("y_train", "y_test")]
    encoder = DistributiveThermometerEncoder(num_bits=INPUTS // images[0].shape[1]).fit(images[0])
    train, test = (encoder(part) for part in images)
    accuracies: dict[str, Any] = {}
    for name in ("learnable layer", "dense mapping"):
        torch.manual_seed(SEED)
        network = make_network(name == "learnable layer")
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
        order = torch.Generator().manual_seed(SEED)
        accuracies[name] = []
        for _ in range(epochs):
            network.train()
            for chosen in torch.split(torch.randperm(len(train), generator=order), batch):
                optimizer.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(network(train[chosen]), labels[0][chosen]))
                optimizer.step()
            network.eval()
            with torch.no_grad():
                accuracies[name].append((network(test).argmax(1) == labels[1]).double().mean().item())
            print(f"{name}: {accuracies[name][-1]:.2%}", flush=True)
    return {"nodes": ACCURACY_NODES, "epochs": epochs, "accuracy": accuracies}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--accuracy", type=Path, metavar="DATA", help="npz file of MNIST: compare accuracies, not speed"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    report = {"machine": describe_machine(), "torch": torch.__version__, "seed": SEED, "batch": arguments.batch}
    if arguments.accuracy:
        report |= measure_accuracy(arguments.accuracy, arguments.epochs, arguments.batch)
    else:
        report |= measure_speed(arguments.batch, arguments.rounds)
    hand_out(report, arguments.output)


if __name__ == "__main__":
    main()
