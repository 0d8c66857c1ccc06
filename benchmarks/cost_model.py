"""Calibrate the estimates of area and clock frequency, and publish their error.

    python benchmarks/cost_model.py measure     # hours of Yosys and nextpnr; adds what is missing, can be interrupted
    python benchmarks/cost_model.py fit         # seconds; writes the coefficients and the table in docs/cost_model.md

``measure`` makes networks with random tables and wires, of sizes, shapes and fan-ins drawn at random, and keeps what
the tools find in ``cost_model_measurements.json``. ``fit`` takes some networks for calibration and reports the error on
the others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from difflut import ModelConfig, SimpleFeedForward, save_model
from difflut_compiler.costs.estimate import (
    MODELS,
    Amounts,
    CostModel,
    Delays,
    amounts_by_part,
    count_luts,
    longest_path,
    models_to_json,
)
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.frontend import load_model
from difflut_compiler.passes import expanding_passes, optimising_passes, run_passes
from difflut_compiler.schedule import Schedule, schedule
from difflut_compiler.synth import FAMILIES, Family
from difflut_compiler.synth.netlist import synthesise
from difflut_compiler.synth.nextpnr import place_and_route
from difflut_compiler.synth.results import HARNESS, INTERFACE
from difflut_compiler.targets import TARGETS
from difflut_compiler.tools import find_tool
from difflut_compiler.vectors import make_vectors

MEASUREMENTS = Path(__file__).with_name("cost_model_measurements.json")
PAGE = Path(__file__).parents[1] / "docs" / "cost_model.md"
NETWORKS = 100
MEASURED = {"ecp5": "25k", "ice40": "hx8k", "xilinx": None}
"""The families that are measured, and the device that networks are placed on where there is a tool."""
FIT_ROUNDS = 10
Row = Mapping[str, Any]
"""A measurement of a network on a family, as ``measure_one`` makes it."""


@dataclass(frozen=True)
class Spec:
    """A network: everything about it follows from these numbers. ``lut_inputs`` is what its passes aim at."""

    seed: int
    features: int
    value_bits: int
    thresholds: int
    widths: tuple[int, ...]
    fan_in: int
    classes: int
    pipeline: str
    lut_inputs: int


def make_spec(seed: int) -> Spec:
    chance = random.Random(seed)
    classes = chance.randint(2, 10)
    layers = chance.randint(1, 3)
    largest = chance.choice((40, 70, 100, 140))
    widths = [chance.randint(largest // 2, largest) for _ in range(layers)]
    widths[-1] = max(1, widths[-1] // classes) * classes
    value_bits = chance.choice((1, 1, 2, 4, 6, 8))
    return Spec(
        seed=seed,
        features=chance.randint(8, 40),
        value_bits=value_bits,
        thresholds=1 if value_bits == 1 else chance.randint(1, 5),
        widths=tuple(widths),
        fan_in=chance.choice((2, 3, 4, 5, 6, 6)),
        classes=classes,
        pipeline=chance.choice(("layers", "layers", "none")),
        lut_inputs=chance.choice((4, 6)),
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
    run_passes(lowered, optimising_passes(spec.lut_inputs), sample)
    run_passes(lowered, expanding_passes(spec.lut_inputs), sample, repeat=False)
    return schedule(lowered, spec.pipeline)


def measure_one(spec: Spec, scheduled: Schedule, plan: BuildPlan, family: Family) -> dict[str, Any]:
    """What the tools find for a network on a family, and the quantities that an estimate starts from."""
    layers = scheduled.graph.layers
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
        "rtl_sha256": plan.digest(),
        "luts_by_part": {one.part: one.area.luts for one in synthesis.parts if one.part not in (HARNESS, INTERFACE)},
        "fmax_mhz": fmax_mhz,
        "amounts_by_part": amounts_by_part(scheduled.graph, family.lut_inputs),
        "luts": count_luts(scheduled.graph),
        "paths": slow_paths(scheduled, family),
    }


def slow_paths(scheduled: Schedule, family: Family) -> list[Amounts]:
    """The paths that are the slowest for one choice of delays or another: a fit needs no other."""
    choices = itertools.product((0.2, 1.0), (0.0, 1.0, 3.0), (0.2, 1.0, 3.0), (0.0, 0.1, 0.5))
    paths = [
        longest_path(scheduled.graph, family, Delays(0, level, wide, carry, carry_bits, 0))
        for level, wide, carry, carry_bits in choices
    ]
    return [dict(path) for path in sorted({tuple(sorted(path.items())) for path in paths})]


def measure() -> None:
    """Measure what is missing, and again what the compiler makes other hardware of than when it was measured."""
    rows = {(row["spec"]["seed"], row["family"]): row for row in read_measurements()}
    for spec in map(make_spec, range(NETWORKS)):
        with tempfile.TemporaryDirectory() as folder:
            scheduled = build(spec, Path(folder) / "model.pth")
        plan = emit(scheduled, TARGETS["verilog"], "network")
        for family in MEASURED:
            row = rows.get((spec.seed, family))
            if row is not None and row["rtl_sha256"] == plan.digest():
                continue
            row = measure_one(spec, scheduled, plan, FAMILIES[family])
            rows[spec.seed, family] = row
            lines = [json.dumps(rows[key]) for key in sorted(rows)]
            MEASUREMENTS.write_text("[\n" + ",\n".join(lines) + "\n]\n")
            print(spec.seed, family, sum(row["luts_by_part"].values()), row["fmax_mhz"], flush=True)


def read_measurements() -> list[Row]:
    rows: list[Row] = json.loads(MEASUREMENTS.read_text()) if MEASUREMENTS.is_file() else []
    return rows


# -- the fit -----------------------------------------------------------------------------------------------------------


def is_for_calibration(row: Row) -> bool:
    """Every third network; the error is that of the others."""
    seed: int = row["spec"]["seed"]
    return seed % 3 == 0


def fit_family(rows: Sequence[Row]) -> CostModel:
    """The coefficients of one family from its measurements."""
    timed = [row for row in rows if row["fmax_mhz"]]
    return CostModel(fit_luts(rows), fit_delays(timed) if timed else None)


def fit_luts(rows: Sequence[Row]) -> dict[str, float]:
    """An equation per part of every network, in shares of the whole network."""
    kinds = sorted({kind for row in rows for amounts in row["amounts_by_part"].values() for kind in amounts})
    equations, counted = [], []
    for row in rows:
        total = sum(row["luts_by_part"].values())
        for part, amounts in row["amounts_by_part"].items():
            equations.append([amounts.get(kind, 0) / total for kind in kinds])
            counted.append(row["luts_by_part"].get(part, 0) / total)
    return dict(zip(kinds, solve_positive(np.array(equations), np.array(counted)), strict=True))


def fit_delays(rows: Sequence[Row]) -> Delays:
    """An equation per network, in shares of its period. Which path is the slowest depends on the delays: fit again."""
    periods = np.array([1000 / row["fmax_mhz"] for row in rows])
    delays = Delays(path=0, level=1, wide=0.5, carry=1, carry_bits=0.2, level_wires=0)
    for _ in range(FIT_ROUNDS):
        terms = [delay_terms(slowest_path(row, delays), row["luts"]) for row in rows]
        delays = Delays(*solve_positive(np.array(terms) / periods[:, None], np.ones(len(rows))))
    return delays


def slowest_path(row: Row, delays: Delays) -> Amounts:
    path: Amounts = max(row["paths"], key=lambda path: delays.period_ns(path, row["luts"]))
    return path


def delay_terms(path: Amounts, luts: int) -> list[float]:
    """What each of the delays, in their order, is multiplied with to make the period of a path."""
    level = path["level"]
    return [1.0, level, path["wide"], path["carry"], path["carry_bits"], level * float(np.log2(1 + luts))]


def solve_positive(matrix: NDArray[np.float64], wanted: NDArray[np.float64]) -> list[float]:
    """Least squares with no unknown below zero: those that would be are taken out one by one, the lowest first."""
    used = list(range(matrix.shape[1]))
    while True:
        found = np.linalg.lstsq(matrix[:, used], wanted, rcond=None)[0]
        if (found >= 0).all():
            values = dict(zip(used, found.tolist(), strict=True))
            return [round(values.get(column, 0.0), 4) for column in range(matrix.shape[1])]
        del used[int(found.argmin())]


@dataclass(frozen=True)
class Errors:
    """How far the estimates of one family are from the tools, on ``networks`` that it was not calibrated on."""

    calibrated_on: int
    networks: int
    median_luts: float
    worst_luts: float
    median_fmax: float | None
    worst_fmax: float | None


def take_errors(model: CostModel, rows: Sequence[Row], calibrated_on: int) -> Errors:
    luts, fmax = [], []
    for row in rows:
        estimated = sum(model.luts_of(amounts) for amounts in row["amounts_by_part"].values())
        luts.append(abs(estimated / sum(row["luts_by_part"].values()) - 1))
        if model.delays is not None and row["fmax_mhz"]:
            period_ns = model.delays.period_ns(slowest_path(row, model.delays), row["luts"])
            fmax.append(abs(1000 / period_ns / row["fmax_mhz"] - 1))
    return Errors(
        calibrated_on,
        len(rows),
        statistics.median(luts),
        max(luts),
        statistics.median(fmax) if fmax else None,
        max(fmax) if fmax else None,
    )


def fit_all(rows: Sequence[Row]) -> dict[str, tuple[CostModel, Errors]]:
    """Model and errors by family."""
    results = {}
    for family in MEASURED:
        own = [row for row in rows if row["family"] == family]
        chosen = [row for row in own if is_for_calibration(row)]
        others = [row for row in own if not is_for_calibration(row)]
        if chosen and others:
            model = fit_family(chosen)
            results[family] = (model, take_errors(model, others, len(chosen)))
    return results


def describe(results: Mapping[str, tuple[CostModel, Errors]], rows: Sequence[Row]) -> str:
    """The page with the errors, as text."""
    sizes = [row["luts"] for row in rows]
    networks = {row["spec"]["seed"]: row["spec"] for row in rows}
    encoded = sum(spec["value_bits"] > 1 for spec in networks.values())
    lines = []
    for family, (_, errors) in results.items():
        fmax = "no free tool"
        if errors.median_fmax is not None:
            fmax = f"{errors.median_fmax:.1%} (worst {errors.worst_fmax:.0%})"
        luts = f"{errors.median_luts:.1%} (worst {errors.worst_luts:.0%})"
        lines.append(f"| `{family}` | {errors.calibrated_on} | {errors.networks} | {luts} | {fmax} |")
    return PAGE_TEXT.format(
        table="\n".join(lines), fewest=min(sizes), most=max(sizes), networks=len(networks), encoded=encoded
    )


PAGE_TEXT = """\
# How good the estimates are

