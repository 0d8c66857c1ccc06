"""One table about trained networks in silicon: accuracy, LUT-6 by part, depth, and what ECP5 makes of them.

    python benchmarks/silicon_table.py small.pth medium.pth large.pth --data mnist.npz -o build/silicon

Every network is compiled and proven for each pipeline setting, synthesised for AMD 7 series (LUT-6 by part, with the
first setting) and placed and routed on ECP5. The output folder keeps all results with their report pages, and the
figures of the table in ``table.json``; what is there for the same model file is not made again. LUTs are those of the
whole network, encoder, sums and argmax included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

AREA_FAMILY, TIMING_FAMILY = "xilinx", "ecp5"
COMMAND = [sys.executable, "-m", "difflut_compiler"]
FIGURES = "table.json"


@dataclass(frozen=True)
class Timing:
    """What one pipeline setting reaches on ECP5."""

    pipeline: str
    fmax_mhz: float
    latency_cycles: int
    latency_ns: float


@dataclass(frozen=True)
class Row:
    """One network."""

    name: str
    accuracy: float
    samples: int
    proven: bool
    luts_by_part: dict[str, int]
    depth: int
    timings: tuple[Timing, ...]


def difflut(*arguments: str | Path) -> None:
    subprocess.run([*COMMAND, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def measure(model: Path, data: str, pipelines: Sequence[str], out: Path) -> Row:
    """Compile and synthesise one network, as far as it was not done before."""
    timings = []
    for pipeline in pipelines:
        folder = out / f"{model.stem}_{pipeline}"
        if not is_of_model(folder, model):
            options = ("--pipeline", pipeline, "--data", data, "--no-count-luts")
            difflut("compile", model, "-t", "verilog", "-o", folder, *options)
        result = synthesis(folder, TIMING_FAMILY)
        placed = result["place_and_route"]
        if placed is None:
            raise SystemExit(f"{model} was not placed and routed: {result['not_placed']}")
        timings.append(Timing(pipeline, placed["fmax_mhz"], result["latency_cycles"], placed["latency_ns"]))
    first = out / f"{model.stem}_{pipelines[0]}"
    report, certificate = read(first / "report.json"), read(first / "certificate.json")
    parts = synthesis(first, AREA_FAMILY)["synthesis"]["parts"]
    return Row(
        name=model.stem,
        accuracy=report["accuracy"]["graph"],
        samples=report["accuracy"]["samples"],
        proven=all(rung["status"] == "passed" for rung in certificate["rungs"]),
        luts_by_part={one["part"]: one["area"]["luts"] for one in parts if one["part"] != "harness"},
        depth=report["optimised"]["levels"],
        timings=tuple(timings),
    )


def is_of_model(folder: Path, model: Path) -> bool:
    """Whether a folder holds a finished compile of this very model file."""
    certificate = folder / "certificate.json"
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    return certificate.is_file() and bool(read(certificate)["model_sha256"] == digest)


def synthesis(folder: Path, family: str) -> Any:
    path = folder / "synth" / family / "result.json"
    if not path.is_file():
        difflut("synth", folder, "--family", family)
    return read(path)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown; LUT layers are added up."""
    pipelines = [timing.pipeline for timing in rows[0].timings]
    headings = ["network", "accuracy", "encoder", "LUT layers", "sums", "argmax", "other", "LUT-6 in total", "depth"]
    headings += [f"ECP5, pipeline {pipeline}" for pipeline in pipelines]
    lines = [headings, ["---"] * len(headings)]
    for row in rows:
        known = {part: row.luts_by_part.get(part, 0) for part in ("encoder", "class_counts", "argmax")}
        layers = sum(luts for part, luts in row.luts_by_part.items() if part.startswith("layers."))
        total = sum(row.luts_by_part.values())
        other = total - layers - sum(known.values())
        figures = [known["encoder"], layers, known["class_counts"], known["argmax"], other, total]
        timings = [
            f"{timing.fmax_mhz:.0f} MHz, {timing.latency_ns:.0f} ns ({timing.latency_cycles} cycles)"
            for timing in row.timings
        ]
        accuracy = f"{row.accuracy:.2%}{'' if row.proven else ' (not all checks passed)'}"
        lines.append([row.name, accuracy, *(f"{figure:,}" for figure in figures), str(row.depth), *timings])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="trained model files, of different names")
    parser.add_argument("--data", required=True, help="test data: digits, or an .npz or .csv file")
    parser.add_argument("--pipelines", nargs="+", default=["layers", "12"], help="pipeline settings to compare")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/silicon"))
    arguments = parser.parse_args()
    names = [model.stem for model in arguments.models]
    if len(set(names)) != len(names):
        raise SystemExit("the model files must have different names, which become the names in the table")
    rows = [measure(model, arguments.data, arguments.pipelines, arguments.output) for model in arguments.models]
    (arguments.output / FIGURES).write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
