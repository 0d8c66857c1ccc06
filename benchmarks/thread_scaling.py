"""Wall time of a training step, and of the kernels in it, with one and with two threads, in turns.

    python benchmarks/thread_scaling.py [--cases layer-6-1024 mnist-1024] [--rounds 7] [-o FILE]

The cases are those of training_speed.py. Wall time says something only where both cores are free: run it at real-time
priority (`chrt -r 1`) if other work cannot be stopped. The rest of a step is torch's, and Python.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from training_worker import SEED, make_step

from difflut.kernels import cpu

CASES = ["layer-2-1024", "layer-6-128", "layer-6-1024", "mnist-128", "mnist-1024", "gates-1024"]
TURN_SECONDS = 0.2


class KernelClock:
    """Seconds by the clock in the compiled kernels, from when it is made."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._run = cpu.run_kernel
        cpu.run_kernel = self._run_timed

    def _run_timed(self, name: str, *arguments: Any) -> None:
        started = time.perf_counter()
        self._run(name, *arguments)
        self.seconds += time.perf_counter() - started


def take_turn(step: Callable[[], None], clock: KernelClock, threads: int) -> tuple[float, float]:
    """Take steps for a while; return the wall milliseconds of one, and of the kernels in it."""
    torch.set_num_threads(threads)
    step()  # the threads wake up
    steps, started, clock.seconds = 0, time.perf_counter(), 0.0
    while time.perf_counter() - started < TURN_SECONDS:
        step()
        steps += 1
    return 1e3 * (time.perf_counter() - started) / steps, 1e3 * clock.seconds / steps


def compare(step: Callable[[], None], clock: KernelClock, rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians of a step and of its kernels, with one and with two threads."""
    turns = [[take_turn(step, clock, threads) for threads in (1, 2)] for _ in range(rounds)]
    report = {}
    for place, what in enumerate(("step", "kernels")):
        one, two = (statistics.median(turn[threads][place] for turn in turns) for threads in (0, 1))
        report[what] = {"one_ms": one, "two_ms": two, "ratio": one / two}
    return report


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    scheduler = {os.SCHED_OTHER: "normal", os.SCHED_RR: "real time"}.get(os.sched_getscheduler(0), "other")
    report: dict[str, Any] = {"machine": describe_machine(), "seed": SEED, "priority": scheduler, "cases": {}}
    clock = KernelClock()
    for case in arguments.cases:
        report["cases"][case] = {}
        for rule in ("multilinear", "hard"):
            torch.manual_seed(SEED)
            found = report["cases"][case][rule] = compare(make_step(rule, case), clock, arguments.rounds)
            for what, one in found.items():
                print(
                    f"{case} {rule}, {what}: {one['one_ms']:.2f} and {one['two_ms']:.2f} ms: {one['ratio']:.2f}×",
                    flush=True,
                )
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
