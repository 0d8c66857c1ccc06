"""How long a compile takes, step by step, for networks of growing size.

    python benchmarks/compile_time.py --luts 20000 [--prove] [--simulate SAMPLES] [--target vhdl]

The network has two layers of 6-input LUTs with random tables and random wiring on 784 features of 8 bits, three
thresholds each, and ten classes: the shape of an image classifier. Steps up to "emit" are one compile with its
evaluation check; proof and simulation are reported beside it. Peak memory is that of this process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from difflut import ModelConfig, SimpleFeedForward, save_model
from difflut_compiler.emit import emit
from difflut_compiler.frontend import load_model
from difflut_compiler.output import write_output
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from difflut_compiler.schedule import schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify import ladder
from difflut_compiler.verify.languages import choose_simulator
from difflut_compiler.verify.prove_files import prove_netlist
from difflut_compiler.verify.simulate import simulate
from difflut_compiler.verify.tools import make_folder
from difflut_compiler.verify.vectors import make_vectors


def make_model(luts: int, path: Path) -> None:
    config = ModelConfig(
        model_type="feedforward",
        layer_type="random",
        node_type="dwn",
        encoder_config={"name": "distributive_thermometer", "num_bits": 3},
        node_input_dim=6,
        layer_widths=[luts // 2, luts - luts // 2],
        num_classes=10,
        input_size=784,
    )
    model = SimpleFeedForward(config)
    model.fit_encoder(torch.randint(0, 256, (1000, 784), generator=torch.Generator().manual_seed(0)).float())
    save_model(model, path)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - start, 2)

    make_model(arguments.luts, folder / "model.pth")
    with step("load"):
        loaded = load_model(folder / "model.pth")
    with step("lower"):
        lowered, count_nets, bank_nets = loaded.lower("network")
    with step("evaluate"):
        vectors = make_vectors(lowered, None)
        answers = loaded.answers(vectors.inputs)
        layers = loaded.layer_answers(vectors.made, bank_nets)
        ladder.check_lowering(lowered, count_nets, vectors.inputs, answers, layers, vectors.describe())
    with step("passes"):
        graph = lowered.copy()
        sample = vectors.inputs[:1024]
        steps = run_passes(graph, OPTIMISE, sample)
        steps += run_passes(graph, EXPAND, sample, repeat=False)
    with step("schedule"):
        scheduled = schedule(graph, "layers")
        scheduled.graph.verify()
    with step("emit"):
        plan = emit(scheduled, TARGETS[arguments.target], "network")
        write_output(folder / "out", {"rtl": plan.files}, {})
    compile_seconds = round(sum(seconds.values()), 2)
    compile_megabytes = round(peak_megabytes())
    if arguments.prove:
        with step("prove passes"):
            ladder.check_passes(lowered, steps, graph, scheduled, len(sample), make_folder(folder, "passes"))
        with step("prove RTL"):
            prove_netlist(plan, scheduled, lowered, make_folder(folder, "rtl"))
    if arguments.simulate:
        simulator = choose_simulator(plan.language, None)
        if simulator is None:
            raise SystemExit(f"no simulator for {arguments.target} is installed")
        with step(f"simulate {arguments.simulate} samples in {simulator}"):
            expected = {"class_index": answers.class_index[: arguments.simulate]}
            inputs = vectors.inputs[: arguments.simulate]
            simulate(plan, scheduled.graph, inputs, expected, simulator, make_folder(folder, "simulation"))
    return {
        "luts": arguments.luts,
        "target": arguments.target,
        "compile_seconds": compile_seconds,
        "compile_peak_megabytes": compile_megabytes,
        "peak_megabytes": round(peak_megabytes()),
        "rtl_megabytes": round(sum(len(text) for text in plan.files.values()) / 1e6, 2),
        "seconds": seconds,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--luts", type=int, default=20_000)
    parser.add_argument("--target", choices=("verilog", "systemverilog", "vhdl"), default="verilog")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--simulate", type=int, metavar="SAMPLES", default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
