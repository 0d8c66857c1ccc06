"""A design's files as Yosys can read them: Verilog as it stands, VHDL by way of GHDL, and rules for ``techmap``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import MismatchError
from difflut_compiler.tools import require_tool, run_tool

# Two rules for Yosys. A shift or an index of a constant by a few wires is a look-up table; said this way it stays one
# cell instead of a tree of multiplexers (Y = A >> B with one bit of Y: bit B of A, and 0 beyond A's end; an index must
# not reach beyond A's end, where it is undefined). So is a memory of single bits that nothing writes.
CELL_MAP = r"""
(* techmap_celltype = "$shiftx $shr" *)
module constant_index (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  parameter _TECHMAP_CELLTYPE_ = "";
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTVAL_A_ = 0;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;
  localparam SIZE = B_WIDTH > 16 ? 1 : 1 << B_WIDTH;
  localparam [SIZE-1:0] TABLE = _TECHMAP_CONSTVAL_A_;
  wire _TECHMAP_FAIL_ = !(&_TECHMAP_CONSTMSK_A_) || A_SIGNED || B_SIGNED || Y_WIDTH != 1 || B_WIDTH > 16
    || (_TECHMAP_CELLTYPE_ == "$shiftx" && A_WIDTH < SIZE);
  \$lut #(.WIDTH(B_WIDTH), .LUT(TABLE)) _TECHMAP_REPLACE_ (.A(B), .Y(Y));
endmodule

(* techmap_celltype = "$mem_v2" *)
module constant_memory (RD_CLK, RD_EN, RD_ARST, RD_SRST, RD_ADDR, RD_DATA, WR_CLK, WR_EN, WR_ADDR, WR_DATA);
  parameter MEMID = "";
  parameter signed SIZE = 2;
  parameter signed OFFSET = 0;
  parameter signed ABITS = 1;
  parameter signed WIDTH = 1;
  parameter signed INIT = 0;
  parameter RD_PORTS = 0;
  parameter RD_CLK_ENABLE = 0;
  parameter RD_CLK_POLARITY = 0;
  parameter RD_TRANSPARENCY_MASK = 0;
  parameter RD_COLLISION_X_MASK = 0;
  parameter RD_WIDE_CONTINUATION = 0;
  parameter RD_CE_OVER_SRST = 0;
  parameter RD_ARST_VALUE = 0;
  parameter RD_SRST_VALUE = 0;
  parameter RD_INIT_VALUE = 0;
  parameter WR_PORTS = 0;
  parameter WR_CLK_ENABLE = 0;
  parameter WR_CLK_POLARITY = 0;
  parameter WR_PRIORITY_MASK = 0;
  parameter WR_WIDE_CONTINUATION = 0;
  input RD_CLK, RD_EN, RD_ARST, RD_SRST, WR_CLK, WR_EN, WR_ADDR, WR_DATA;
  input [ABITS-1:0] RD_ADDR;
  output RD_DATA;
  wire _TECHMAP_FAIL_ = RD_PORTS != 1 || WR_PORTS != 0 || RD_CLK_ENABLE != 0 || WIDTH != 1 || OFFSET != 0
    || ABITS > 16 || SIZE != 1 << ABITS;
  \$lut #(.WIDTH(ABITS), .LUT(INIT)) _TECHMAP_REPLACE_ (.A(RD_ADDR), .Y(RD_DATA));
endmodule
"""


_VERILOG = re.compile(r'"(?:\\.|[^"\\])*"|\\\S+|(?P<comment>//[^\n]*|/\*.*?\*/)', re.DOTALL)
_VHDL = re.compile(r'"[^"\n]*"|\\[^\\\n]*\\|(?<![\w)])\'.\'|(?P<comment>--[^\n]*|/\*.*?\*/)', re.DOTALL)
TOKENS = {"verilog": _VERILOG, "systemverilog": _VERILOG, "vhdl": _VHDL}
"""Comments, and whatever else may hold what begins one."""
COMMENT_FOR_TOOLS = re.compile(
    r"\W*(?:altera|ambit|cadence|exemplar|pragma|quartus|(?:rtl_)?synthesis|synopsys|xilinx)\s+\w", re.IGNORECASE
)
"""It may tell a tool not to read what comes next. The titles that begin with the name of a layer have a colon."""
COMPARISON_WITH_INTEGER = re.compile(
    r"\b(?P<kind>(?:un)?signed)\s*\(\s*\w+\s*\(\s*(?P<high>\d+)\s+downto\s+(?P<low>\d+)\s*\)\s*\)"
    r"\s*(?:/=|[<>]=?|=)\s*(?P<number>-?\d+)(?=\s*(?:[;)]|else\b))",
    re.IGNORECASE,
)
_VALUE = r"""(?:'[01]'|B"[01]+"|\w+(?:\(\d+(?: downto \d+)?\))?)"""
HARMLESS = re.compile(
    r"(?:;|\bbegin\b|\bthen\b|;\s*else\b)\s*\w+(?:\([\w\s()]*\))?\s*<="  # an assignment, not a comparison
    rf"|\bextend\({_VALUE}, (?P<width>\d+)\) > extend\({_VALUE}, (?P=width)\)"
    r"|\b(?P<kind>(?:un)?signed)\(\w+\(\d+ downto \d+\)\) >= (?P=kind)'\(B\"[01]+\"\)"
    r"|\b\w+(?:\(\d+\))? = '1'"
    r"|:=|=>"
)
"""Comparisons of words of the same type, which all tools read alike, and what only looks like a comparison."""


def write_sources(plan: BuildPlan, folder: Path, module: str) -> list[str]:
    """Write the hardware into ``folder`` and return the names of files from which Yosys can read ``module``.

    Beside them goes ``cell_map.v``, rules for Yosys' ``techmap``. Raises :class:`MismatchError` for files that other
    tools would read as other hardware.
    """
    for name, text in plan.files.items():
        _refuse_directives(name, text, plan.language)
    (folder / "cell_map.v").write_text(CELL_MAP)
    plan.write(folder)
    return [_ghdl_netlist(plan, module, folder)] if plan.language == "vhdl" else list(plan.files)


def _refuse_directives(name: str, text: str, language: str) -> None:
    """Refuse what hides text from some tools: directives of Verilog, and comments that are meant for tools."""
    if language not in TOKENS:
        return
    comments = (token["comment"] for token in TOKENS[language].finditer(text) if token["comment"])
    found = next((comment for comment in comments if COMMENT_FOR_TOOLS.match(comment)), None)
    if found is None and "`" in _without_comments(text, language):
        found = "`"
    if found is not None:
        raise MismatchError(f"{name} holds the directive {found!r}, with which tools read different hardware")


def _without_comments(text: str, language: str) -> str:
    return TOKENS[language].sub(lambda token: " " if token["comment"] else token[0], text)


def read_commands(sources: Iterable[str]) -> str:
    """The commands with which Yosys reads files, a line for each."""
    commands = {".v": "read_verilog", ".sv": "read_verilog -sv", ".blif": "read_blif"}
    return "\n".join(f"{commands[Path(source).suffix]} {source}" for source in sources)


def _ghdl_netlist(plan: BuildPlan, module: str, folder: Path) -> str:
    """VHDL to a Verilog netlist of ``module`` by ``ghdl synth``; returns its name.

    GHDL 2 writes constants of more than 32 bits as quoted binary digits, which Verilog would read as text; they become
    hexadecimal numbers here, of which Yosys takes more bits. GHDL reads such a constant as zero if of its bits only
    some of the highest 32 are set, and cuts an integer that a vector is compared with to the bits of the vector, which
    simulators do not. Files with one of these raise :class:`MismatchError`, since the proof would be about other
    hardware. A wrapper counts in integers, and is not proven.
    """
    wrapper = f"{plan.top}.vhd" if plan.core != plan.top else None
    for name, text in plan.files.items():
        _refuse_misread_constants(text)
        if name != wrapper:
            _refuse_cut_numbers(_without_comments(text, "vhdl"))
    command: list[str | Path] = [
        require_tool("ghdl"),
        "synth",
        "--std=08",
        "--out=verilog",
        *plan.files,
        "-e",
        module,
    ]
    run_tool("GHDL", command, folder, log=folder / "ghdl.log", output=folder / "ghdl.v")
    text = (folder / "ghdl.v").read_text()
    text = re.sub(r'"([01]+)"', lambda digits: f"{len(digits[1])}'h{int(digits[1], 2):x}", text)
    (folder / "ghdl.v").write_text(text)
    return "ghdl.v"


def _refuse_misread_constants(text: str) -> None:
    for base, digits in re.findall(r'([xb]?)"([0-9a-f_]+)"', text, re.IGNORECASE):
        digits = digits.replace("_", "")
        bits, low_bits = (4 * len(digits), digits[8:]) if base in ("x", "X") else (len(digits), digits[32:])
        if bits > 32 and digits.strip("0") and not low_bits.strip("0"):
            raise MismatchError(f"GHDL would read {digits} as zero; write the complement of such a constant")


def _refuse_cut_numbers(code: str) -> None:
    """Refuse a number that does not fit the vector that it is compared with, and any comparison not known for sure."""

    def check(comparison: re.Match[str]) -> str:
        high, low, number = (int(comparison[name]) for name in ("high", "low", "number"))
        width = high - low + 1
        smallest, size = (-1 << width - 1 if comparison["kind"].lower() == "signed" else 0), 1 << width
        if not smallest <= number < smallest + size:
            raise MismatchError(f"GHDL would cut the number in {comparison[0]!r} to {width} bits")
        return ""

    others = HARMLESS.sub("", COMPARISON_WITH_INTEGER.sub(check, code))
    if found := re.search("[<>=]", others):
        line = others[: found.start()].rpartition("\n")[2] + others[found.start() :].partition("\n")[0]
        raise MismatchError(
            f"GHDL may cut the number in {line.strip()!r}; write a vector with its range, and then the number"
        )
