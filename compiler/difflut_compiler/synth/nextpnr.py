"""Real place and route with nextpnr: utilisation, the highest clock frequency, the critical path, a bitstream."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from difflut_compiler.costs.families import Family, Nextpnr
from difflut_compiler.errors import CompilerError
from difflut_compiler.synth.harness import harness_name
from difflut_compiler.synth.netlist import NETLIST, PartNames, register_signals, signal_of
from difflut_compiler.synth.results import PathStep, PlaceAndRoute, Utilisation
from difflut_compiler.tools import NEXTPNR_PACKAGES, require_tool, run_tool, tool_version

REPORT = "nextpnr.json"
CONFIGURATION = "configuration.txt"


def place_and_route(
    family: Family,
    layers: Sequence[str],
    folder: Path,
    *,
    top: str,
    latency_cycles: int,
    device: str,
    seed: int,
    requested_mhz: float,
) -> PlaceAndRoute:
    """Place and route the netlist in ``folder`` and write its bitstream there.

    Raises :class:`CompilerError` if the design does not fit the device, :class:`ToolMissingError` without nextpnr. A
    ``requested_mhz`` that is not reached is no error: it only tells the tool how hard to try.
    """
    start = time.perf_counter()
    tool = family.nextpnr
    assert tool is not None
    require_tool(tool.tool)
    package = tool.devices[device]
    options = [
        f"--{device}",
        "--package",
        package,
        *tool.fixed_options,
        "--seed",
        str(seed),
        "--freq",
        f"{requested_mhz:g}",
    ]
    files = ["--json", NETLIST, "--report", REPORT, tool.configuration_option, CONFIGURATION]
    _run_webassembly(tool, tool.tool, [*options, "--timing-allow-fail", *files], folder)
    bitstream = f"{top}_{family.name}.bit"
    _run_webassembly(tool, tool.packer, [CONFIGURATION, bitstream], folder)
    report = json.loads((folder / REPORT).read_text())
    registers = register_signals(folder / NETLIST, harness_name(top), family)
    fmax_mhz = min(clock["achieved"] for clock in report["fmax"].values())
    return PlaceAndRoute(
        tool="nextpnr",
        version=tool_version(tool.tool),
        device=device,
        package=package,
        seed=seed,
        requested_mhz=requested_mhz,
        fmax_mhz=round(fmax_mhz, 2),
        latency_ns=round(max(1, latency_cycles) * 1000 / fmax_mhz, 2),
        utilisation=read_utilisation(report),
        critical_path=tuple(read_critical_path(report, PartNames.of_layers(layers), registers)),
        bitstream=bitstream,
        seconds=round(time.perf_counter() - start, 1),
    )


def _run_webassembly(tool: Nextpnr, program: str, arguments: Sequence[str], folder: Path) -> None:
    """Run a program of nextpnr's package, which is WebAssembly and started through Python."""
    package = NEXTPNR_PACKAGES[tool.tool]
    function = f"run_{program.replace('-', '_')}"
    start = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
    run_tool(program, [sys.executable, "-c", start, *arguments], folder, log=folder / f"{program}.log")


def read_utilisation(report: dict[str, Any]) -> dict[str, Utilisation]:
    """What is used of the device, by the tool's names of its kinds of places."""
    return {
        kind: Utilisation(one["used"], one["available"])
        for kind, one in sorted(report["utilization"].items())
        if one["used"]
    }


def read_critical_path(report: dict[str, Any], parts: PartNames, registers: Mapping[str, str]) -> Iterator[PathStep]:
    """The slowest path from register to register, in stretches of cells that were named after one signal of the RTL.

    ``registers`` says which bit of the RTL a register holds. Between registers the tools keep few of our names: logic
    without one counts as part of the signal that it leads to.
    """
    paths = [path["path"] for path in report["critical_paths"] if path["from"] == path["to"] != "<async>"]
    if not paths:
        raise CompilerError("nextpnr reported no path from register to register; this is a bug")
    slowest = max(paths, key=lambda path: sum(step["delay"] for step in path))
    place = ("", "")
    places = []
    for step in slowest:
        cell = step["to"]["cell"]
        if signal_of(cell):
            place = (parts[cell], registers.get(cell, signal_of(cell)))
        places.append(place)
    for (part, signal), group in groupby(zip(places, slowest, strict=True), key=lambda pair: pair[0]):
        steps = [step for _, step in group]
        routing_ns = sum(step["delay"] for step in steps if step["type"] == "routing")
        logic_ns = sum(step["delay"] for step in steps if step["type"] != "routing")
        cells = len({step["to"]["cell"] for step in steps})
        yield PathStep(part, signal, cells, round(logic_ns, 3), round(routing_ns, 3))
