"""Training with the CPU kernels inside what torch wraps around a model: several processes, a compiler, autocast."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from difflut import kernels
from difflut.layers import LearnableLayer, RandomLayer

BATCH, INPUTS, STEPS = 48, 40, 4

WORKER = """
import sys
import torch
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel
from tests.difflut.test_wrapped_training import draw_batch, make_model, train

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
model = make_model()
train(DistributedDataParallel(model), lambda step: [part.chunk(2)[rank] for part in draw_batch(step)])
torch.save(list(model.parameters()), f"{folder}/{rank}.pt")
destroy_process_group()
"""


def make_model() -> nn.Module:
    """A layer whose wiring is learnt, and one of each rule. The batch comes sample by sample, as users have it."""
    layers = LearnableLayer(INPUTS, 30, "dwn", n=4), RandomLayer(30, 30, "probabilistic", n=3)
    return nn.Sequential(*layers, RandomLayer(30, 10, "hybrid", n=6))


def draw_batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.rand(BATCH, INPUTS, generator=generator).round()
    return x, x[:, :10]


def train(model: nn.Module, draw: Callable[[int], Sequence[Tensor]] = draw_batch) -> None:
    """Take some steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(STEPS):
        x, y = draw(step)
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        torch.autograd.backward(loss)
        optimizer.step()


def assert_equal_weights(found: list[Tensor], model: nn.Module) -> None:
    expected, start = list(model.parameters()), list(make_model().parameters())
    for one, other, before in zip(found, expected, start, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
        assert not torch.equal(other, before)  # all of them learn


@pytest.fixture
def alone() -> nn.Module:
    """The model after the steps in one process and nothing around it."""
    model = make_model()
    with kernels.use("cpu"):
        train(model)
    return model


@pytest.mark.slow
def test_two_processes_of_distributed_data_parallel_train_as_one(alone: nn.Module, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER]
    jobs = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    errors = [job.communicate(timeout=120)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], errors
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
    assert_equal_weights(first, alone)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, while it traces
def test_a_compiled_model_trains_as_it_does_without(alone: nn.Module) -> None:
    model = make_model()
    with kernels.use("cpu"):
        train(cast(nn.Module, torch.compile(model, backend="aot_eager", fullgraph=True)))
    assert_equal_weights(list(model.parameters()), alone)


def test_autocast_on_the_cpu_rounds_nothing_but_what_others_compute(alone: nn.Module) -> None:
    model = make_model()
    with kernels.use("cpu"), torch.autocast("cpu", dtype=torch.bfloat16):
        train(model)
    assert_equal_weights(list(model.parameters()), alone)
