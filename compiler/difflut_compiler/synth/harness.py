"""The harness: a top module around the network that needs four pins and registers everything that enters or leaves.

Place and route needs a design that fits a device's pins, and timing needs registers at both ends of every path. A
network has thousands of input bits, and may be combinational. In the harness, its inputs are a shift register and its
outputs are registered and shifted out. What the harness itself takes is counted as a part of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from difflut_compiler.errors import CompilerError
from difflut_compiler.rtl_sources import read_commands
from difflut_compiler.targets.templates import render
from difflut_compiler.tools import run_yosys

CLOCKS = ("clk", "aclk")
INSTANCE = "dut"
"""The network's instance in the harness."""


@dataclass(frozen=True)
class Ports:
    """The ports of a top module: its clock if it has one, and the widths of all others by name."""

    clock: str | None
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class _Slice:
    name: str
    low: int
    high: int


def read_ports(sources: Sequence[str], top: str, folder: Path) -> Ports:
    """The ports of module ``top`` of the Verilog files ``sources`` in ``folder``, as Yosys reads them."""
    run_yosys(f"{read_commands(sources)}\nhierarchy -check -top {top}\njson -o ports.json {top}\n", folder)
    ports = json.loads((folder / "ports.json").read_text())["modules"][top]["ports"]
    widths: dict[str, dict[str, int]] = {"input": {}, "output": {}}
    for name, port in ports.items():
        if port["direction"] not in widths:
            raise CompilerError(f"port {name} of {top} is an {port['direction']}; the harness has inputs and outputs")
        widths[port["direction"]][name] = len(port["bits"])
    clock = next((name for name in CLOCKS if name in widths["input"]), None)
    if clock is not None:
        del widths["input"][clock]
    return Ports(clock, widths["input"], widths["output"])


def harness_name(top: str) -> str:
    return f"{top}_harness"


def write_harness(top: str, ports: Ports) -> str:
    """The harness as Verilog."""
    inputs, outputs = _slices(ports.inputs), _slices(ports.outputs)
    return render(
        "synth/harness.v.j2",
        name=harness_name(top),
        dut=top,
        clock=ports.clock,
        inputs=inputs,
        outputs=outputs,
        input_bits=sum(ports.inputs.values()),
        output_bits=sum(ports.outputs.values()),
    )


def _slices(widths: dict[str, int]) -> list[_Slice]:
    slices, low = [], 0
    for name, width in widths.items():
        slices.append(_Slice(name, low, low + width - 1))
        low += width
    return slices
