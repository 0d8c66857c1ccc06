"""For who owns Vivado or Quartus: a project that builds with one command, and readers of the reports it leaves.

The projects build the network in the same harness as everything else here, out of context: no pins, and every path lies
between registers. The readers know the text reports of Vivado 2019 to 2024 and of Quartus Prime 18 to 23.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from difflut_compiler.costs.families import Family
from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError
from difflut_compiler.synth.harness import harness_name
from difflut_compiler.synth.netlist import PartNames
from difflut_compiler.synth.results import HARNESS, Area, PartArea, Utilisation, VendorFigures, add
from difflut_compiler.targets.templates import render

SCRIPT = "build.tcl"
CONSTRAINTS = {"vivado": "constraints.xdc", "quartus": "constraints.sdc"}
REPORTS = "reports"


def write_project(plan: BuildPlan, family: Family, harness: str, frequency_mhz: float) -> dict[str, str]:
    """The files of a project for the family's vendor tool; ``harness`` is the text of the harness."""
    assert family.vendor is not None
    top = harness_name(plan.top)
    files = {**plan.files, f"{top}.v": harness}
    settings = {
        "top": top,
        "family": family.name,
        "part": family.vendor_part,
        "sources": list(files),
        "period_ns": f"{1000 / frequency_mhz:.3f}",
    }
    for name in (SCRIPT, CONSTRAINTS[family.vendor]):
        files[name] = render(f"{family.vendor}/{name}.j2", **settings)
    return files


def read_reports(family: Family, folder: Path, top: str, layers: Sequence[str]) -> VendorFigures:
    """What the vendor tool reported in ``folder``; raises :class:`CompilerError` for a missing or strange report."""
    if family.vendor is None:
        raise CompilerError(f"there is no vendor project for {family.title}, so there are no reports to read")
    names = PartNames.of_layers(layers)
    if family.vendor == "vivado":
        return _read_vivado(folder, names)
    return _read_quartus(folder, harness_name(top), names)


def _read(path: Path) -> str:
    if not path.is_file():
        raise CompilerError(f"there is no report {path}; run {SCRIPT} with the vendor's tool first, in its folder")
    return path.read_text(errors="replace")


def _find(pattern: str, text: str, what: str) -> re.Match[str]:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise CompilerError(f"the vendor tool's report holds no {what}; is it a report of a finished run?")
    return found


