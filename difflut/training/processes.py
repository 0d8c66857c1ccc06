"""Several processes that train one model together, started by torchrun.

Every process has the whole model and the whole data, and takes its share of every batch. Gradients are averaged over
the samples of all shares before each step, so all processes have the same weights at any time, and a step is that of a
single process with the whole batch, up to the rounding of sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from difflut.errors import JobError


@dataclass(frozen=True)
class Processes:
    """This process and those that it trains with.

    Parameters
    ----------
    rank : number of this process; 0 is the one that writes files and reports.
    count : how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def take_share(self, rows: Tensor) -> tuple[Tensor, float]:
        """Return this process's part of a batch's rows (samples,), and the part's share of the samples, 0 to 1.

        A batch of fewer samples than processes leaves some with a share of 0; they get the first sample, so that what
        counts steps in the model counts the same everywhere.
        """
        share = rows[self.rank :: self.count]
        return (share, len(share) / len(rows)) if len(share) else (rows[:1], 0.0)

    def average_gradients(self, parameters: Iterable[Tensor], share: float) -> None:
        """Replace every gradient by the average over all processes, each weighted by its `share` of the batch."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients]) * share
        with _naming_loss():
            dist.all_reduce(flat)
        for gradient, part in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def add_up(self, values: Sequence[float]) -> list[float]:
        """Return the sums of numbers over all processes."""
        if self.count == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        with _naming_loss():
            dist.all_reduce(total)
        sums: list[float] = total.tolist()
        return sums

    def any_of(self, mine: bool) -> bool:
        """Return whether something is so for any process."""
        return self.add_up([mine])[0] > 0

    def broadcast(self, value: Any) -> Any:
        """Return what the main process gave; what others gave is dropped."""
        if self.count == 1:
            return value
        box = [value]
        with _naming_loss():
            dist.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def _naming_loss() -> Iterator[None]:
    """Say what it means when the others do not answer."""
    try:
        yield
    except RuntimeError as error:
        raise JobError(f"Another process of this job has died or cannot be reached ({error}).") from error


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, or those of a process group that the caller has made, for a while."""
    ours = dist.is_available() and not dist.is_initialized() and dist.is_torchelastic_launched()
    if ours:
        _join()
    try:
        if dist.is_available() and dist.is_initialized():
            yield Processes(dist.get_rank(), dist.get_world_size())
        else:
            yield Processes()
    finally:
        if ours:
            dist.destroy_process_group()


def _join() -> None:
    """Make the process group of a torchrun job; its processes find each other through a store that torchrun keeps.

    The store outlives them: without a part of it for each attempt, processes that were started again would find the
    addresses of those that died (https://github.com/pytorch/pytorch/issues/135712). Attempts are counted by machine, so
    this works on one machine; on several, the store must not be shared, as the guide says.
    """
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = PrefixStore(f"attempt_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count)


def is_main_process() -> bool:
    """Whether this process is the one of a torchrun job that reports; outside of one, every process is."""
    return os.environ.get("RANK", "0") == "0" or "TORCHELASTIC_RUN_ID" not in os.environ


def was_restarted() -> bool:
    """Whether torchrun started this process again, because one on this machine had died.

    On several machines, only those where one died count the attempt; the others' processes are new as well.
    """
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
