"""SystemVerilog: Verilog's expressions and templates, with the words that say what a block is meant to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.targets.verilog import Dialect, Verilog


@dataclass(frozen=True)
class SystemVerilog(Verilog):
    """SystemVerilog-2012: like Verilog, with ``logic`` and ``always_ff``.

    Not with ``always_comb``: Icarus Verilog 11 makes undefined bits of some such blocks, and aborts on others.
    """

    name: ClassVar[str] = "systemverilog"
    suffix: ClassVar[str] = ".sv"
    language: ClassVar[str] = "systemverilog"
    dialect: ClassVar[Dialect] = Dialect("logic", "logic", "always @*", "always_ff @(posedge clk)")
