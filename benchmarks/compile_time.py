"""How long a compile takes, step by step, for networks of growing size, and how much memory.

    python benchmarks/compile_time.py --luts 10000 100000 [--prove] [--target vhdl] [--json FILE]

The networks are the pretrained `mnist_large`, widened: its encoder, and two layers of 6-input LUTs at random wiring
whose trained tables are drawn from its own; 784 features of 8 bits, two thirds of the LUTs in the first layer. Steps up
to "emit" make a compile with its evaluation check; with --prove, all other rungs of the certificate follow.

Every size is measured in a process of its own. Processor seconds count the tools that a step starts; peak memory is
that of the process, and apart from it that of the largest tool. Seconds by the clock depend on what else is running.
The files are proven, simulated and changed side by side, in one step; how long each of these took, is by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import difflut
from difflut import ModelConfig, SimpleFeedForward, save_model
from difflut_compiler.emit import emit
from difflut_compiler.output import write_output
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from difflut_compiler.reference import read_reference
from difflut_compiler.schedule import schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.tools import make_folder
from difflut_compiler.verify import ladder
from difflut_compiler.verify.certificate import Rung
from difflut_compiler.verify.check_files import FileChecks

TRAINED = "mnist_large"
PASS_VECTORS = 1024


def make_model(luts: int, path: Path) -> None:
    """Widen the trained model: every LUT gets the table of one of its layer's, drawn at random."""
    trained = difflut.build_model(TRAINED)
    config = ModelConfig(
        model_type="feedforward",
        layer_type="random",
        node_type=trained.config.node_type,
        encoder_config=trained.config.encoder_config,
        node_input_dim=trained.config.node_input_dim,
        layer_widths=[luts - luts // 3, luts // 3],
        num_classes=10,
        input_size=trained.config.input_size,
        input_format=trained.config.input_format,
    )
    model = SimpleFeedForward(config)
    random = torch.Generator().manual_seed(0)
    weights, tables = model.state_dict(), trained.state_dict()
    weights["encoder.thresholds"] = tables["encoder.thresholds"]
    for name in [name for name in weights if name.endswith("bank.luts")]:
        drawn = torch.randint(len(tables[name]), (len(weights[name]),), generator=random)
        weights[name] = tables[name][drawn].to(weights[name].dtype)
    model.load_state_dict(weights)
    save_model(model, path)


@dataclass
class Stopwatch:
    """Seconds of every step, by the clock and of the processor, tools included."""

    clock: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start, processor_start = time.perf_counter(), processor_seconds()
        yield
        self.clock[name] = round(time.perf_counter() - start, 2)
        self.processor[name] = round(processor_seconds() - processor_start, 2)


def processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_megabytes(who: int) -> int:
    return round(resource.getrusage(who).ru_maxrss / 1024)


def measure(model: Path, target: str, prove: bool) -> dict[str, Any]:
    """Compile a model and return the figures."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with watch.step("read, lower and evaluate"):
            reference = read_reference(model, "network", None)
        require_passed(reference.first_rung)
        with watch.step("passes"):
            graph = reference.lowered.copy()
            sample = reference.vectors.inputs[:PASS_VECTORS]
            steps = run_passes(graph, OPTIMISE, sample)
            steps += run_passes(graph, EXPAND, sample, repeat=False)
        with watch.step("schedule"):
            scheduled = schedule(graph, "layers")
            scheduled.graph.verify()
        with watch.step("emit"):
            plan = emit(scheduled, TARGETS[target], "network")
            write_output(folder / "out", {"rtl": plan.files}, {})
        figures = {
            "luts": reference.lowered.size().count_by_kind["lut"],
            "target": target,
            "sha256": plan.digest(),
            "hardware_megabytes": round(sum(len(text) for text in plan.files.values()) / 1e6, 2),
            "compile_seconds": round(sum(watch.clock.values()), 2),
            "compile_processor_seconds": round(sum(watch.processor.values()), 2),
            "compile_peak_megabytes": peak_megabytes(resource.RUSAGE_SELF),
        }
        if prove:
            with watch.step("prove passes"):
                place = make_folder(folder, "passes")
                ladder.check_passes(reference.lowered, steps, graph, scheduled, len(sample), place)
            checks = FileChecks(
                plan, scheduled, reference.lowered, reference.vectors.inputs, reference.expected, None, folder
            )
            with watch.step("check files"), checks.climbing() as climbing:
                rungs = [climbing.result(rung) for rung in (3, 4, 5)]
            for rung in rungs:
                require_passed(rung)
            figures["file_rungs_seconds"] = {rung.name: rung.seconds for rung in rungs}
    return figures | {
        "seconds": watch.clock,
        "processor_seconds": watch.processor,
        "peak_megabytes": peak_megabytes(resource.RUSAGE_SELF),
        "tools_peak_megabytes": peak_megabytes(resource.RUSAGE_CHILDREN),
    }


def require_passed(rung: Rung) -> None:
    if rung.status != "passed":
        raise SystemExit(f"{rung.name}: {rung.status}: {rung.reason}")


def in_new_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Call in a process of its own, so that its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def show(results: Sequence[dict[str, Any]]) -> str:
    """The figures as a Markdown table: a column per size; seconds are the processor's, in brackets by the clock."""
    steps = list(results[0]["seconds"])
    lines = [["seconds", *(f"{result['luts']:,} LUTs" for result in results)], ["---"] * (len(results) + 1)]
    lines += [
        [step, *(_seconds(result["processor_seconds"][step], result["seconds"][step]) for result in results)]
        for step in steps
    ]
    compiles = [_seconds(result["compile_processor_seconds"], result["compile_seconds"]) for result in results]
    lines.append(["**compile, the first four**", *compiles])
    for title, key in (
        ("peak memory of the compile, MB", "compile_peak_megabytes"),
        ("peak memory with proofs, MB", "peak_megabytes"),
        ("peak memory of the largest tool, MB", "tools_peak_megabytes"),
        ("hardware, MB", "hardware_megabytes"),
    ):
        lines.append([title, *(f"{result[key]:,}" for result in results)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _seconds(processor: float, clock: float) -> str:
    return f"{processor:.1f} ({clock:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--luts", type=int, nargs="+", default=[20_000])
    parser.add_argument("--target", choices=("verilog", "systemverilog", "vhdl"), default="verilog")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures into this file, too")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for luts in arguments.luts:
            path = Path(folder) / f"model_{luts}.pth"
            in_new_process(make_model, luts, path)
            results.append(in_new_process(measure, path, arguments.target, arguments.prove))
            path.unlink()
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}
    text = json.dumps({"machine": machine, "results": results}, indent=2)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    print(text)
    print(show(results))


if __name__ == "__main__":
    main()
