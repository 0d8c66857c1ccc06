"""What the tools found out about a network on a family of devices, as values and as JSON.

Everything here was counted or timed by the tool that is named with it. Estimates are elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_type_hints

from difflut_compiler.shapes import find_misfit

HARNESS = "harness"
INTERFACE = "interface"
"""The part that is no layer: what the top module itself adds to connect them."""


@dataclass(frozen=True)
class Area:
    """Cells of a synthesised netlist. ``luts`` counts places: those that carry cells take are among them."""

    luts: int = 0
    carry_cells: int = 0
    muxes: int = 0
    flip_flops: int = 0

    def __add__(self, other: Area) -> Area:
        return Area(
            self.luts + other.luts,
            self.carry_cells + other.carry_cells,
            self.muxes + other.muxes,
            self.flip_flops + other.flip_flops,
        )


@dataclass(frozen=True)
class PartArea:
    """The area of one part: a layer of the graph, ``interface`` or ``harness``."""

    part: str
    area: Area


@dataclass(frozen=True)
class Synthesis:
    """Area by part after synthesis. ``other_cells`` counts, by type, cells that are none of the area's resources."""

    tool: str
    version: str
    lut_inputs: int
    parts: tuple[PartArea, ...]
    other_cells: Mapping[str, int]
    seconds: float

    @property
    def network(self) -> Area:
        """All parts of the network; the harness, which only measures it, is not one."""
        return add(one.area for one in self.parts if one.part != HARNESS)

    @property
    def total(self) -> Area:
        return add(one.area for one in self.parts)


def add(areas: Iterable[Area]) -> Area:
    return sum(areas, Area())


@dataclass(frozen=True)
class Utilisation:
    """How many of a device's places of one kind are in use."""

    used: int
    available: int


@dataclass(frozen=True)
class PathStep:
    """A stretch of the critical path: the cells that compute one signal of the RTL, and the wires that lead to them."""

    part: str
    signal: str
    cells: int
    logic_ns: float
    routing_ns: float


@dataclass(frozen=True)
class PlaceAndRoute:
    """Timing and utilisation of the placed and routed design, harness included.

    ``fmax_mhz`` is for the paths from register to register, at the slowest corner that the tool knows. ``bitstream`` is
    the name of the file beside this result.
    """

    tool: str
    version: str
    device: str
    package: str
    seed: int
    requested_mhz: float
    fmax_mhz: float
    latency_ns: float
    utilisation: Mapping[str, Utilisation]
    critical_path: tuple[PathStep, ...]
    bitstream: str
    seconds: float


@dataclass(frozen=True)
class VendorFigures:
    """What a vendor's own tool reported after its place and route, harness included. Areas have LUTs and registers."""

    tool: str
    version: str
    device: str
    utilisation: Mapping[str, Utilisation]
    parts: tuple[PartArea, ...]
    fmax_mhz: float


@dataclass(frozen=True)
class SynthesisResult:
    """All that is known about a network on a family. ``not_placed`` says why there is no place and route, if so.

    ``vendor`` is there once the reports of a vendor's tool were read.
    """

    family: str
    top: str
    rtl_sha256: str
    latency_cycles: int
    synthesis: Synthesis
    place_and_route: PlaceAndRoute | None
    not_placed: str
    vendor: VendorFigures | None = None

    def to_json(self) -> str:
        data = asdict(self)
        data["synthesis"]["network"] = asdict(self.synthesis.network)
        data["synthesis"]["total"] = asdict(self.synthesis.total)
        return json.dumps(data, indent=2) + "\n"


def result_from_json(text: str) -> SynthesisResult:
    """Read what :meth:`SynthesisResult.to_json` wrote; raises ValueError on anything else."""
    data: dict[str, Any] = json.loads(text)
    written = {**get_type_hints(Synthesis), "network": Area, "total": Area}
    misfit = find_misfit(data, {**get_type_hints(SynthesisResult), "synthesis": written}) or _find_nothing_to_divide_by(
        data
    )
    if misfit is not None:
        raise ValueError(f"{misfit or 'its content'} is not what difflut synth writes")
    synthesis, placed, vendor = data.pop("synthesis"), data.pop("place_and_route"), data.pop("vendor")
    del synthesis["network"], synthesis["total"]
    return SynthesisResult(
        **data,
        synthesis=Synthesis(**_with_values(synthesis)),
        place_and_route=PlaceAndRoute(**_with_values(placed)) if placed else None,
        vendor=VendorFigures(**_with_values(vendor)) if vendor else None,
    )


def _find_nothing_to_divide_by(data: dict[str, Any]) -> str | None:
    """Frequencies and numbers of places are above zero."""
    for tool in ("place_and_route", "vendor"):
        figures = data[tool]
        if figures and figures["fmax_mhz"] <= 0:
            return f"{tool}.fmax_mhz"
        if figures and any(one["available"] <= 0 for one in figures["utilisation"].values()):
            return f"{tool}.utilisation"
    return None


def _with_values(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of a result with areas, utilisations and steps as values again."""
    makers: dict[str, Callable[[Any], Any]] = {
        "parts": lambda parts: tuple(PartArea(one["part"], Area(**one["area"])) for one in parts),
        "utilisation": lambda used: {kind: Utilisation(**one) for kind, one in used.items()},
        "critical_path": lambda steps: tuple(PathStep(**step) for step in steps),
    }
    return {name: makers[name](value) if name in makers else value for name, value in data.items()}
