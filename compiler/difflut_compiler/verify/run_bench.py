"""Runs one cocotb bench in the current folder as ``job.json`` says; a process of its own, started by ``simulate``."""

import json
from pathlib import Path

from cocotb_tools.runner import get_runner

BUILD_ARGUMENTS = {
    ("icarus", "verilog"): ["-g2005"],
    ("icarus", "systemverilog"): ["-g2012"],
    ("verilator", "verilog"): ["-Wno-fatal"],
    ("verilator", "systemverilog"): ["-Wno-fatal"],
    ("ghdl", "vhdl"): ["--std=08"],
}
RUN_ARGUMENTS = {"ghdl": ["--std=08", "--workdir=build"]}
# numeric_std warns about every undefined bit before the first inputs arrive.
PLUS_ARGUMENTS = {"ghdl": ["--ieee-asserts=disable-at-0"]}


def main() -> None:
    job = json.loads(Path("job.json").read_text())
    simulator = job["simulator"]
    runner = get_runner(simulator)
    runner.build(
        sources=[Path(source).resolve() for source in job["sources"]],
        hdl_toplevel=job["top"],
        build_dir="build",
        build_args=BUILD_ARGUMENTS[simulator, job["language"]],
        timescale=("1ns", "1ps") if simulator != "ghdl" else None,
        always=True,
    )
    runner.test(
        hdl_toplevel=job["top"],
        hdl_toplevel_lang="vhdl" if simulator == "ghdl" else "verilog",
        test_module=job["bench"],
        build_dir="build",
        test_dir=".",
        test_args=RUN_ARGUMENTS.get(simulator, []),
        plusargs=PLUS_ARGUMENTS.get(simulator, []),
        results_xml=str(Path("results.xml").resolve()),
    )


if __name__ == "__main__":
    main()
