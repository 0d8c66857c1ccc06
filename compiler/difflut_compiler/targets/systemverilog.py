"""SystemVerilog: Verilog's expressions and templates, with the words that say what a block is meant to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from difflut_compiler.targets.verilog import Dialect, Verilog


@dataclass(frozen=True)
class SystemVerilog(Verilog):
    """SystemVerilog-2012: like Verilog, with ``logic``, ``always_comb`` and ``always_ff``."""

    name: ClassVar[str] = "systemverilog"
    suffix: ClassVar[str] = ".sv"
    language: ClassVar[str] = "systemverilog"
    dialect: ClassVar[Dialect] = Dialect("logic", "logic", "always_comb", "always_ff @(posedge clk)")
