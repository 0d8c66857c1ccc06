"""The emitted text: names, stable bytes, and that tools take it without complaint."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from difflut_compiler.driver import CompileRequest, compile_model
from difflut_compiler.emit import emit
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.graph_file import graph_to_json
from difflut_compiler.names import MAX_IDENTIFIER_LENGTH, check_identifier, feature_slices, feature_words, name_nets
from difflut_compiler.ops import Bit, Compare, Const, Input, Output
from difflut_compiler.passes import ExpandArgMax, ExpandPopCount, Pass
from difflut_compiler.report import documents
from difflut_compiler.schedule import PIPELINES, schedule
from difflut_compiler.targets import TARGETS, templates
from tests.compiler.designs import HDL_TARGETS, design_of, make_design
from tests.compiler.needs import need
from tests.compiler.random_graphs import Shape, make_graph

SHAPES = {
    "unsigned": Shape(),
    "signed": Shape(signed=True, features=4, classes=12, widths=(20, 25)),
    "one bit": Shape(bits=1, thresholds=1, widths=(6,), classes=2),
    "one signed bit": Shape(bits=1, signed=True, thresholds=2, features=1, classes=3),
    "one class": Shape(classes=1),
    "wide": Shape(features=3, bits=8, max_fan_in=7, widths=(30, 60), classes=5),
    "deep": Shape(widths=(6, 6, 6, 6), classes=3),
}
CASES = [
    pytest.param(shape, pipeline, seed, id=f"{name}-{pipeline}-{seed}")
    for name, shape in SHAPES.items()
    for pipeline in (*PIPELINES, "3", "period:6")
    for seed in range(3)
]

ILLEGAL_NAMES = ["", "a b", "x;", "a b;x", "Top", "TOP", "a__b", "a_", "_a", "1a", "a-b", "a.b", "é", "a\n", "a" * 65]
RESERVED_NAMES = """
always and assign begin case else end endmodule function if initial input module negedge output parameter posedge reg
signed task wire while logic interface class package bit byte int string unique
abs access architecture array body buffer bus component configuration constant downto entity exit generic group
is label library loop map mod next null of on open others out port process pure range record rem report return rol
select severity shared signal sla srl subtype then to transport type units until use variable wait when with xnor xor
""".split()


@pytest.mark.parametrize("name", ILLEGAL_NAMES)
def test_an_illegal_name_is_refused(name: str) -> None:
    with pytest.raises(CompilerError, match=r"the top name .* is not a portable identifier: use lower-case letters"):
        check_identifier(name, "the top name")


@pytest.mark.parametrize("name", RESERVED_NAMES)
def test_a_reserved_word_of_either_language_is_refused(name: str) -> None:
    with pytest.raises(CompilerError, match=f"the top name '{name}' is a reserved word of Verilog or VHDL"):
        check_identifier(name, "the top name")


@pytest.mark.parametrize("name", ["clk", "features", "work", "ieee", "std_logic"])
def test_a_name_that_the_files_use_themselves_is_refused(name: str) -> None:
    with pytest.raises(CompilerError, match=f"the top name '{name}' is a name that the generated files use"):
        check_identifier(name, "the top name")


@pytest.mark.parametrize("name", ["a", "net_2", "a1_b2_c3", "a" * MAX_IDENTIFIER_LENGTH])
def test_a_portable_name_is_taken(name: str) -> None:
    assert check_identifier(name, "the top name") == name


def test_the_top_name_is_checked_before_anything_is_written() -> None:
    with pytest.raises(CompilerError, match="portable identifier"):
        emit(make_design().scheduled, TARGETS["verilog"], "a b;x")


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_names_of_layers_and_of_the_top_do_not_collide(target: str) -> None:
    """No two modules and no two signals share a name, also if the top is called like a layer."""
    for top in ("net", "encoder", "layer_0", "argmax"):
        plan = emit(make_design(target=target).scheduled, TARGETS[target], top)
        assert len({name.lower() for name in plan.files}) == len(plan.files)
        assert f"{top}{TARGETS[target].suffix}" in plan.files


@pytest.mark.parametrize("pipeline", [*PIPELINES, "3", "period:6"])
def test_every_bit_has_a_name_of_its_own(pipeline: str) -> None:
    graph = make_design(SHAPES["wide"], pipeline=pipeline).graph
    refs = name_nets(graph)
    bits = [name for ref in refs.values() for name in ref.bit_names()]
    assert len(bits) == len(set(bits))
    unnamed = [graph.node(net).op for net in graph if net not in refs]
    assert all(isinstance(op, Input | Bit | Const) for op in unnamed)
    for ref in refs.values():
        check_identifier(ref.signal.name, "signal")


def test_features_are_packed_lowest_first() -> None:
    graph = make_graph(Shape(features=3, bits=5), 0)
    assert list(feature_slices(graph)) == [(0, 0, 5), (1, 5, 5), (2, 10, 5)]


def mixed_words() -> LutGraph:
    """Features of three formats, and two of one: whether each is at least 1."""
    graph = LutGraph("mixed", ("input", "encoder", "output"))
    for index, (bits, signed) in enumerate([(1, False), (8, True), (8, True), (9, False)]):
        word = graph.add(Input(f"x{index}", bits, signed), origin=Origin("input", index))
        bit = graph.add(Compare(1), (word,), origin=Origin("encoder", index))
        graph.add(Output(f"y{index}"), (bit,), origin=Origin("output", index))
    graph.verify()
    return graph


MIXED_WORDS = (
    "1 unsigned word of 1 bit from bit 0, 2 signed words of 8 bits from bit 1, 1 unsigned word of 9 bits from bit 17"
)


@pytest.mark.parametrize(
    ("graph", "text"),
    [(make_graph(Shape(features=3, bits=5), 0), "3 unsigned words of 5 bits"), (mixed_words(), MIXED_WORDS)],
)
def test_the_port_is_described_as_it_is(graph: LutGraph, text: str, tmp_path: Path) -> None:
    described = feature_words(graph)
    # Taken apart feature by feature, it is the port.
    places = [
        (one.lowest_bit + number * one.bits, one.bits, one.signed)
        for one in described
        for number in range(one.features)
    ]
    nets = list(feature_slices(graph))
    assert places == [(low, width, graph.node(net).op.signed) for net, low, width in nets]  # type: ignore[union-attr]
    for target in HDL_TARGETS:
        files = design_of(graph, target=target, pipeline="none").plan.files
        assert f" features: {text}, feature 0 in the lowest bits.\n" in files[f"net{TARGETS[target].suffix}"]
    (tmp_path / "graph.json").write_text(graph_to_json(graph))
    request = CompileRequest(tmp_path / "graph.json", "json", "net")
    texts = documents(compile_model(request))
    assert json.loads(texts["report.json"])["input"] == {
        "features": len(nets),
        "words": [asdict(one) for one in described],
        "scale": 1.0,
    }
    assert text in " ".join(texts["summary.txt"].split())
    assert f"{text} in," in texts["report.html"]


def test_the_c_program_says_what_its_samples_are() -> None:
    text = emit(schedule(mixed_words(), "none"), TARGETS["c"], "net").files["net.h"]
    assert " A sample is 1 unsigned word of 1 bit, 2 signed words of 8 bits, 1 unsigned word of 9 bits.\n" in text


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_the_same_graph_gives_the_same_bytes(target: str) -> None:
    graph = make_graph(SHAPES["signed"], 0)
    first, second = (design_of(graph, target=target, pipeline="layers").plan for _ in range(2))
    assert first.files == second.files
    assert first.digest() == second.digest()


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_the_digest_covers_names_and_texts(target: str) -> None:
    plan = make_design(target=target).plan
    *others, (name, text) = plan.files.items()
    changed = [{name: text + " "}, {f"x{name}": text}, {}]
    digests = {type(plan)(**{**vars(plan), "files": dict(others) | last}).digest() for last in changed}
    assert len(digests | {plan.digest()}) == 4


def test_no_text_holds_a_path_or_a_date() -> None:
    for target in HDL_TARGETS:
        text = "\n".join(make_design(target=target).plan.files.values())
        assert "/tmp" not in text  # noqa: S108
        assert str(Path.cwd()) not in text
        assert "202" not in text.replace("2026'h", "")


@pytest.mark.parametrize(
    ("expand", "what"), [(ExpandArgMax(), "popcount at class_counts"), (ExpandPopCount(), "argmax at argmax")]
)
@pytest.mark.parametrize("target", [name for name in TARGETS if name != "json"])
def test_an_unexpanded_operation_is_refused_by_name(target: str, expand: Pass, what: str) -> None:
    graph = make_graph(Shape(), 0)
    expand.apply(graph)
    with pytest.raises(CompilerError, match=rf"has no expression for {what}\[\d\]; run the passes of EXPAND first"):
        emit(schedule(graph, "none"), TARGETS[target], "net")


@pytest.mark.parametrize("target", HDL_TARGETS)
def test_lines_end_cleanly(target: str) -> None:
    for name, text in make_design(target=target).plan.files.items():
        assert text.endswith("\n"), name
        assert "\r" not in text
        assert "\t" not in text
        assert text.isascii(), name


def test_an_undefined_name_in_a_template_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "verilog").mkdir()
    for name in ("module.v.j2", "top.v.j2"):
        (tmp_path / "verilog" / name).write_text("module {{ nmae }};\n")
    monkeypatch.setattr(templates, "data", lambda folder: tmp_path)
    templates.environment.cache_clear()
    try:
        with pytest.raises(UndefinedError, match="'nmae' is undefined"):
            make_design()
    finally:
        templates.environment.cache_clear()


# -- tools -------------------------------------------------------------------------------------------------------------


def run_clean(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a tool that must succeed without an error or a warning."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def write(files: dict[str, str], folder: Path) -> list[str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return list(files)


def verilator_lint(files: dict[str, str], folder: Path) -> None:
    binary = need("verilator")
    environment = {**os.environ, "VERILATOR_ROOT": str(binary.parent.parent)}
    names = write(files, folder)
    run_clean([str(binary), "--lint-only", "-Wall", "--top-module", "net", *names], folder, environment)


@pytest.mark.parametrize("target", ["verilog", "systemverilog"])
@pytest.mark.parametrize(("shape", "pipeline", "seed"), CASES)
def test_verilator_has_no_warning(shape: Shape, pipeline: str, seed: int, target: str, tmp_path: Path) -> None:
    verilator_lint(dict(make_design(shape, seed, target=target, pipeline=pipeline).plan.files), tmp_path)


@pytest.mark.parametrize(("shape", "pipeline", "seed"), CASES)
def test_icarus_has_no_warning_about_the_verilog(shape: Shape, pipeline: str, seed: int, tmp_path: Path) -> None:
    iverilog = need("iverilog")
    names = write(dict(make_design(shape, seed, pipeline=pipeline).plan.files), tmp_path)
    run_clean([str(iverilog), "-g2005", "-Wall", "-Wno-timescale", "-s", "net", "-o", "net.vvp", *names], tmp_path)


@pytest.mark.parametrize(("shape", "pipeline", "seed"), CASES)
def test_ghdl_analyses_and_elaborates_the_vhdl(shape: Shape, pipeline: str, seed: int, tmp_path: Path) -> None:
    ghdl = need("ghdl")
    names = write(dict(make_design(shape, seed, target="vhdl", pipeline=pipeline).plan.files), tmp_path)
    run_clean([str(ghdl), "-a", "--std=08", "--warn-error", *names], tmp_path)
    run_clean([str(ghdl), "--elab-run", "--std=08", "net", "--no-run"], tmp_path)


def test_the_lint_run_sees_a_warning(tmp_path: Path) -> None:
    files = dict(make_design().plan.files)
    files["net.v"] = files["net.v"].replace("endmodule", "  wire never_read;\nendmodule")
    with pytest.raises(AssertionError, match=r"UNUSEDSIGNAL|UNDRIVEN"):
        verilator_lint(files, tmp_path)


@pytest.mark.parametrize("name", ["real", "supply0", "foreach", "features", "clk", "ieee", "work"])
def test_names_that_mean_something_already_are_refused(name: str) -> None:
    with pytest.raises(CompilerError, match="choose another"):
        check_identifier(name, "the top name")
