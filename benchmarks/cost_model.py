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
from difflut_compiler.emit import emit
from difflut_compiler.frontend import load_model
from difflut_compiler.passes import expanding_passes, optimising_passes, run_passes
from difflut_compiler.schedule import Schedule, schedule
from difflut_compiler.synth import FAMILIES, Family
from difflut_compiler.synth.estimate import (
    MODELS,
    Amounts,
    CostModel,
    Delays,
    amounts_by_part,
    count_luts,
    longest_path,
    models_to_json,
)
from difflut_compiler.synth.netlist import synthesise
from difflut_compiler.synth.nextpnr import place_and_route
from difflut_compiler.synth.results import HARNESS, INTERFACE
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify.tools import find_tool
from difflut_compiler.verify.vectors import make_vectors

MEASUREMENTS = Path(__file__).with_name("cost_model_measurements.json")
PAGE = Path(__file__).parents[1] / "docs" / "cost_model.md"
NETWORKS = 36
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
    largest = chance.choice((40, 80, 120, 160))
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
        "amounts_by_part": amounts_by_part(scheduled.graph, family.lut_inputs),
        "luts": count_luts(scheduled.graph),
        "paths": slow_paths(scheduled, family.lut_inputs),
    }


def slow_paths(scheduled: Schedule, lut_inputs: int) -> list[Amounts]:
    """The paths that are the slowest for one choice of delays or another: a fit needs no other."""
    choices = itertools.product((0.2, 1.0), (0.0, 1.0, 3.0), (0.1, 0.5), (0.1, 0.5, 1.0))
    paths = [
        longest_path(scheduled.graph, lut_inputs, Delays(0, level, wide, add, greater, 0))
        for level, wide, add, greater in choices
    ]
    return [dict(path) for path in sorted({tuple(sorted(path.items())) for path in paths})]


def measure() -> None:
    rows = read_measurements()
    done = {(json.dumps(row["spec"]), row["family"]) for row in rows}
    for seed in range(NETWORKS):
        spec = make_spec(seed)
        missing = [family for family in MEASURED if (json.dumps(asdict(spec)), family) not in done]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            scheduled = build(spec, Path(folder) / "model.pth")
        for family in missing:
            row = measure_one(spec, scheduled, FAMILIES[family])
            rows.append(row)
            rows.sort(key=lambda row: (row["spec"]["seed"], row["family"], counts_with_luts(row)))
            MEASUREMENTS.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
            print(seed, family, sum(row["luts_by_part"].values()), row["fmax_mhz"], flush=True)


def counts_with_luts(row: Row) -> bool:
    """Whether the network's sums are counters of LUTs, as today, and not counters and adders, as before."""
    return "lut_inputs" in row["spec"]


def read_measurements() -> list[Row]:
    rows: list[Row] = json.loads(MEASUREMENTS.read_text()) if MEASUREMENTS.is_file() else []
    return rows


# -- the fit -----------------------------------------------------------------------------------------------------------


def is_for_calibration(row: Row) -> bool:
    """Every third network, and every second one of those with today's sums, which are few; the error is the others'."""
    seed: int = row["spec"]["seed"]
    return seed % (2 if counts_with_luts(row) else 3) == 0


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
    delays = Delays(path=0, level=1, wide=0.5, add=0.2, greater=0.3, level_wires=0)
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
    return [1.0, level, path["wide"], path["add"], path["greater"], level * float(np.log2(1 + luts))]


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
    """How far the estimates of one family are from the tools, on ``networks`` that it was not calibrated on.

    ``counting_with_luts`` of them have sums as compiles make them today.
    """

    calibrated_on: int
    networks: int
    counting_with_luts: int
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
        sum(map(counts_with_luts, rows)),
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


def describe(results: Mapping[str, tuple[CostModel, Errors]]) -> str:
    """The page with the errors, as text."""
    lines = []
    for family, (_, errors) in results.items():
        fmax = "no free tool"
        if errors.median_fmax is not None:
            fmax = f"{errors.median_fmax:.1%} (worst {errors.worst_fmax:.0%})"
        luts = f"{errors.median_luts:.1%} (worst {errors.worst_luts:.0%})"
        tested = f"{errors.networks}, {errors.counting_with_luts} of them with today's sums"
        lines.append(f"| `{family}` | {errors.calibrated_on} | {tested} | {luts} | {fmax} |")
    return PAGE_TEXT.format(table="\n".join(lines))


PAGE_TEXT = """\
# How good the estimates are

`report.json` and the report page have estimates of area and clock frequency for some families of devices, made from the
graph in milliseconds, without any tool. What they are made of is written in `difflut_compiler/synth/estimate.py`; their
coefficients are fitted to what Yosys and nextpnr found for networks with random tables and wires: one to three layers,
15 to 720 LUTs of two to six inputs, two to ten classes, with a register per layer or without any.

`python benchmarks/cost_model.py fit` computes this table, and the coefficients, from the measurements in
`benchmarks/cost_model_measurements.json`. Errors are absolute and relative, on networks not used to calibrate.

| family | calibrated on | tested on | median error of LUTs | median error of Fmax |
|---|---|---|---|---|
{table}

Sums are counters made of LUTs today; in the earlier measurements they were made of small counters and adders, and for
`xilinx` none has been measured since. Fmax is the weaker estimate: where many LUTs of more inputs than the family's lie
behind one another, it can be half or twice the tool's.

Fmax of one network differs by several percent between seeds of the placer alone. Estimates are worst for networks of a
few dozen LUTs, and they know nothing of networks much larger than those above: `difflut synth` asks the tools.
"""


def fit() -> None:
    results = fit_all(read_measurements())
    MODELS.write_text(models_to_json({family: model for family, (model, _) in results.items()}))
    PAGE.write_text(describe(results))
    print(PAGE.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("measure", "fit"))
    {"measure": measure, "fit": fit}[parser.parse_args().command]()


if __name__ == "__main__":
    main()
