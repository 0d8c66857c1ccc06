"""Time of a training step of learnable wiring, against a dense softmax mapping, in turns.

    python benchmarks/routing_speed.py [--batch 128] [--rounds 7] [-o FILE]
    python benchmarks/routing_speed.py --accuracy MNIST.npz [--batch 128] [--epochs 3] [--seeds 3] [-o FILE]

2352 bits to the 12,000 pins of 2000 nodes of 6 inputs. Ours is a whole learnable layer, look-up tables included: as it
is by default, and with more candidates, a quarter of which are drawn anew every so many steps. The
dense mapping is the pins alone, as torch-dwn's LearnableMapping trains them, written anew because that package does not
install without CUDA: every pin has a weight per input and reads the input of the largest; the gradient is that of a
softmax over all of them. Both with Adam, one thread, CPU time.

The second form trains a network of 300 such nodes with each mapping, all else equal (three thresholds per pixel,
Adam, the same batches in the same order), once per seed, and compares the accuracy on the test images after each epoch.
Candidates are not drawn anew in the last tenth of the steps. The file holds x_train, y_train, x_test and y_test.
"""

from __future__ import annotations

import argparse
import itertools
import math
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

INPUTS, NODES, PINS_PER_NODE = 2352, 2000, 6
ACCURACY_NODES, CLASSES = 300, 10
DEFAULT, REDRAWN, DENSE = MAPPINGS = ("learnable layer", "learnable layer, candidates redrawn", "dense mapping")
CANDIDATES, STEPS_PER_DRAW = 160, 10  # of the second one
TURN_SECONDS = 0.2
SEED = 0


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


def make_layer(mapping: str, nodes: int, seed: int) -> nn.Module:
    """Return a layer of so many nodes that reads all inputs through one of the learnable layers."""
    candidates = CANDIDATES if mapping == REDRAWN else 16
    return LearnableLayer(INPUTS, nodes, "dwn", n=PINS_PER_NODE, seed=seed, num_candidates=candidates)


def draw_anew(mapping: str, layer: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Draw candidates anew if it is time to."""
    if mapping == REDRAWN and isinstance(layer, LearnableLayer) and step % STEPS_PER_DRAW == 0:
        layer.redraw_candidates(optimizer=optimizer)


def make_step(mapping: str, module: nn.Module, batch: int) -> Callable[[], None]:
    """Return a training step that also asks for the gradient of the input."""
    steps = itertools.count(1)
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    x = torch.rand(batch, INPUTS).round().requires_grad_()
    grad = torch.randn_like(module(x))

    def step() -> None:
        optimizer.zero_grad()
        x.grad = None
        torch.autograd.backward(module(x), grad)
        optimizer.step()
        draw_anew(mapping, module, optimizer, next(steps))

    return step


def take_turn(step: Callable[[], None]) -> float:
    """Take steps for a while; return the CPU milliseconds of one."""
    steps, started = 0, time.process_time()
    while time.process_time() - started < TURN_SECONDS:
        step()
        steps += 1
    return 1e3 * (time.process_time() - started) / steps


def measure_speed(batch: int, rounds: int) -> dict[str, Any]:
    """Return the CPU time of a step of all mappings, in turns."""
    modules = {name: make_layer(name, NODES, SEED) for name in (DEFAULT, REDRAWN)}
    modules[DENSE] = DenseMapping(INPUTS, NODES * PINS_PER_NODE)
    steps = {name: make_step(name, module, batch) for name, module in modules.items()}
    for step in steps.values():
        step()
    turns = [{name: take_turn(step) for name, step in steps.items()} for _ in range(rounds)]
    medians = {name: statistics.median(one[name] for one in turns) for name in steps}
    return {
        "rounds": rounds,
        "median_ms": medians,
        "min_ms": {name: min(one[name] for one in turns) for name in steps},
        "ratios": {name: medians[DENSE] / medians[name] for name in (DEFAULT, REDRAWN)},
    }


def make_network(mapping: str, seed: int) -> nn.Sequential:
    """A small network with one of the mappings: `ACCURACY_NODES` nodes of 6 inputs, and votes for ten classes."""
    votes = GroupSum(CLASSES, tau=4)
    if mapping != DENSE:
        return nn.Sequential(make_layer(mapping, ACCURACY_NODES, seed), votes)
    pins = ACCURACY_NODES * PINS_PER_NODE
    nodes = RandomLayer(pins, ACCURACY_NODES, "dwn", n=PINS_PER_NODE, seed=seed)
    nodes.mapping_indices.copy_(torch.arange(pins).view(ACCURACY_NODES, PINS_PER_NODE))
    return nn.Sequential(DenseMapping(INPUTS, pins), nodes, votes)


class Digits:
    """Encoded images and their labels, for training and for the test."""

    def __init__(self, data: Path) -> None:
        with np.load(data) as arrays:
            images = [torch.from_numpy(arrays[name]).flatten(1).float() for name in ("x_train", "x_test")]
            self.labels, self.test_labels = (torch.from_numpy(arrays[name]).long() for name in ("y_train", "y_test"))
        encoder = DistributiveThermometerEncoder(num_bits=INPUTS // images[0].shape[1]).fit(images[0])
        self.images, self.test_images = (encoder(part).contiguous() for part in images)  # batches are rows


def train(mapping: str, digits: Digits, epochs: int, batch: int, seed: int) -> list[float]:
    """Train a network; return its accuracy on the test images after every epoch."""
    torch.manual_seed(seed)
    network = make_network(mapping, seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    last_draw = 0.9 * epochs * math.ceil(len(digits.images) / batch)
    order, steps, accuracies = torch.Generator().manual_seed(seed), itertools.count(1), []
    for _ in range(epochs):
        network.train()
        for chosen in torch.split(torch.randperm(len(digits.images), generator=order), batch):
            optimizer.zero_grad()
            answers = network(digits.images[chosen])
            torch.autograd.backward(nn.functional.cross_entropy(answers, digits.labels[chosen]))
            optimizer.step()
            if (step := next(steps)) <= last_draw:
                draw_anew(mapping, network[0], optimizer, step)
        network.eval()
        with torch.no_grad():
            right = network(digits.test_images).argmax(1) == digits.test_labels
        accuracies.append(right.double().mean().item())
    return accuracies


def measure_accuracy(data: Path, epochs: int, batch: int, seeds: int) -> dict[str, Any]:
    """Train all networks on the same images in the same order, for each of the first so many seeds."""
    digits = Digits(data)
    accuracies: dict[str, Any] = {}
    for name in MAPPINGS:
        accuracies[name] = [train(name, digits, epochs, batch, seed) for seed in range(seeds)]
        last = [one[-1] for one in accuracies[name]]
        print(f"{name}: {statistics.mean(last):.2%} in the mean, {', '.join(f'{one:.2%}' for one in last)}", flush=True)
    return {"nodes": ACCURACY_NODES, "epochs": epochs, "seeds": seeds, "accuracy": accuracies}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--accuracy", type=Path, metavar="DATA", help="npz file of MNIST: compare accuracies, not speed"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="how many networks are trained with each mapping")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    report = {"machine": describe_machine(), "torch": torch.__version__, "batch": arguments.batch}
    if arguments.accuracy:
        report |= measure_accuracy(arguments.accuracy, arguments.epochs, arguments.batch, arguments.seeds)
    else:
        report |= {"seed": SEED} | measure_speed(arguments.batch, arguments.rounds)
    hand_out(report, arguments.output)


if __name__ == "__main__":
    main()
