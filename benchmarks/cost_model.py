"""Calibrate the estimates of area and clock frequency, and publish their error.

    python benchmarks/cost_model.py measure     # hours of Yosys and nextpnr; adds what is missing, can be interrupted
    python benchmarks/cost_model.py fit         # seconds; writes the coefficients and the table in docs/cost_model.md

``measure`` makes networks with random tables and wires, of sizes, shapes and fan-ins drawn at random, and keeps what
the tools find in ``cost_model_measurements.json``. ``fit`` takes every second network for calibration and reports the
error on the others.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from difflut import ModelConfig, SimpleFeedForward, save_model
from difflut_compiler.emit import emit
from difflut_compiler.frontend import load_model
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from difflut_compiler.schedule import Schedule, schedule
from difflut_compiler.synth import FAMILIES, Family
from difflut_compiler.synth.estimate import measure_quantities
from difflut_compiler.synth.netlist import synthesise
from difflut_compiler.synth.nextpnr import place_and_route
from difflut_compiler.synth.results import HARNESS, INTERFACE
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify.tools import find_tool
from difflut_compiler.verify.vectors import make_vectors

MEASUREMENTS = Path(__file__).with_name("cost_model_measurements.json")
PAGE = Path(__file__).parents[1] / "docs" / "cost_model.md"
NETWORKS = 48
MEASURED = {"ecp5": "25k", "ice40": "hx8k", "xilinx": None}
"""The families that are measured, and the device that networks are placed on where there is a tool."""


@dataclass(frozen=True)
class Spec:
    """A network: everything about it follows from these numbers."""

    seed: int
    features: int
    value_bits: int
    thresholds: int
    widths: tuple[int, ...]
    fan_in: int
    classes: int
    pipeline: str


def make_spec(seed: int) -> Spec:
    chance = random.Random(seed)
    classes = chance.randint(2, 10)
    layers = chance.randint(1, 3)
    largest = chance.choice((40, 80, 160, 240))
    widths = [chance.randint(largest // 3, largest) for _ in range(layers)]
    widths[-1] = max(1, widths[-1] // classes) * classes
    return Spec(
        seed=seed,
        features=chance.randint(4, 40),
        value_bits=chance.randint(3, 8),
        thresholds=chance.randint(1, 7),
        widths=tuple(widths),
        fan_in=chance.choice((2, 3, 4, 5, 6, 6)),
        classes=classes,
        pipeline=chance.choice(("layers", "layers", "none")),
    )


def build(spec: Spec, path: Path) -> Schedule:
    """The scheduled graph of a network, by way of a model file."""
    config = ModelConfig(
        model_type="feedforward",
        layer_type="random",
        node_type="dwn",
        encoder_config={"name": "distributive_thermometer", "num_bits": spec.thresholds},
        node_input_dim=spec.fan_in,
        layer_widths=list(spec.widths),
        num_classes=spec.classes,
        input_size=spec.features,
        seed=spec.seed,
    )
    model = SimpleFeedForward(config)
    random_numbers = torch.Generator().manual_seed(spec.seed)
    data = torch.randint(0, 1 << spec.value_bits, (1000, spec.features), generator=random_numbers).float()
    model.fit_encoder(data)
    save_model(model, path)
    lowered = load_model(path).lower("network")[0]
    sample = make_vectors(lowered, None).inputs[:256]
    run_passes(lowered, OPTIMISE, sample)
    run_passes(lowered, EXPAND, sample, repeat=False)
    return schedule(lowered, spec.pipeline)


def measure_one(spec: Spec, scheduled: Schedule, family: Family) -> dict[str, Any]:
    """What the tools find for a network on a family, and the quantities that an estimate starts from."""
    plan, layers = emit(scheduled, TARGETS["verilog"], "network"), scheduled.graph.layers
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        synthesis = synthesise(plan, layers, family, folder)
        fmax_mhz, device = None, MEASURED[family.name]
        if family.nextpnr is not None and device is not None and find_tool(family.nextpnr.tool):
            placed = place_and_route(
                family,
                layers,
                folder,
                top=plan.top,
                latency_cycles=plan.latency_cycles,
                device=device,
                seed=1,
                requested_mhz=200.0,
            )
            fmax_mhz = placed.fmax_mhz
    return {
        "spec": asdict(spec),
        "family": family.name,
        "luts_by_part": {one.part: one.area.luts for one in synthesis.parts if one.part not in (HARNESS, INTERFACE)},
        "fmax_mhz": fmax_mhz,
        "quantities": asdict(measure_quantities(scheduled.graph, family.lut_inputs)),
    }


def measure() -> None:
    rows = read_measurements()
    done = {(row["spec"]["seed"], row["family"]) for row in rows}
    for seed in range(NETWORKS):
        spec = make_spec(seed)
        missing = [family for family in MEASURED if (seed, family) not in done]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            scheduled = build(spec, Path(folder) / "model.pth")
        for family in missing:
            rows.append(measure_one(spec, scheduled, FAMILIES[family]))
            rows.sort(key=lambda row: (row["spec"]["seed"], row["family"]))
            MEASUREMENTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
            print(seed, family, sum(rows[-1]["luts_by_part"].values()), rows[-1]["fmax_mhz"], flush=True)


def read_measurements() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(MEASUREMENTS.read_text()) if MEASUREMENTS.is_file() else []
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("measure", "fit"))
    if parser.parse_args().command == "measure":
        measure()


if __name__ == "__main__":
    main()