def _tables(text: str, bar: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Headings and rows of every table in a report; the first cell keeps its indentation."""
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith(bar) and line.count(bar) > 2:
            first, *others = line.strip().strip(bar).split(bar)
            rows.append([first.rstrip(), *(cell.strip() for cell in others)])
        elif rows and not line.startswith("+"):
            yield [cell.strip() for cell in rows[0]], rows[1:]
            rows = []


def _number(text: str) -> int:
    """The first number of a cell: ``1,161``, or ``12.5 (3.0)`` of an entity and what it holds itself, rounded."""
    return round(float(_find(r"[\d,.]+", text, f"number in {text!r}")[0].replace(",", "")))


# -- Vivado ------------------------------------------------------------------------------------------------------------


def _read_vivado(folder: Path, names: PartNames) -> VendorFigures:
    utilization, timing = _read(folder / "utilization.rpt"), _read(folder / "timing.rpt")
    slack_ns = float(_find(r"^\s*WNS\(ns\).*\n[\s-]*\n\s*(-?\d+\.\d+)", timing, "worst slack")[1])
    period_ns = float(_find(r"^clk\s+\{[^}]*\}\s+(\d+\.\d+)", timing, "period of clk")[1])
    return VendorFigures(
        tool="vivado",
        version=_find(r"Tool Version\s*:\s*Vivado v\.(\S+)", utilization, "version")[1],
        device=_find(r"Device\s*:\s*(\S+)", utilization, "device")[1],
        utilisation=_vivado_utilisation(utilization),
        parts=_parts(_vivado_instances(_read(folder / "hierarchy.rpt")), names),
        fmax_mhz=round(1000 / (period_ns - slack_ns), 2),
    )


def _vivado_utilisation(text: str) -> dict[str, Utilisation]:
    """Places in use, by Vivado's names of them."""
    found: dict[str, Utilisation] = {}
    for headings, rows in _tables(text, "|"):
        if "Site Type" in headings and "Available" in headings:
            used, available = headings.index("Used"), headings.index("Available")
            for row in rows:
                if row[used].isdigit() and row[available].isdigit() and int(row[used]):
                    name = row[0].strip().rstrip("*")
                    found.setdefault(name, Utilisation(int(row[used]), int(row[available])))
    if not found:
        raise CompilerError("the vendor tool's report holds no utilisation; is it a report of a finished run?")
    return found


def _vivado_instances(text: str) -> Iterator[tuple[list[str], Area]]:
    """Path and area of every instance; indentation by two blanks is the depth."""
    for headings, rows in _tables(text, "|"):
        if "Instance" in headings and "Total LUTs" in headings:
            luts, registers = headings.index("Total LUTs"), headings.index("FFs")
            path: list[str] = []
            for row in rows:
                name, depth = row[0].strip(), (len(row[0]) - len(row[0].lstrip()) - 1) // 2
                if not name.startswith("("):  # what an instance holds itself, which is the rest
                    path = [*path[:depth], name]
                    yield list(path), Area(luts=_number(row[luts]), flip_flops=_number(row[registers]))


# -- Quartus -----------------------------------------------------------------------------------------------------------


def _read_quartus(folder: Path, project: str, names: PartNames) -> VendorFigures:
    summary, fitter = _read(folder / f"{project}.fit.summary"), _read(folder / f"{project}.fit.rpt")
    timing = _read(folder / f"{project}.sta.rpt")
    fmax = re.findall(r"^; Slow .* Fmax Summary\s*;\n(?:\+.*\n|;.*Fmax.*\n)+; ([\d.]+) MHz", timing, re.MULTILINE)
    if not fmax:
        raise CompilerError("the vendor tool's report holds no Fmax summary; is it a report of a finished run?")
    return VendorFigures(
        tool="quartus",
        version=_find(r"^Quartus Prime Version : (\S+)", summary, "version")[1],
        device=_find(r"^Device : (\S+)", summary, "device")[1],
        utilisation={
            kind: Utilisation(_number(used), _number(available))
            for kind, used, available in re.findall(r"^([^:\n]+) : ([\d,]+) / ([\d,]+)", summary, re.MULTILINE)
            if _number(used)
        },
        parts=_parts(_quartus_entities(fitter), names),
        fmax_mhz=min(float(one) for one in fmax),
    )


def _quartus_entities(text: str) -> Iterator[tuple[list[str], Area]]:
    """Path and area of every entity: ``|network:dut|``, indented by three blanks per level."""
    for headings, rows in _tables(text, ";"):
        if "Compilation Hierarchy Node" in headings and "Combinational ALUTs" in headings:
            luts, registers = headings.index("Combinational ALUTs"), headings.index("Dedicated Logic Registers")
            path: list[str] = []
            for row in rows:
                name, depth = row[0].strip().strip("|"), (len(row[0]) - len(row[0].lstrip()) - 1) // 3
                path = [*path[:depth], name.split(":")[-1]]
                yield list(path), Area(luts=_number(row[luts]), flip_flops=_number(row[registers]))


def _parts(instances: Iterator[tuple[list[str], Area]], names: PartNames) -> tuple[PartArea, ...]:
    """Areas by part: each layer's instance whole, and what is in none of them as interface and harness."""
    total, network = Area(), Area()
    areas: dict[str, Area] = {}
    for path, area in instances:
        if len(path) == 1:
            total = area
        elif len(path) == 2:
            network = area
        elif path[-1] in names.part_of_instance:
            areas[names.part_of_instance[path[-1]]] = area
    if not areas:
        raise CompilerError("the vendor tool's report holds no layer of the network; was its hierarchy kept?")
    known = add(areas.values())
    rest = {"interface": _minus(network, known), HARNESS: _minus(total, network)}
    return tuple(PartArea(part, area) for part, area in [*areas.items(), *rest.items()] if area != Area())


def _minus(whole: Area, part: Area) -> Area:
    return Area(luts=whole.luts - part.luts, flip_flops=whole.flip_flops - part.flip_flops)
