"""Synthesis with Yosys for a family of devices, and the cells of the result by part of the network.

The hierarchy, one module per layer, is kept while Yosys synthesises and flattened afterwards: every cell of the netlist
then belongs to the layer whose name it carries, and the parts add up to the whole.

Comparators with constants become LUTs here. As carry chains they cost more at their ends than they save: the network of
``examples/digits.yaml`` then takes 4,482 places of LUTs on ECP5 instead of 3,397.

Tables are mapped as they stand where a rule for that is known. Compiled for LUTs of four inputs, the same network takes
2,866 places on ECP5 instead of 3,337, and 3,503 LUTs on iCE40 instead of 4,850: mapped anew, counters of bits become
wide LUTs to save a level, and a learned table of six inputs, in which there is nothing to find, more LUTs than the six
that any such table can be cut into. On AMD's families smaller tables than the LUT are mapped with all other logic.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difflut_compiler.costs.families import CUT_TABLES, NO_RESOURCE, Family, Resource
from difflut_compiler.emit import BuildPlan
from difflut_compiler.names import stage_name
from difflut_compiler.rtl_sources import read_commands, write_sources
from difflut_compiler.synth.harness import INSTANCE, harness_name, read_ports, write_harness
from difflut_compiler.synth.results import HARNESS, INTERFACE, Area, PartArea, Synthesis
from difflut_compiler.targets.templates import render
from difflut_compiler.tools import run_yosys, tool_version

SCRIPT = """
{reads}
hierarchy -check -top {top}
proc
opt_expr
{tables}
techmap -map +/cmp2softlogic.v
{synthesis}
flatten
opt_clean
write_json netlist.json
"""
TABLES_TO_LUTS = "wreduce t:$shiftx t:$shr\ntechmap -map cell_map.v t:$shiftx t:$shr"
NETLIST = "netlist.json"
HARNESS_FILE = "harness.v"


@dataclass(frozen=True)
class PartNames:
    """Which part of the network a cell or net of the flattened netlist belongs to, by its name."""

    part_of_instance: Mapping[str, str]

    @classmethod
    def of_layers(cls, layers: Sequence[str]) -> PartNames:
        return cls({f"{stage_name(layer)}_stage": layer for layer in layers})

    def __getitem__(self, name: str) -> str:
        instances = name.replace("\\", "").removeprefix("$flatten").split(".")[:-1]
        if not instances or instances[0] != INSTANCE:
            return HARNESS
        return next((self.part_of_instance[one] for one in instances if one in self.part_of_instance), INTERFACE)


def synthesise(plan: BuildPlan, layers: Sequence[str], family: Family, folder: Path) -> Synthesis:
    """Synthesise the network in its harness for ``family``; in ``folder`` are then ``NETLIST`` and ``HARNESS_FILE``."""
    start = time.perf_counter()
    sources = write_sources(plan, folder, plan.top)
    harness = harness_name(plan.top)
    (folder / HARNESS_FILE).write_text(write_harness(plan.top, read_ports(sources, plan.top, folder)))
    (folder / CUT_TABLES).write_text(render(f"synth/{CUT_TABLES}"))
    reads = read_commands((*sources, HARNESS_FILE))
    synthesis = family.synthesis.format(top=harness)
    run_yosys(SCRIPT.format(reads=reads, top=harness, tables=_map_tables(family), synthesis=synthesis), folder)
    cells = read_cells(folder / NETLIST, harness)
    parts, other = count_by_part(((name, cell["type"]) for name, cell in cells.items()), layers, family)
    seconds = round(time.perf_counter() - start, 1)
    return Synthesis("yosys", tool_version("yosys"), family.lut_inputs, parts, other, seconds)


def _map_tables(family: Family) -> str:
    """The commands that make LUTs of tables as they stand; none if the family has no rule for it."""
    if not family.table_map:
        return ""
    fewest, most = family.mapped_tables
    return f"{TABLES_TO_LUTS}\ntechmap {family.table_map} t:$lut r:WIDTH>={fewest} %i r:WIDTH<={most} %i"


def read_cells(netlist: Path, top: str) -> dict[str, Any]:
    """The cells of module ``top`` in a netlist that Yosys wrote as JSON, by name."""
    cells: dict[str, Any] = json.loads(netlist.read_text())["modules"][top]["cells"]
    return cells


def count_by_part(
    cells: Iterable[tuple[str, str]], layers: Sequence[str], family: Family
) -> tuple[tuple[PartArea, ...], dict[str, int]]:
    """Areas of the layers that have cells, of interface and harness; and the number of cells of unknown types.

    ``cells`` are pairs of a cell's name and its type.
    """
    names = PartNames.of_layers(layers)
    counts: Counter[tuple[str, Resource]] = Counter()
    other: Counter[str] = Counter()
    for name, kind in cells:
        resource = family.resource_of(kind)
        if resource is not None:
            counts[names[name], resource] += 1
        elif not NO_RESOURCE.fullmatch(kind):
            other[kind] += 1
    parts = [
        part for part in (*layers, INTERFACE, HARNESS) if any((part, resource) in counts for resource in family.cells)
    ]
    return tuple(PartArea(part, _area(part, counts, family)) for part in parts), dict(sorted(other.items()))


def _area(part: str, counts: Mapping[tuple[str, Resource], int], family: Family) -> Area:
    def number(resource: Resource) -> int:
        return counts.get((part, resource), 0)

    carry_cells = number("carry_cells")
    luts = number("luts") + family.luts_per_carry_cell * carry_cells
    return Area(luts, carry_cells, number("muxes"), number("flip_flops"))


TOOLS_SUFFIX = re.compile(r"(\$|_[A-Z]).*")
"""What tools put behind the name of a signal to name the cells around it: ``sum5_q_TRELLIS_FF_Q_DI_LUT4_Z``."""


def signal_of(name: str) -> str:
    """The signal of the RTL after which the tools named a cell or net; empty if they made the name up."""
    return TOOLS_SUFFIX.sub("", name.rsplit(".", maxsplit=1)[-1])


def register_signals(netlist: Path, top: str, family: Family) -> dict[str, str]:
    """For each register of module ``top`` of a netlist, by its cell's name, the bit of the RTL that it holds."""
    module = json.loads(netlist.read_text())["modules"][top]
    name_of_bit: dict[int, str] = {}
    for name, net in module["netnames"].items():
        local = name.split(".")[-1]
        if signal_of(local) == local:
            single = len(net["bits"]) == 1
            for place, bit in enumerate(net["bits"]):
                name_of_bit.setdefault(bit, local if single else f"{local}[{place}]")
    return {
        name: name_of_bit[cell["connections"]["Q"][0]]
        for name, cell in module["cells"].items()
        if family.resource_of(cell["type"]) == "flip_flops" and cell["connections"]["Q"][0] in name_of_bit
    }
