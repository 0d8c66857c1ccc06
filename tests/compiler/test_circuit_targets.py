"""Targets without a clock: compiled, read back by other tools, and run, on random graphs and corner inputs."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.graph_file import graph_from_json
from difflut_compiler.ops import Add, Bit, Compare, Greater, Input, Lut, Mux, Output, PopCount
from difflut_compiler.passes import ExpandPopCount
from difflut_compiler.schedule import schedule
from difflut_compiler.targets import TARGETS, c, register_target
from difflut_compiler.targets.decompose import decompose
from difflut_compiler.verify.languages import LANGUAGES
from difflut_compiler.verify.run_program import run_program
from tests.compiler.blif import BlifCircuit
from tests.compiler.designs import CIRCUIT_TARGETS, design_of, edit, is_proven, make_design
from tests.compiler.needs import need
from tests.compiler.random_graphs import (
    SEEDS,
    SHAPES,
    Inputs,
    Shape,
    all_inputs,
    make_graph,
    random_inputs,
    slow_outputs,
)

CASES = {
    "plain": Shape(),
    "signed": Shape(signed=True, features=4, bits=6, classes=12, widths=(20, 25)),
    "one bit": Shape(bits=1, thresholds=1, widths=(6,), classes=2),
    "one signed bit": Shape(bits=1, signed=True, thresholds=2, features=1, classes=3),
    "one class": Shape(classes=1),
    "wide": Shape(features=3, bits=8, max_fan_in=9, widths=(30, 70), classes=5),
    "deep": Shape(widths=(6, 6, 6, 6), classes=3),
}
PROVEN = [name for name in CIRCUIT_TARGETS if LANGUAGES[TARGETS[name].language].prove]
BOOLEAN = [False, True]


def emit_graph(graph: LutGraph, target: str) -> BuildPlan:
    return emit(schedule(graph, "none"), TARGETS[target], "net")


# -- tables as selections ----------------------------------------------------------------------------------------------


def evaluate_steps(table: int, fan_in: int, address: int) -> bool:
    """What the decomposition of a table makes of one address."""
    steps, value = decompose(table, fan_in)
    literals = [False, True]
    for place in range(fan_in):
        bit = bool(address >> place & 1)
        literals += [bit, not bit]
    for step in steps:
        bit = literals[step.high] if literals[step.select] else literals[step.low]
        literals += [bit, not bit]
    return literals[value]


@pytest.mark.parametrize("fan_in", [1, 2, 3])
def test_every_small_table_is_decomposed_to_itself(fan_in: int) -> None:
    for table in range(1 << (1 << fan_in)):
        found = [evaluate_steps(table, fan_in, address) for address in range(1 << fan_in)]
        assert found == [bool(table >> address & 1) for address in range(1 << fan_in)], table


@given(st.integers(4, 8), st.randoms(use_true_random=False))
def test_large_tables_are_decomposed_to_themselves(fan_in: int, chance: object) -> None:
    table = chance.getrandbits(1 << fan_in)  # type: ignore[attr-defined]
    for address in range(1 << fan_in):
        assert evaluate_steps(table, fan_in, address) == bool(table >> address & 1)


def test_equal_parts_of_a_table_are_made_once() -> None:
    parity = sum((address.bit_count() & 1) << address for address in range(64))
    assert len(decompose(parity, 6).steps) == 5


# -- BLIF, read by a small evaluator of the tests ----------------------------------------------------------------------


def read_blif(plan: BuildPlan, inputs: Inputs, widths: list[int]) -> dict[str, list[int]]:
    """The outputs of the file for integer inputs, by a reader that shares no code with the compiler."""
    text = plan.files["net.blif"].replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    ports = {line.split()[0]: line.split()[1:] for line in lines if line.startswith((".inputs", ".outputs"))}
    bits = {
        name: sum((int(row[feature]) >> bit & 1) << sample for sample, row in enumerate(inputs))
        for name, (feature, bit) in zip(
            ports[".inputs"], [(f, b) for f, width in enumerate(widths) for b in range(width)], strict=True
        )
    }
    body = lines[lines.index(next(line for line in lines if line.startswith(".names"))) : lines.index(".end")]
    circuit = BlifCircuit(_ones_only(body), bits, len(inputs))
    values: dict[str, list[int]] = {}
    for name in ports[".outputs"]:
        word, _, place = name.partition("[")
        row = values.setdefault(word, [0] * len(inputs))
        for sample in range(len(inputs)):
            row[sample] |= (circuit[name] >> sample & 1) << int(place.rstrip("]") or 0)
    return values


def _ones_only(lines: list[str]) -> list[str]:
    """Tables that list their zeros, as tables that list their ones."""
    result: list[str] = []
    for head, rows in _tables(lines):
        result.append(head)
        if rows and rows[0].endswith("0"):
            zeros = {row.split()[0] for row in rows}
            every = ["".join(bits) for bits in itertools.product("01", repeat=len(head.split()) - 2)]
            rows = [f"{row} 1" for row in every if row not in zeros]
        result += [f" {row}" if row == "1" else row for row in rows]
    return result


def _tables(lines: list[str]) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith(".names"):
            found.append((line, []))
        else:
            found[-1][1].append(line)
    return found


@given(SHAPES, SEEDS)
def test_blif_computes_what_the_graph_computes(shape: Shape, seed: int) -> None:
    design = make_design(shape, seed, target="blif", pipeline="none")
    inputs = random_inputs(design.original, 20, seed)
    widths = [shape.bits] * shape.features
    assert read_blif(design.plan, inputs, widths) == slow_outputs(design.original, inputs)


# -- proofs by other tools ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("target", PROVEN)
def test_what_another_tool_reads_is_the_graph(target: str, case: str, seed: int, tmp_path: Path) -> None:
    design = make_design(CASES[case], seed, target=target, pipeline="none")
    assert is_proven(design, design.plan, tmp_path)


def test_aiger_of_another_network_is_refused(tmp_path: Path) -> None:
    """Each of the two files by itself, and both with other ports."""
    design, other = (make_design(Shape(), seed, target="aiger", pipeline="none") for seed in (1, 2))
    plan = design.plan
    changed = {
        "text": dataclasses.replace(plan, files=other.plan.files),
        "binary": dataclasses.replace(plan, binary_files=other.plan.binary_files),
        "input names": edit(plan, r"^i0 features\[0\]$", "i0 features[1]"),
        "output order": edit(plan, r"^o0 (\S+)\no1 (\S+)$", r"o0 \2\no1 \1"),
    }
    assert is_proven(design, plan, tmp_path)
    for name, mutant in changed.items():
        assert mutant.files != plan.files or mutant.binary_files != plan.binary_files
        assert not is_proven(design, mutant, tmp_path), name


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("target", ["blif", "aiger", "json"])
def test_one_changed_table_is_refused(target: str, place: int, tmp_path: Path) -> None:
    design = make_design(Shape(widths=(30,), classes=2), 3, target=target, pipeline="none")
    graph = design.graph.copy()
    net = [net for net in sorted(graph) if isinstance(graph.node(net).op, Lut)][place]
    op = graph.node(net).op
    assert isinstance(op, Lut)
    graph.replace(net, Lut(op.fan_in, op.table ^ (1 << (1 << op.fan_in)) - 1), graph.node(net).operands)
    inputs = random_inputs(graph, 500)
    assert not np.array_equal(graph.evaluate(inputs)["class_index"], design.graph.evaluate(inputs)["class_index"])
    assert not is_proven(design, emit_graph(graph, target), tmp_path)


def test_json_of_the_same_function_but_another_graph_is_refused(tmp_path: Path) -> None:
    design = make_design(Shape(), 1, target="json", pipeline="none")
    renamed = edit(design.plan, r'"number":0,', '"number":77,')
    assert is_proven(design, design.plan, tmp_path)
    assert not is_proven(design, renamed, tmp_path)


def test_json_loads_to_the_graph_that_was_written() -> None:
    design = make_design(Shape(), 1, target="json", pipeline="none")
    assert graph_from_json(design.plan.files["net.json"]).snapshot() == design.graph.snapshot()


# -- every operation ---------------------------------------------------------------------------------------------------


def wide_operations(signed: bool) -> LutGraph:
    """Sums, comparisons and counts of uneven words, each an output of its own."""
    graph = LutGraph("words", ["input", "work", "output"])
    words = [graph.add(Input(f"x{n}", 3, signed), origin=Origin("input", n)) for n in range(3)]
    place = itertools.count()

    def add(op: Compare | Bit | PopCount | Add | Greater | Mux, *operands: int) -> int:
        return graph.add(op, operands, origin=Origin("work", next(place)))

    lowest = -4 if signed else 0
    bits = [add(Compare(lowest + level), word) for word in words for level in (0, 1, 3, 4, 6, 7, 8)]
    bits += [add(Bit(number), word) for number, word in enumerate(words)]
    counts = [
        add(PopCount(), *bits[:7]),
        add(PopCount(5), *bits[7:10]),
        add(PopCount(), *bits),
        add(PopCount(), bits[2]),
    ]
    sums = [add(Add(6), counts[0], counts[2]), add(Add(3), counts[0], counts[3])]
    results = [*bits, *counts, *sums, add(Greater(), counts[0], counts[1]), add(Greater(), counts[2], counts[3])]
    results += [add(Mux(), bits[3], counts[0], sums[0]), add(Mux(), bits[4], counts[2], bits[5])]
    for number, net in enumerate(results):
        graph.add(Output(f"y{number}"), (net,), origin=Origin("output", number))
    graph.verify()
    return graph


def with_counters(graph: LutGraph) -> LutGraph:
    """The same with its counts made of LUTs, as targets want them."""
    expanded = graph.copy()
    ExpandPopCount().apply(expanded)
    return expanded


@pytest.mark.parametrize("signed", BOOLEAN)
def test_every_operation_in_blif(signed: bool) -> None:
    graph = wide_operations(signed)
    inputs = all_inputs(graph)
    assert read_blif(emit_graph(with_counters(graph), "blif"), inputs, [3, 3, 3]) == slow_outputs(graph, inputs)


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
@pytest.mark.parametrize("signed", BOOLEAN)
def test_every_operation_in_c(signed: bool, compiler: str, tmp_path: Path) -> None:
    need(compiler)
    graph = wide_operations(signed)
    inputs = all_inputs(graph)
    expected = {name: np.array(values) for name, values in slow_outputs(graph, inputs).items()}
    result = run_program(emit_graph(with_counters(graph), "c"), graph, inputs, expected, compiler, tmp_path)
    assert result.comparisons == len(expected) * len(inputs)


@pytest.mark.parametrize("target", CIRCUIT_TARGETS)
def test_registers_are_refused(target: str) -> None:
    with pytest.raises(CompilerError, match=f"the target {target} has no clock"):
        emit(make_design(pipeline="layers").scheduled, TARGETS[target], "net")


@pytest.mark.parametrize("target", CIRCUIT_TARGETS)
def test_the_same_graph_gives_the_same_bytes(target: str) -> None:
    graph = make_graph(CASES["signed"], 0)
    first, second = (design_of(graph, target=target, pipeline="none").plan for _ in range(2))
    assert first.all_files == second.all_files
    assert first.digest() == second.digest()


def test_the_digest_covers_files_that_are_no_text() -> None:
    plan = make_design(target="aiger", pipeline="none").plan
    changed = dataclasses.replace(plan, binary_files={"net.aig": plan.binary_files["net.aig"] + b"\n"})
    assert changed.digest() != plan.digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"name": "c"}, "there is a target 'c' already"), ({"folder": "../.."}, "writes to '../..'; choose of")],
)
def test_a_target_that_cannot_be_is_refused(changes: dict[str, str], message: str) -> None:
    kind = type("Toy", (c.C,), {"name": "toy", **changes})
    with pytest.raises(CompilerError, match=re.escape(message)):
        register_target(kind())
    assert "toy" not in TARGETS


# -- C, compiled and run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "compiler"), [*itertools.product(CASES, ["gcc"]), ("signed", "g++"), ("wide", "g++")])
def test_the_c_program_answers_as_the_graph(case: str, compiler: str, tmp_path: Path) -> None:
    need(compiler)
    design = make_design(CASES[case], 4, target="c", pipeline="none")
    inputs = random_inputs(design.original, 300)
    expected = {"class_index": np.array(design.expected(inputs))}
    result = run_program(design.plan, design.graph, inputs, expected, compiler, tmp_path)
    assert result.comparisons == 300
    assert result.outputs["class_index"].tolist() == expected["class_index"].tolist()


def c_case() -> tuple[BuildPlan, LutGraph, Inputs, dict[str, np.ndarray]]:
    design = make_design(Shape(widths=(30,), classes=4), 2, target="c", pipeline="none")
    inputs = random_inputs(design.original, 100)
    return design.plan, design.graph, inputs, {"class_index": np.array(design.expected(inputs))}


def test_functions_are_of_bounded_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need("gcc")
    monkeypatch.setattr(c, "TABLES_PER_FUNCTION", 5)
    plan, graph, inputs, expected = c_case()
    parts = plan.files["net.h"].split("NET_PART void net_part_")[1:]
    assert len(parts) > 5
    assert all(part.partition("\n}")[0].count("v[") > 0 for part in parts)
    assert max(part.partition("\n}")[0].count("\n  v[") for part in parts) <= 5
    assert run_program(plan, graph, inputs, expected, "gcc", tmp_path).comparisons == 100


def test_a_wrong_answer_of_the_program_is_a_mismatch(tmp_path: Path) -> None:
    need("gcc")
    plan, graph, inputs, expected = c_case()
    expected["class_index"][63] += 1
    with pytest.raises(MismatchError, match="1 of 100 answers are wrong, first sample 63"):
        run_program(plan, graph, inputs, expected, "gcc", tmp_path)


def test_a_wrong_program_fails_its_own_test(tmp_path: Path) -> None:
    need("gcc")
    plan, graph, inputs, expected = c_case()
    mutant = edit(plan, r"outputs\[0\] = ", "outputs[0] = ~")
    with pytest.raises(MismatchError, match=r"self-test fails: [0-9]+ samples, [1-9][0-9]* wrong answers"):
        run_program(mutant, graph, inputs, expected, "gcc", tmp_path)


def test_a_warning_of_the_compiler_is_an_error(tmp_path: Path) -> None:
    need("gcc")
    plan, graph, inputs, expected = c_case()
    mutant = edit(plan, r"  size_t bit;", "  size_t bit;\n  int never_used;")
    with pytest.raises(CompilerError, match="never_used"):
        run_program(mutant, graph, inputs, expected, "gcc", tmp_path)


def test_input_that_is_no_table_of_integers_is_refused_by_the_program(tmp_path: Path) -> None:
    need("gcc")
    plan, graph, inputs, expected = c_case()
    run_program(plan, graph, inputs, expected, "gcc", tmp_path)
    for text in ("1 2", "1 2 x", "nothing"):
        done = subprocess.run(
            [str(tmp_path / "self_test"), "-"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "no table of integers, 3 to a row" in done.stderr


def test_a_table_that_blif_readers_do_not_take_is_refused() -> None:
    """At the door, by its name: the proof could not read it."""
    graph = LutGraph("large", ("input", "logic", "output"))
    bits = [graph.add(Input(f"x{number}", 1), origin=Origin("input", number)) for number in range(13)]
    lut = graph.add(Lut(13, 1 << 5000 | 1), bits, origin=Origin("logic", 0))
    graph.add(Output("y"), (lut,), origin=Origin("output", 0))
    with pytest.raises(CompilerError, match="logic_d is a table of 13 inputs, and BLIF is read with up to 12; choose"):
        emit(schedule(graph, "none"), TARGETS["blif"], "net")
