"""What a synthesiser makes of the emitted hardware: cell counts by Yosys, for 6-input LUTs."""

from __future__ import annotations

import json
from pathlib import Path

from difflut_compiler.emit import BuildPlan
from difflut_compiler.figures import SynthesisCount
from difflut_compiler.rtl_sources import read_commands, write_sources
from difflut_compiler.tools import run_yosys

SCRIPT = """
{read}
hierarchy -check -top {top}
proc
flatten
opt_clean
wreduce
techmap -map cell_map.v
opt_expr
opt_clean
techmap t:* t:$lut r:WIDTH=6 %i %d
opt -fast
abc -lut 6 -script +strash;if,-K,6,-a;mfs2
opt_clean -purge
tee -q -o stat.json stat -json
"""


def count_cells(plan: BuildPlan, folder: Path) -> SynthesisCount:
    """Synthesise the whole design with Yosys and ABC. Generic: no carry chains, no vendor cells.

    Tables of six inputs are LUTs; all other logic, smaller tables included, goes through ABC, so that what it can save
    there is counted too.
    """
    run_yosys(SCRIPT.format(read=read_commands(write_sources(plan, folder, plan.top)), top=plan.top), folder)
    cells: dict[str, int] = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    flip_flops = sum(count for kind, count in cells.items() if "DFF" in kind.upper())
    return SynthesisCount(cells.get("$lut", 0), flip_flops)
