"""Inference on the CPU, ours and torchlogix' compiled C, in turns.

    python benchmarks/inference_speed.py -o benchmarks/inference_speed.json [--peers VENV/bin/python] [--rounds 7]
        [--threads 1] [--realtime]

Two networks with random tables: `gates`, 784 bits, twice 4000 nodes of 2 inputs, 10 classes, which torchlogix compiles
to C (gcc -O1, as it does by default, and its time is not counted) and ours reads from its checkpoint, and `mnist`, 784
features of 8 bits with three thresholds each, 2000 and 1000 nodes of 6 inputs, which torchlogix cannot export. Samples
are rows of a number per feature, so packing and comparing counts: booleans for `gates`, which is what torchlogix takes,
float32 and bytes for `mnist`; the answers are compared. A
figure is samples per second of CPU time with one thread, of wall time with more: median and maximum of the rounds.
`difflut infer` runs the same program. With ``--realtime``, which needs the right to, ours is measured at real-time
priority, and the peer as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, hand_out

from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.importers import ImportRequest, import_network
from difflut_compiler.infer import CLASS_INDEX, Predictor, make_predictor
from difflut_compiler.ops import ArgMax, Compare, Input, Lut, Output, PopCount, bools_to_table
from difflut_compiler.packed import Features

WORKER = Path(__file__).with_name("inference_worker.py")
FEATURES, CLASSES, SEED = 784, 10, 0
TURN_SECONDS = 0.1
SAMPLES = {"gates": 20480, "mnist": 40960}


def random_mnist_network() -> LutGraph:
    """Return 784 words of 8 bits, three thresholds each, 2000 and 1000 LUTs of 6 inputs, and votes for ten classes."""
    chance = np.random.default_rng(SEED)
    graph = LutGraph("mnist", ["input", "encoder", "layers.0", "layers.1", "class_counts", "argmax", "output"])
    words = [graph.add(Input(f"feature_{i}", 8), origin=Origin("input", i)) for i in range(FEATURES)]
    bits = [
        graph.add(Compare(threshold), (word,), origin=Origin("encoder", 3 * i + place))
        for i, word in enumerate(words)
        for place, threshold in enumerate(sorted(chance.choice(np.arange(1, 256), 3, replace=False).tolist()))
    ]
    for layer, width in (("layers.0", 2000), ("layers.1", 1000)):
        wiring, tables = chance.integers(0, len(bits), (width, 6)), chance.integers(0, 2, (width, 64)) == 1
        bits = [
            graph.add(Lut(6, bools_to_table(table)), [bits[pin] for pin in pins], origin=Origin(layer, number))
            for number, (pins, table) in enumerate(zip(wiring.tolist(), tables, strict=True))
        ]
    group = len(bits) // CLASSES
    counts = [
        graph.add(PopCount(), bits[k * group : (k + 1) * group], origin=Origin("class_counts", k))
        for k in range(CLASSES)
    ]
    graph.add(
        Output(CLASS_INDEX), (graph.add(ArgMax(), counts, origin=Origin("argmax", 0)),), origin=Origin("output", 0)
    )
    return graph


def time_ours(predictor: Predictor, rows: Features, threads: int) -> float:
    """Return samples per second of a turn."""
    clock = time.process_time if threads == 1 else time.perf_counter
    runs, started = 0, clock()
    while clock() - started < TURN_SECONDS:
        predictor.predict(rows, threads)
        runs += 1
    return runs * len(rows) / (clock() - started)


class Peer:
    """A worker with torchlogix' compiled network."""

    def __init__(self, python: str, folder: Path, samples: int, options: list[str]) -> None:
        command = [python, str(WORKER), str(folder), str(samples), str(SEED), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about: dict[str, Any] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("{", "[")) or line[0].isdigit():  # torchlogix prints, too
                return json.loads(line)
        raise RuntimeError("the peer ended; see above")

    def take_turn(self) -> float:
        """Return samples per second of CPU time of a turn."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read())

    def finish(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def summarise(rates: list[float]) -> dict[str, float]:
    """Return millions of samples per second."""
    return {"median": statistics.median(rates) / 1e6, "max": max(rates) / 1e6}


def measure_gates(peers: str, rounds: int, threads: int, options: list[str]) -> dict[str, Any]:
    """Ours and torchlogix' on the same network; a RuntimeError if their answers differ."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = Peer(peers, folder, SAMPLES["gates"], options)
        graph = import_network(ImportRequest(folder / "model.pth", "gates", CLASSES, parametrization="raw"))
        rows = np.load(folder / "rows.npy")
        predictor = make_predictor(graph)
        if not np.array_equal(predictor.predict(rows)[CLASS_INDEX], np.load(folder / "classes.npy")):
            raise RuntimeError("the networks' answers differ")
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(time_ours(predictor, rows, threads))
            theirs.append(peer.take_turn())
        peer.finish()
    return {"ours": summarise(ours), "torchlogix": {**summarise(theirs), **peer.about}}


def measure_mnist(rounds: int, threads: int) -> dict[str, Any]:
    """Ours from rows of float32 and of bytes, encoding included."""
    graph = random_mnist_network()
    started = time.process_time()
    predictor = make_predictor(graph)
    prepared = time.process_time() - started
    pixels = np.random.default_rng(SEED).integers(0, 256, (SAMPLES["mnist"], FEATURES), dtype=np.uint8)
    found: dict[str, Any] = {"seconds_to_prepare": prepared}
    for kind, rows in (("ours", pixels.astype(np.float32)), ("ours, from bytes", pixels)):
        predictor.predict(rows[:1000], threads)
        found[kind] = summarise([time_ours(predictor, rows, threads) for _ in range(rounds)])
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peers", help="Python of an environment with torchlogix")
    parser.add_argument("--realtime", action="store_true", help="measure at real-time priority")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    options = ["--realtime"] if arguments.realtime else []
    if arguments.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    report: dict[str, Any] = {"machine": describe_machine(), "seed": SEED, **vars(arguments), "networks": {}}
    del report["output"], report["peers"]
    report["networks"]["mnist"] = measure_mnist(arguments.rounds, arguments.threads)
    if arguments.peers:
        report["networks"]["gates"] = measure_gates(arguments.peers, arguments.rounds, arguments.threads, options)
    hand_out(report, arguments.output)


if __name__ == "__main__":
    main()
