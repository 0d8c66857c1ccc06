"""Wall time of a training step with one and with two threads, in turns.

    python benchmarks/thread_scaling.py [--cases layer-6-1024 mnist-1024] [--rounds 7] [-o FILE]

The cases are those of training_speed.py. Wall time says something only where both cores are free: run it at real-time
priority (`chrt -r 1`) if other work cannot be stopped.
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

CASES = ["layer-2-1024", "layer-6-128", "layer-6-1024", "mnist-128", "mnist-1024", "gates-1024"]
TURN_SECONDS = 0.2


def take_turn(step: Callable[[], None], threads: int) -> float:
    """Take steps for a while; return the wall milliseconds of one."""
    torch.set_num_threads(threads)
    step()  # the threads wake up
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < TURN_SECONDS:
        step()
        steps += 1
    return 1e3 * (time.perf_counter() - started) / steps


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    scheduler = {os.SCHED_OTHER: "normal", os.SCHED_RR: "real time"}.get(os.sched_getscheduler(0), "other")
    report: dict[str, Any] = {"machine": describe_machine(), "seed": SEED, "priority": scheduler, "cases": {}}
    for case in arguments.cases:
        report["cases"][case] = {}
        for rule in ("multilinear", "hard"):
            torch.manual_seed(SEED)
            step = make_step(rule, case)
            rounds = [[take_turn(step, threads) for threads in (1, 2)] for _ in range(arguments.rounds)]
            one, two = (statistics.median(times) for times in zip(*rounds, strict=True))
            report["cases"][case][rule] = {"one_ms": one, "two_ms": two, "ratio": one / two}
            print(f"{case} {rule}: {one:.2f} ms with one thread, {two:.2f} with two: {one / two:.2f}×", flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
