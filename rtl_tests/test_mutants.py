"""Changed hardware is refused: every kind of small mistake in the text that changes an answer, in every language.

Whether a mutant answers differently is decided by simulating it on all inputs with a bench of its own; the proof must
then refuse it. Mutants that answer alike (a net changed where no output sees it) may be refused or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from difflut_compiler.emit import BuildPlan
from difflut_compiler.graph import LutGraph
from difflut_compiler.schedule import PIPELINES
from difflut_compiler.verify.simulate import pack_features
from plain_simulation import answers, as_answers
from tests.compiler.designs import HDL_TARGETS, Design, design_of, edit, find, is_proven, with_files
from tests.compiler.needs import need
from tests.compiler.random_graphs import all_inputs, small_graph

Change = str | Callable[[re.Match[str]], str]
SITES = 1
"""How many mutants that answer differently are tried per kind of mistake; the slow run tries all that there are."""


@cache
def design(target: str, pipeline: str, signed: bool, adders: bool) -> Design:
    return design_of(small_graph(signed), target=target, pipeline=pipeline, adders=adders)


def flip_hex(match: re.Match[str]) -> str:
    digits = match[2]
    return f"{match[1]}{int(digits, 16) ^ 2:0{len(digits)}x}"


def next_number(match: re.Match[str]) -> str:
    return f"{match[1]}{(int(match[2]) + 1) % 8}"


def neighbour(match: re.Match[str]) -> str:
    return f"{match[1]}{int(match[2]) ^ 1}{match[3]}"


WORD = r"((?:\{[^}]*\}|\w+)(?:\[\d+\])?)"
VERILOG: dict[str, tuple[str, Change]] = {
    "table bit": (r"(LUT_\d+ = \d+'h)([0-9a-f]+)", flip_hex),
    "table bit of a counter": (r"(LUT_\d+_bit\d_\d+ = \d+'h)([0-9a-f]+)", flip_hex),
    "table bit of a comparison": (r"(LUT_\d+_(?:right_wins|beats)\w+ = \d+'h)([0-9a-f]+)", flip_hex),
    "table bit of a choice": (r"(LUT_\d+_(?:index|score)\w+ = \d+'h)([0-9a-f]+)", flip_hex),
    "counter reads a bit twice": (r"(LUT_\d+_bit\d_\d+\[\{)(\w+\[\d+\]), \w+\[\d+\]", r"\1\2, \2"),
    "address pins swapped": (r"(LUT_\d+\[\{)(\w+\[\d\]), (\w+\[\d\])", r"\1\3, \2"),
    "wrong bit of a bus": (r"(LUT_\d+\[\{encoder_[qd]\[)(\d)(\])", neighbour),
    "another table": (r"= LUT_\d+\[", "= LUT_4["),
    "comparator constant": (r"(>= (?:\$signed\(3'h|3'd))(\d)", next_number),
    "at least to greater": (r">=", ">"),
    "at least to less": (r">=", "<"),
    "wrong feature": (r"features\[2:0\]", "features[5:3]"),
    "wrong slice": (r"features\[2:0\]", "features[3:1]"),
    "sign ignored": (r"\$signed\((features\[\d:\d\])\) >= \$signed\((3'h\d)\)", r"\1 >= \2"),
    "inverted bit": (r"(layer_0_d\[\d+\] = )", r"\1~"),
    "bit stuck at zero": (r"(layer_0_d\[\d+\] = )[^;]*;", r"\g<1>1'b0;"),
    "bit stuck at one": (r"(encoder_d\[\d+\] = )[^;]*;", r"\g<1>1'b1;"),
    "two bits exchanged": (r"(layer_0_d\[)(\d+)(\] =)", neighbour),
    "output wired to another word": (r"assign class_index = .*;", "assign class_index = features[1:0];"),
    "output tied to zero": (r"assign class_index = .*;", "assign class_index = 2'd0;"),
    "output inverted": (r"assign class_index = (.*);", r"assign class_index = ~\1;"),
    "output bits exchanged": (r"assign class_index = (.*);", r"assign class_index = {\1[0], \1[1]};"),
    "input left unconnected": (r"    \.(encoder_[qd]|layer_0_[qd])\(\1\),\n", ""),
    "module left out": (r"(?s)  net_layer_0 .*?\);\n", ""),
}
VERILOG_WORDS: dict[str, tuple[str, Change]] = {
    "bits of a count exchanged": (r"(_count\d = \{.*?)(\w+\[\d+\]), (\w+\[\d+\])\}", r"\1\3, \2}"),
    "ties to the right": (r"(right_wins\d = .*) > ", r"\1 >= "),
    "comparison reversed": (r"(right_wins\d = .*) > ", r"\1 < "),
    "multiplexer swapped": (r"\? (.+) : (.+);", r"? \2 : \1;"),
    "wrong position": (r"(2'd)([012])(?= :| *;)", lambda match: f"{match[1]}{(int(match[2]) + 1) % 3}"),
    "table bit of a count": (r"(LUT_\d+_count\d_bit\d = \d+'h)([0-9a-f]+)", flip_hex),
    "wrong operand of a sum": (rf"= {WORD} \+ {WORD};", r"= \1 + \1;"),
    "sum to difference": (r" \+ ", " - "),
}
VERILOG_CLOCKED: dict[str, tuple[str, Change]] = {
    "register removed": (r"always @\(posedge clk\)", "always @*"),
    "falling edge": (r"posedge clk", "negedge clk"),
    "register with an enable": (r"@\(posedge clk\) begin", "@(posedge clk) if (!clk) begin"),
    "register loads something else": (r"(encoder_q|layer_0_q) <= (\w+_d);", r"\1 <= {\2, \2[0]};"),
    "another clock": (r"\.clk\(clk\)", ".clk(features[0])"),
    "extra register": (
        r"assign class_index = (.*);",
        r"reg [1:0] extra;\n  always @(posedge clk) extra <= \1;\n  assign class_index = extra;",
    ),
}
VHDL: dict[str, tuple[str, Change]] = {
    "table bit": (r'(<= lut\(X")([0-9a-f]+)', flip_hex),
    "table bit of a counter": (r'(class_counts_d\(\d+\) <= lut\(X")([0-9a-f]+)', flip_hex),
    "table bit of the argmax": (r'(argmax_d\(\d+\) <= lut\(X")([0-9a-f]+)', flip_hex),
    "counter reads a bit twice": (
        r'(class_counts_d\(\d+\) <= lut\(X"\w+", )(\w+\(\d+\)) & \w+\(\d+\)',
        r"\1\2 & \2",
    ),
    "address pins swapped": (r'(lut\(X"\w+", )(\w+\(\d\)) & (\w+\(\d\))', r"\1\3 & \2"),
    "wrong bit of a bus": (r'(lut\(X"\w+", encoder_[qd]\()(\d)(\))', neighbour),
    "comparator constant": (r"(?<=\) >= )-?\d", lambda match: str(min(int(match[0]) + 1, 7))),
    "at least to greater": (r">=", ">"),
    "at least to less": (r">=", "<"),
    "wrong feature": (r"features\(2 downto 0\)", "features(5 downto 3)"),
    "sign misread": (r"unsigned\(features", "signed(features"),
    "inverted bit": (r"(layer_0_d\(\d+\) <= )", r"\1not "),
    "bit stuck at zero": (r"(layer_0_d\(\d+\) <= )[^;]*;", r"\1'0';"),
    "output wired to another word": (r"class_index <= .*;", "class_index <= features(1 downto 0);"),
    "output inverted": (r"class_index <= (.*);", r"class_index <= not \1;"),
    "input left unconnected": (r"( +layer_0_[qd] => )layer_0_[qd],", r"\1(others => '0'),"),
}
VHDL_WORDS: dict[str, tuple[str, Change]] = {
    "bits of a count exchanged": (r"(_count\d <= .*?)(\b\w+\(\d+\)) & (\w+\(\d+\))\)", r"\1\3 & \2)"),
    "ties to the right": (r"(right_wins\d <= .*) > ", r"\1 >= "),
    "multiplexer swapped": (r"<= (.+) when (.+) else (.+);", r"<= \3 when \2 else \1;"),
    "wrong position": (r'B"(01|00)" when|B"(01|00)";', lambda match: match[0].replace("0", "1", 1)),
    "table bit of a count": (r'(class_counts_d\(\d+\) <= lut\(X")([0-9a-f]+)', flip_hex),
    "wrong operand of a sum": (r"\((extend\(.*?, \d\)) \+ (extend\(.*?, \d\))\)", r"(\1 + \1)"),
    "sum to difference": (r" \+ ", " - "),
}
VHDL_CLOCKED: dict[str, tuple[str, Change]] = {
    "register removed": (
        r"process \(clk\)\n  begin\n    if rising_edge\(clk\) then",
        "process (all)\n  begin\n    if true then",
    ),
    "falling edge": (r"rising_edge", "falling_edge"),
    "another clock": (r"clk => clk", "clk => features(0)"),
}
SYSTEMVERILOG_CLOCKED = {
    kind: (pattern.replace(r"always @\(posedge clk\)", r"always_ff @\(posedge clk\)"), change)
    for kind, (pattern, change) in VERILOG_CLOCKED.items()
}
SYSTEMVERILOG_CLOCKED["register removed"] = (r"always_ff @\(posedge clk\)", "always @*")
MISTAKES = {
    ("verilog", "none"): VERILOG | VERILOG_WORDS,
    ("verilog", "layers"): VERILOG | VERILOG_WORDS | VERILOG_CLOCKED,
    ("systemverilog", "none"): VERILOG | VERILOG_WORDS,
    ("systemverilog", "layers"): VERILOG | VERILOG_WORDS | SYSTEMVERILOG_CLOCKED,
    ("vhdl", "none"): VHDL | VHDL_WORDS,
    ("vhdl", "layers"): VHDL | VHDL_WORDS | VHDL_CLOCKED,
}
KINDS = [
    pytest.param(target, pipeline, kind, id=f"{target}-{pipeline}-{kind}")
    for (target, pipeline), kinds in MISTAKES.items()
    for kind in kinds
]


def test_every_language_and_pipeline_has_mistakes() -> None:
    assert set(MISTAKES) == {(target, pipeline) for target in HDL_TARGETS for pipeline in PIPELINES}


def need_tools(target: str) -> None:
    need("ghdl" if target == "vhdl" else "iverilog")


def simulate_all(plan: BuildPlan, graph: LutGraph, folder: Path) -> list[str]:
    """The answers to every input."""
    return answers(plan, pack_features(graph, all_inputs(graph)), folder)


def check_mistake(target: str, pipeline: str, kind: str, sites: int, folder: Path) -> None:
    pattern, change = MISTAKES[target, pipeline][kind]
    signed = kind != "sign misread" and (pipeline == "layers" or kind == "sign ignored")
    good = design(target, pipeline, signed, adders=kind in VERILOG_WORDS | VHDL_WORDS)
    right = as_answers(good.expected(all_inputs(good.original)), good.plan)
    found = find(good.plan, pattern)
    assert found, f"nothing in the text matches {pattern}"
    wrong_answers = 0
    for which in range(len(found)):
        if wrong_answers == sites:
            return
        mutant = edit(good.plan, pattern, change, which)
        if mutant.files == good.plan.files:
            continue
        seen = simulate_all(mutant, good.original, folder / f"simulation_{which}")
        if seen != right:
            wrong_answers += 1
            proof = folder / f"proof_{which}"
            proof.mkdir()
            assert not is_proven(good, mutant, proof), f"{found[which][1][0]!r} in {found[which][0]} is not caught"
    assert wrong_answers, "no mutant of this kind answers differently; choose another place"


@pytest.mark.parametrize(("target", "pipeline"), list(MISTAKES))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("adders", [False, True])
def test_unchanged_hardware_answers_right_and_is_proven(
    target: str, pipeline: str, signed: bool, adders: bool, tmp_path: Path
) -> None:
    need_tools(target)
    good = design(target, pipeline, signed, adders)
    right = as_answers(good.expected(all_inputs(good.original)), good.plan)
    assert len(set(right)) == 3
    assert simulate_all(good.plan, good.original, tmp_path / "simulation") == right
    assert is_proven(good, good.plan, tmp_path)


@pytest.mark.parametrize(("target", "pipeline", "kind"), KINDS)
def test_a_mistake_that_changes_an_answer_is_refused(target: str, pipeline: str, kind: str, tmp_path: Path) -> None:
    need_tools(target)
    check_mistake(target, pipeline, kind, SITES, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "pipeline", "kind"), KINDS)
def test_a_mistake_is_refused_wherever_it_is(target: str, pipeline: str, kind: str, tmp_path: Path) -> None:
    need_tools(target)
    check_mistake(target, pipeline, kind, 1000, tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    good = design("verilog", "layers", True, adders=False)
    files = {name: text for name, text in good.plan.files.items() if name != "net_argmax.v"}
    assert not is_proven(good, with_files(good.plan, files), tmp_path)
