"""The result of a synthesis as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from difflut_compiler.costs.families import FAMILIES
from difflut_compiler.synth.results import Area, PlaceAndRoute, SynthesisResult, VendorFigures


def print_synthesis(result: SynthesisResult, console: Console) -> None:
    """Area by part; below it what place and route found, or why there is none."""
    console.print(_area_table(result))
    if result.vendor is not None:
        console.print(_vendor_table(result, result.vendor))
        return
    if result.place_and_route is None:
        console.print(f"not placed and routed: {result.not_placed}", markup=False)
        return
    console.print(_timing_lines(result, result.place_and_route), markup=False)
    console.print(_path_table(result.place_and_route))


def _area_table(result: SynthesisResult) -> Table:
    synthesis, family = result.synthesis, FAMILIES[result.family]
    table = Table(title=f"{result.top} on {family.title}, cells after Yosys", title_justify="left", box=None)
    table.add_column("part")
    for heading in (f"LUT-{synthesis.lut_inputs}", "carry", "muxes", "registers"):
        table.add_column(heading, justify="right")
    for one in synthesis.parts:
        table.add_row(one.part, *_numbers(one.area))
    table.add_row("network, all parts but the harness", *_numbers(synthesis.network), style="bold")
    for kind, count in synthesis.other_cells.items():
        table.add_row(f"other cells: {kind}", str(count))
    return table


def _vendor_table(result: SynthesisResult, vendor: VendorFigures) -> Table:
    title = f"{result.top} on {vendor.device} by {vendor.tool} {vendor.version}: {vendor.fmax_mhz:.1f} MHz"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("part")
    for heading in ("LUTs", "registers"):
        table.add_column(heading, justify="right")
    for one in vendor.parts:
        table.add_row(one.part, f"{one.area.luts:,}", f"{one.area.flip_flops:,}")
    return table


def _numbers(area: Area) -> list[str]:
    return [f"{number:,}" for number in (area.luts, area.carry_cells, area.muxes, area.flip_flops)]


def _timing_lines(result: SynthesisResult, placed: PlaceAndRoute) -> str:
    used = ", ".join(f"{kind} {one.used:,} of {one.available:,}" for kind, one in placed.utilisation.items())
    cycles = f"{result.latency_cycles} cycles" if result.latency_cycles else "combinational between registers"
    return (
        f"placed and routed on {placed.device} {placed.package}: {placed.fmax_mhz:.1f} MHz, "
        f"latency {placed.latency_ns:.1f} ns ({cycles})\nused, with the harness: {used}\ncritical path:"
    )


def _path_table(placed: PlaceAndRoute) -> Table:
    table = Table(box=None)
    for heading, justify in (
        ("part", "left"),
        ("signal", "left"),
        ("cells", "right"),
        ("logic ns", "right"),
        ("routing ns", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for step in placed.critical_path:
        table.add_row(step.part, step.signal, str(step.cells), f"{step.logic_ns:.2f}", f"{step.routing_ns:.2f}")
    return table
