"""The FPGA families: how Yosys synthesises for each, what its cells are, and which tool places and routes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Resource = Literal["luts", "carry_cells", "muxes", "flip_flops"]
Vendor = Literal["vivado", "quartus"]

NO_RESOURCE = re.compile(r"\$scopeinfo|GND|VCC")
"""Cells that take no place on a device."""
CUT_TABLES = "cut_tables.v"
"""The rule that cuts tables of more than four inputs, for families that cannot join LUTs to wider ones."""


@dataclass(frozen=True)
class Nextpnr:
    """How nextpnr and the bitstream packer of a family are called.

    ``devices`` are the names that ``--device`` takes, each with a package that exists for it; the first is the default.
    ``fixed_options`` choose what is no choice of the user, ``speed`` says which devices the timing holds for, and
    ``logic_cell`` is the name of a LUT's place in the report of utilisation.
    """

    tool: str
    packer: str
    devices: dict[str, str]
    fixed_options: tuple[str, ...]
    speed: str
    configuration_option: str
    logic_cell: str


@dataclass(frozen=True)
class Family:
    """A family of devices. ``cells`` says, as regular expressions, which of Yosys' cells are which resource.

    ``luts_per_carry_cell`` is how many LUT places a carry cell takes by itself. ``table_map`` are options of Yosys'
    ``techmap`` that turn a table into LUTs as it stands, and ``mapped_tables`` says how few and how many inputs such
    tables have; without, Yosys finds LUTs for all logic anew. ``shortest_carry_chain`` is the number of bits from which
    on Yosys makes a carry chain of a comparison, and not LUTs.
    """

    name: str
    title: str
    synthesis: str
    lut_inputs: int
    cells: dict[Resource, str]
    luts_per_carry_cell: int = 0
    shortest_carry_chain: int = 3
    table_map: str = ""
    mapped_tables: tuple[int, int] = (1, 6)
    nextpnr: Nextpnr | None = None
    vendor: Vendor | None = None
    vendor_part: str = ""
    _patterns: dict[Resource, re.Pattern[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = {resource: re.compile(pattern) for resource, pattern in self.cells.items()}
        object.__setattr__(self, "_patterns", compiled)

    def resource_of(self, cell: str) -> Resource | None:
        """The resource that a cell of this type is; None if it is none that this family's table knows."""
        return next((resource for resource, pattern in self._patterns.items() if pattern.fullmatch(cell)), None)


_XILINX_CELLS: dict[Resource, str] = {
    "luts": r"LUT[1-6]|INV|SRL16E|SRLC32E",
    "carry_cells": "CARRY4|CARRY8",
    "muxes": "MUXF[789]",
    "flip_flops": "FD[RSCP]E",
}

_XILINX_TABLE_MAP = "-D LUT_WIDTH=6 -map +/xilinx/lut_map.v"

_ALL = (
    Family(
        name="ecp5",
        title="Lattice ECP5",
        synthesis="synth_ecp5 -noflatten -top {top}",
        lut_inputs=4,
        cells={"luts": "LUT4", "carry_cells": "CCU2C", "muxes": "PFUMX|L6MUX21", "flip_flops": "TRELLIS_FF"},
        luts_per_carry_cell=2,
        shortest_carry_chain=5,
        table_map="-map +/lattice/cells_map_trellis.v",
        nextpnr=Nextpnr(
            tool="nextpnr-ecp5",
            packer="ecppack",
            devices={"85k": "CABGA756", "45k": "CABGA554", "25k": "CABGA381", "12k": "CABGA381"},
            fixed_options=("--lpf-allow-unconstrained", "--speed", "6"),
            speed="speed grade 6",
            configuration_option="--textcfg",
            logic_cell="TRELLIS_COMB",
        ),
    ),
    Family(
        name="ice40",
        title="Lattice iCE40",
        synthesis="synth_ice40 -noflatten -top {top}",
        lut_inputs=4,
        cells={"luts": "SB_LUT4", "carry_cells": "SB_CARRY", "flip_flops": r"SB_DFF\w*"},
        table_map=f"-map {CUT_TABLES} -map +/ice40/cells_map.v",
        nextpnr=Nextpnr(
            tool="nextpnr-ice40",
            packer="icepack",
            devices={"hx8k": "ct256", "hx4k": "tq144", "hx1k": "tq144", "up5k": "sg48"},
            fixed_options=("--pcf-allow-unconstrained",),
            speed="slowest corner",
            configuration_option="--asc",
            logic_cell="ICESTORM_LC",
        ),
    ),
    Family(
        name="xilinx",
        title="AMD 7 series",
        synthesis="synth_xilinx -family xc7 -noiopad -noclkbuf -top {top}",
        lut_inputs=6,
        cells=_XILINX_CELLS,
        table_map=_XILINX_TABLE_MAP,
        mapped_tables=(6, 6),
        vendor="vivado",
        vendor_part="xc7a100tcsg324-1",
    ),
    Family(
        name="xilinxultrascale",
        title="AMD UltraScale+",
        synthesis="synth_xilinx -family xcup -noiopad -noclkbuf -top {top}",
        lut_inputs=6,
        cells=_XILINX_CELLS,
        table_map=_XILINX_TABLE_MAP,
        mapped_tables=(6, 6),
        vendor="vivado",
        vendor_part="xcvu9p-flga2104-2-i",
    ),
    Family(
        name="gowin",
        title="Gowin GW1N",
        synthesis="synth_gowin -noflatten -noiopads -top {top}",
        lut_inputs=4,
        cells={"luts": "LUT[1-4]", "carry_cells": "ALU", "muxes": "MUX2_LUT[5-8]", "flip_flops": r"DFF\w*"},
        luts_per_carry_cell=1,
        table_map="-map +/gowin/cells_map.v",
    ),
    Family(
        name="intel",
        title="Intel Cyclone V",
        synthesis="synth_intel_alm -noflatten -noiopad -noclkbuf -top {top}",
        lut_inputs=6,
        cells={
            "luts": "MISTRAL_ALUT[2-6]|MISTRAL_NOT|MISTRAL_BUF",
            "carry_cells": "MISTRAL_ALUT_ARITH",
            "flip_flops": "MISTRAL_FF",
        },
        luts_per_carry_cell=1,
        vendor="quartus",
        vendor_part="5CGXFC7C7F23C8",
    ),
)
FAMILIES = {family.name: family for family in _ALL}
"""Families of devices by name."""
