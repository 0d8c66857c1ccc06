"""Time of a training step, ours and the peers', in turns.

    python benchmarks/training_speed.py [--cases layer-6-128 mnist-128] [--rounds 7] [--peers VENV/bin/python] [-o FILE]
    python benchmarks/training_speed.py --table FILE

Every contestant of a case is a process of its own with one thread, and all take their steps in turns, so that a busy
machine is equally unkind to them. A step's time is the CPU time of its process; reported are the median and the
minimum of the rounds, and how much memory a process needed beyond its imports. The peers' environment holds
torchlogix and llnn. Case `layer-N-B` is a layer from 4096 to 4096 nodes of N inputs with a batch of B, `mnist-B` is
2352 bits, 2000 and 1000 nodes of 6 inputs, `gates-B` is 784 bits and six times 8000 nodes of 2 inputs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("training_worker.py")
LAYERS = [f"layer-{n}-{batch}" for n in (2, 4, 6) for batch in (128, 1024)]
NETWORKS = [f"{name}-{batch}" for name in ("mnist", "gates") for batch in (128, 1024)]
OURS = ("multilinear", "hard")
# What a peer can do: torchlogix' raw gates have two inputs.
PEERS = {"torchlogix-raw": (2,), "torchlogix-warp": (2, 4, 6), "torchlogix-light": (2, 4, 6), "llnn": (2, 4, 6)}
PINS = {"mnist": 6, "gates": 2}


@dataclass
class Worker:
    """A contestant's process."""

    name: str
    process: subprocess.Popen[str]
    about: dict[str, str] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, name: str, contestant: str, case: str, python: str, kernels: str) -> Worker:
        """Start a worker; `kernels` is the implementation that ours is forced to."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "DIFFLUT_KERNELS": kernels}
        command = [python, str(WORKER), contestant, case]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        return cls(name, process)

    def read(self) -> Any:
        """Return the next line of the worker; a RuntimeError with what it complained of if there is none."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: {self.process.stderr.read()[-500:]}")
        return json.loads(line)

    def step(self) -> None:
        """Take one step and remember its time."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.milliseconds.append(self.read())

    def finish(self) -> dict[str, Any]:
        """End the process and return what was measured."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        megabytes = self.read()
        self.process.wait()
        return {
            "median_ms": statistics.median(self.milliseconds),
            "min_ms": min(self.milliseconds),
            "megabytes": megabytes,
            **self.about,
        }


def measure(case: str, rounds: int, peers: str | None) -> dict[str, Any]:
    """Return every contestant's figures for a case; those who fail say why."""
    kind, *numbers = case.split("-")
    n = PINS.get(kind) or int(numbers[0])
    workers = [Worker.start(rule, rule, case, sys.executable, "cpu") for rule in OURS]
    workers += [Worker.start(f"{rule}, torch", rule, case, sys.executable, "torch") for rule in OURS]
    if peers:
        workers += [Worker.start(name, name, case, peers, "torch") for name, pins in PEERS.items() if n in pins]
    results: dict[str, Any] = {}
    running = []
    for worker in workers:
        try:
            worker.about = worker.read()
            running.append(worker)
        except RuntimeError as error:
            results[worker.name] = {"failed": str(error)}
    for _ in range(rounds):
        for worker in running:
            worker.step()
    return {**results, **{worker.name: worker.finish() for worker in running}}


def format_table(report: dict[str, Any]) -> str:
    """Return the report as a Markdown table, with ratios to the fastest peer of each case."""
    lines = [
        "| case | multilinear, ms | hard look-up, ms | both in torch, ms | fastest peer, ms | ratios | MB; a peer |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, results in report["cases"].items():
        ours, twins = [results[rule] for rule in OURS], [results[f"{rule}, torch"] for rule in OURS]
        peers = {name: results[name] for name in PEERS if "median_ms" in results.get(name, {})}
        best = min(peers, key=lambda name: float(peers[name]["median_ms"]), default=None)
        time_of_best, ratios, memory = "–", "–", f"{ours[0]['megabytes']:.0f}, {ours[1]['megabytes']:.0f}"
        if best is not None:
            time_of_best = f"{peers[best]['median_ms']:.1f} ({best})"
            ratios = ", ".join(f"{peers[best]['median_ms'] / one['median_ms']:.0f}×" for one in ours)
            memory += f"; {min(peer['megabytes'] for peer in peers.values()):.0f}"
        times = " | ".join(f"{one['median_ms']:.2f} ({one['min_ms']:.2f})" for one in ours)
        of_twins = ", ".join(f"{twin['median_ms']:.1f}" for twin in twins)
        lines.append(f"| {case} | {times} | {of_twins} | {time_of_best} | {ratios} | {memory} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and report, or print the table of an earlier report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=LAYERS + NETWORKS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", help="Python of an environment with the peers")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of this report and measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print(format_table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    report: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "rounds": arguments.rounds}
    report["cases"] = {}
    for case in arguments.cases:
        report["cases"][case] = measure(case, arguments.rounds, arguments.peers)
        print(format_table({"cases": {case: report["cases"][case]}}).splitlines()[-1], flush=True)
        if arguments.output:
            arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
