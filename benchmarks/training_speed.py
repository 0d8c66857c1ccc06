"""Time of a training step, ours and the peers', in turns.

    python benchmarks/training_speed.py -o benchmarks/training_speed.json [--cases layer-6-128 mnist-128] [--rounds 5]
        [--peers VENV/bin/python] [--compile] [--realtime]
    python benchmarks/training_speed.py --table benchmarks/training_speed.json

Every contestant of a case is a process of its own with one thread, and all take turns, of a tenth of a second or a step
if that takes longer. A turn's figure is the CPU time of its process per step; reported are the median and the minimum
of the rounds, and how much memory a process needed beyond its imports. The peers' environment holds torchlogix and
llnn; with ``--compile`` the peers run under torch.compile as well. With ``--realtime``, which needs the right to, turns
are taken at real-time priority, so that other work on the machine does not come between them.

Case `layer-N-B` is a layer from 4096 to 4096 nodes of N inputs with a batch of B, `mnist-B` is 2352 bits, 2000 and 1000
nodes of 6 inputs, `gates-B` is 784 bits and six times 8000 nodes of 2 inputs. Measured cases are added to those that
the file holds already. The second form prints the table of a file, as in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import describe_machine

SEED = 0  # as in the worker
WORKER = Path(__file__).with_name("training_worker.py")
LAYERS = [f"layer-{n}-{batch}" for n in (2, 4, 6) for batch in (128, 1024)]
NETWORKS = [f"{name}-{batch}" for name in ("mnist", "gates") for batch in (128, 1024)]
OURS = ("multilinear", "hard")
# What a peer can do: torchlogix' raw gates have two inputs. The last two take up to ten gigabytes for large batches and
# are the slowest of all for small ones, so they are left out there, and under torch.compile.
PEERS = {"torchlogix-raw": (2,), "torchlogix-warp": (2, 4, 6), "torchlogix-light": (2, 4, 6), "llnn": (2, 4, 6)}
LARGE_PEERS = ("torchlogix-light", "llnn")
LARGE_BATCH = 1024
COMPILED = ", compiled"
PINS = {"mnist": 6, "gates": 2}


@dataclass
class Worker:
    """A contestant's process."""

    name: str
    process: subprocess.Popen[str]
    about: dict[str, str] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, name: str, case: str, python: str, options: Sequence[str]) -> Worker:
        """Start a worker. What follows the comma in its name is how it runs: in torch alone, or compiled."""
        contestant, _, how = name.partition(", ")
        kernels = "cpu" if name in OURS else "torch"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "DIFFLUT_KERNELS": kernels}
        command = [python, str(WORKER), contestant, case, *options, *(["--compile"] if how == "compiled" else [])]
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

    def take_turn(self) -> None:
        """Let the worker take its turn and remember its time per step."""
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


@dataclass(frozen=True)
class Settings:
    """How cases are measured; `peers` is their Python, `options` are those of every worker."""

    rounds: int
    peers: str | None
    with_compiled: bool
    options: Sequence[str]


def measure(case: str, settings: Settings) -> dict[str, Any]:
    """Return every contestant's figures for a case; those who fail say why."""
    kind, *numbers = case.split("-")
    n = PINS.get(kind) or int(numbers[0])
    ours = [*OURS, *(f"{rule}, torch" for rule in OURS)]
    peers = [name for name, pins in PEERS.items() if n in pins]
    if int(numbers[-1]) >= LARGE_BATCH:
        peers = [name for name in peers if name not in LARGE_PEERS]
    if settings.with_compiled:
        peers += [f"{name}{COMPILED}" for name in peers if name not in LARGE_PEERS]
    workers = [Worker.start(name, case, sys.executable, settings.options) for name in ours]
    if settings.peers:
        workers += [Worker.start(name, case, settings.peers, settings.options) for name in peers]
    results: dict[str, Any] = {}
    running = []
    for worker in workers:
        try:
            worker.about = worker.read()
            running.append(worker)
        except RuntimeError as error:
            results[worker.name] = {"failed": str(error)}
    for _ in range(settings.rounds):
        for worker in running:
            worker.take_turn()
    return {**results, **{worker.name: worker.finish() for worker in running}}


def format_table(report: dict[str, Any]) -> str:
    """Return the report as a Markdown table, with ratios to the fastest peer of each case."""
    columns = ["case", "multilinear, ms", "hard look-up, ms", "both in torch, ms", "fastest peer, ms", "ratios"]
    columns += ["compiled peer, ms", "ratios", "MB", "a peer's MB"]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for case, results in report["cases"].items():
        ours = [results[rule] for rule in OURS]
        measured = {name: found for name, found in results.items() if name not in OURS and "median_ms" in found}
        twins = ", ".join(f"{measured[f'{rule}, torch']['median_ms']:.1f}" for rule in OURS)
        peers = {name: found for name, found in measured.items() if name in PEERS}
        compiled = {name: found for name, found in measured.items() if name.endswith(COMPILED)}
        cells = [case, *(f"{one['median_ms']:.2f} ({one['min_ms']:.2f})" for one in ours), twins]
        cells += [*_fastest(peers, ours), *_fastest(compiled, ours)]
        cells += [", ".join(f"{one['megabytes']:.0f}" for one in ours)]
        cells += [f"{min(found['megabytes'] for found in peers.values()):.0f}" if peers else "–"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _fastest(peers: dict[str, Any], ours: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The fastest of some peers with its time, and how many times as long it takes as each of ours."""
    if not peers:
        return "–", "–"
    best = min(peers, key=lambda name: float(peers[name]["median_ms"]))
    median = peers[best]["median_ms"]
    return f"{median:.1f} ({best})", ", ".join(f"{median / one['median_ms']:.1f}×" for one in ours)


def main() -> None:
    """Measure and report, or print the table of an earlier report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=LAYERS + NETWORKS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", help="Python of an environment with the peers")
    parser.add_argument("--compile", action="store_true", help="measure the peers under torch.compile, too")
    parser.add_argument("--realtime", action="store_true", help="take turns at real-time priority")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of this file and measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print(format_table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    options = ["--realtime"] if arguments.realtime else []
    settings = Settings(arguments.rounds, arguments.peers, arguments.compile, options)
    report: dict[str, Any] = {"cases": {}}
    if arguments.output and arguments.output.is_file():
        report = json.loads(arguments.output.read_text(encoding="utf-8"))
    report |= {"machine": describe_machine(), "rounds": arguments.rounds, "seed": SEED}
    for case in arguments.cases:
        report["cases"][case] = {"options": options, **measure(case, settings)}
        print(format_table({"cases": {case: report["cases"][case]}}).splitlines()[-1], flush=True)
        if arguments.output:
            report["cases"] = {name: report["cases"][name] for name in LAYERS + NETWORKS if name in report["cases"]}
            arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
