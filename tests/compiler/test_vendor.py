"""Vivado and Quartus: the projects name what they hold, and reports in the tools' own format are read back."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path

import pytest

from difflut_compiler.compiled import load_compiled
from difflut_compiler.errors import CompilerError
from difflut_compiler.synth import FAMILIES
from difflut_compiler.synth.results import Area, PartArea, Utilisation, VendorFigures
from difflut_compiler.synth.vendor import read_reports, write_project
from tests.compiler.designs import make_design
from tests.compiler.needs import need
from tests.compiler.test_compile import refused, run
from tests.compiler.test_synth import compiled_folder, out

__all__ = ["compiled_folder", "out"]

LAYERS = ("input", "encoder", "layers.0", "class_counts", "argmax", "output")
WITH_VENDOR = [name for name, family in FAMILIES.items() if family.vendor]

SAMPLES = Path(__file__).with_name("vendor_reports")
"""Reports as the tools write them, of one imagined run each: no vendor tool was there to run."""
VIVADO_REPORTS = {path.name: path.read_text() for path in sorted((SAMPLES / "vivado").iterdir())}
QUARTUS_REPORTS = {path.name: path.read_text() for path in sorted((SAMPLES / "quartus").iterdir())}
PARTS = {
    PartArea("encoder", Area(luts=179, flip_flops=177)),
    PartArea("layers.0", Area(luts=400, flip_flops=400)),
    PartArea("class_counts", Area(luts=470, flip_flops=60)),
    PartArea("argmax", Area(luts=96, flip_flops=4)),
    PartArea("interface", Area(luts=2, flip_flops=4)),
    PartArea("harness", Area(luts=4, flip_flops=328)),
}


def write_reports(folder: Path, reports: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in reports.items():
        (folder / name).write_text(text)
    return folder


def test_reports_of_vivado_are_read(tmp_path: Path) -> None:
    figures = read_reports(FAMILIES["xilinx"], write_reports(tmp_path, VIVADO_REPORTS), "net", LAYERS)
    assert (figures.tool, figures.version, figures.device) == ("vivado", "2023.2", "xc7a100tcsg324-1")
    assert figures.utilisation == {
        "Slice LUTs": Utilisation(1151, 63400),
        "LUT as Logic": Utilisation(1151, 63400),
        "Slice Registers": Utilisation(973, 126800),
        "Register as Flip Flop": Utilisation(973, 126800),
        "F7 Muxes": Utilisation(12, 31700),
    }
    assert set(figures.parts) == PARTS
    assert figures.fmax_mhz == 160.0  # 5 ns, missed by 1.25 ns


def test_reports_of_quartus_are_read(tmp_path: Path) -> None:
    figures = read_reports(FAMILIES["intel"], write_reports(tmp_path, QUARTUS_REPORTS), "net", LAYERS)
    assert (figures.tool, figures.version, figures.device) == ("quartus", "22.1std.2", "5CGXFC7C7F23C8")
    assert figures.utilisation == {
        "Logic utilization (in ALMs)": Utilisation(646, 56480),
        "Total pins": Utilisation(1, 268),
    }
    assert set(figures.parts) == PARTS
    assert figures.fmax_mhz == 149.3, "the slower of the two corners"


@pytest.mark.parametrize(
    ("family", "reports", "name", "pattern"),
    [
        ("xilinx", VIVADO_REPORTS, "timing.rpt", r"-1\.250"),
        ("xilinx", VIVADO_REPORTS, "timing.rpt", r"^clk .*5\.000.*$"),
        ("xilinx", VIVADO_REPORTS, "utilization.rpt", r"Site Type"),
        ("xilinx", VIVADO_REPORTS, "hierarchy.rpt", r"_stage"),
        ("intel", QUARTUS_REPORTS, "net_harness.sta.rpt", r"Fmax Summary"),
        ("intel", QUARTUS_REPORTS, "net_harness.fit.rpt", r"Combinational ALUTs"),
        ("intel", QUARTUS_REPORTS, "net_harness.fit.summary", r"Device : "),
    ],
)
def test_a_report_without_its_figures_is_refused(
    family: str, reports: dict[str, str], name: str, pattern: str, tmp_path: Path
) -> None:
    cut = re.sub(pattern, "nothing", reports[name], flags=re.MULTILINE)
    assert cut != reports[name]
    write_reports(tmp_path, {**reports, name: cut})
    with pytest.raises(CompilerError, match="the vendor tool's report holds no"):
        read_reports(FAMILIES[family], tmp_path, "net", LAYERS)


@pytest.mark.parametrize("target", ["verilog", "vhdl"])
@pytest.mark.parametrize("family", WITH_VENDOR)
def test_a_project_names_every_file_and_constrains_the_clock(family: str, target: str) -> None:
    plan = make_design(target=target).plan
    files = write_project(plan, FAMILIES[family], "module net_harness; endmodule\n", 250.0)
    script = files["build.tcl"]
    for name in (*plan.files, "net_harness.v"):
        assert script.index(name) >= 0
    positions = [script.index(f" {name}\n") for name in (*plan.files, "net_harness.v")]
    assert positions == sorted(positions), "files stand in the order in which they must be read"
    assert FAMILIES[family].vendor_part in script
    (constraints,) = (text for name, text in files.items() if name.startswith("constraints"))
    assert "create_clock -name clk -period 4.000 [get_ports clk]" in constraints


FLOW = {
    "vivado": [
        *("file", "read_verilog", "read_xdc", "synth_design", "opt_design", "place_design", "phys_opt_design"),
        *("route_design", "report_utilization", "report_timing_summary", "write_checkpoint"),
    ],
    "quartus": [
        *("load_package", "project_new", "set_global_assignment", "set_instance_assignment"),
        *("execute_flow", "project_close"),
    ],
}


@pytest.mark.parametrize("family", WITH_VENDOR)
def test_the_scripts_call_the_steps_of_the_flow_in_order(family: str) -> None:
    vendor = FAMILIES[family].vendor
    assert vendor is not None
    script = write_project(make_design().plan, FAMILIES[family], "", 200.0)["build.tcl"]
    lines = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert [command for command, _ in groupby(line.split()[0] for line in lines)] == FLOW[vendor]
    for line in lines:
        assert all(line.count(left) == line.count(right) for left, right in ("{}", "[]"))
        assert line.count('"') % 2 == 0
        assert "{{" not in line


def test_reports_in_the_project_join_the_result(out: Path) -> None:
    need("yosys")
    assert "there is no project for AMD 7 series yet" in refused(2, "synth", out, "-f", "xilinx", "--read-reports")
    assert run("synth", out, "--family", "xilinx")[0] == 0
    project = out / "synth" / "xilinx" / "vivado"
    assert "run build.tcl with the vendor's tool first" in refused(2, "synth", out, "-f", "xilinx", "--read-reports")
    write_reports(project / "reports", VIVADO_REPORTS)
    code, output, error = run("synth", out, "--family", "xilinx", "--read-reports")
    assert code == 0, error
    assert "160.0 MHz" in output
    vendor = json.loads((out / "synth" / "xilinx" / "result.json").read_text())["vendor"]
    figures = read_reports(FAMILIES["xilinx"], project / "reports", "tiny", load_compiled(out).graph.layers)
    assert isinstance(figures, VendorFigures)
    assert vendor["fmax_mhz"] == figures.fmax_mhz
    assert vendor["parts"] == [{"part": one.part, "area": vars(one.area)} for one in figures.parts]