`report.json` and the report page have estimates of area and clock frequency for some families of devices, made from the
graph in milliseconds, without any tool. What they are made of is written in `difflut_compiler/costs/estimate.py`; their
coefficients are fitted to what Yosys and nextpnr found for networks with random tables and wires: one to three layers,
{fewest} to {most} LUTs of up to six inputs, two to ten classes, compiled for LUTs of four inputs or of six, with a
register per layer or without any. Of the {networks} networks, {encoded} have an encoder, with one to five thresholds on
words of two to eight bits; the others read single bits.

`python benchmarks/cost_model.py fit` computes this table, and the coefficients, from the measurements in
`benchmarks/cost_model_measurements.json`. Errors are absolute and relative, on networks not used to calibrate.

| family | calibrated on | tested on | median error of LUTs | median error of Fmax |
|---|---|---|---|---|
{table}

On `ecp5` and `ice40` tables become LUTs as they stand, so that their number is known; what is estimated are comparisons
of scores, which Yosys makes LUTs or carry chains of: the argmax of networks compiled for LUTs of four inputs. On
`xilinx` it also finds LUTs for tables of fewer than six inputs anew.

Fmax of one network differs by several percent between seeds of the placer alone. Estimates are worst for networks of a
few dozen LUTs, and they know nothing of networks much larger than those above: `difflut synth` asks the tools.
"""


def fit() -> None:
    rows = read_measurements()
    results = fit_all(rows)
    MODELS.write_text(models_to_json({family: model for family, (model, _) in results.items()}))
    PAGE.write_text(describe(results, rows))
    print(PAGE.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("measure", "fit"))
    {"measure": measure, "fit": fit}[parser.parse_args().command]()


if __name__ == "__main__":
    main()
