"""The certificate and its rungs: what a check's outcome becomes, and that nothing passes without evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difflut_compiler.errors import CompilerError, GraphError, MismatchError, NotCheckedError, ToolMissingError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.graph import LutGraph
from difflut_compiler.interface import Interface
from difflut_compiler.lower import class_count_nets
from difflut_compiler.passes import OPTIMISE, run_passes
from difflut_compiler.schedule import schedule
from difflut_compiler.vectors import make_vectors
from difflut_compiler.verify.certificate import (
    RUNG_NAMES,
    Certificate,
    Finding,
    climb,
    not_checked,
    require_some,
    rung_name,
)
from difflut_compiler.verify.ladder import ModelAnswers, check_lowering, check_passes
from tests.compiler.random_graphs import Shape, make_graph, random_inputs, small_graph

GOOD = Finding(12, "all equal", "tool", "1.0")


def raises(error: Exception) -> Callable[[], Finding]:
    def check() -> Finding:
        raise error

    return check


@pytest.mark.parametrize("rung", RUNG_NAMES)
def test_a_check_that_finds_no_difference_has_passed(rung: int) -> None:
    found = climb(rung, lambda: GOOD)
    assert (found.id, found.name, found.status) == (rung, rung_name(rung), "passed")
    assert (found.comparisons, found.reason, found.tool, found.version) == (12, "all equal", "tool", "1.0")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MismatchError("differs on sample 3"), "failed"),
        (ToolMissingError("ghdl is not installed: ..."), "not checked"),
        (NotCheckedError("no LUT"), "not checked"),
    ],
)
def test_a_difference_fails_and_a_missing_tool_is_not_checked(error: Exception, status: str) -> None:
    rung = climb(3, raises(error))
    assert (rung.status, rung.reason, rung.comparisons) == (status, str(error), 0)


@pytest.mark.parametrize("error", [CompilerError("tool failed"), GraphError("bad"), ValueError("bug"), OSError("disk")])
def test_any_other_error_is_no_evidence_and_comes_out(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        climb(3, raises(error))


@pytest.mark.parametrize("comparisons", [0, -1])
def test_a_check_that_compared_nothing_is_an_error(comparisons: int) -> None:
    with pytest.raises(CompilerError, match="the proof compared nothing"):
        require_some(comparisons, "the proof")


def test_the_certificate_as_json() -> None:
    rungs = (climb(1, lambda: GOOD), not_checked(4, "no simulator"))
    certificate = Certificate("vhdl", "ab", "cd", "ef", (), rungs)
    data = json.loads(certificate.to_json())
    assert list(data) == ["target", "model_sha256", "graph_sha256", "files_sha256", "approximations", "rungs"]
    assert list(data["rungs"][0]) == ["id", "name", "status", "reason", "comparisons", "tool", "version", "seconds"]
    assert data["rungs"][1]["status"] == "not checked"
    assert not certificate.failed


def test_one_failed_rung_fails_the_certificate() -> None:
    rungs = tuple(climb(rung, raises(MismatchError("x")) if rung == 4 else lambda: GOOD) for rung in RUNG_NAMES)
    assert Certificate("verilog", "", "", "", (), rungs).failed


# -- rung 1 ------------------------------------------------------------------------------------------------------------


def answers_of(graph: LutGraph, inputs: np.ndarray) -> ModelAnswers:
    counts = evaluate_nets(graph, inputs, class_count_nets(graph)).T.copy()
    return ModelAnswers(counts.argmax(axis=1), counts, "1.0")


def test_rung_1_counts_votes_and_classes() -> None:
    graph = small_graph(True)
    inputs = random_inputs(graph, 50)
    finding = check_lowering(graph, class_count_nets(graph), inputs, answers_of(graph, inputs), [], "50 samples")
    assert finding.comparisons == 50 * (3 + 1)


@pytest.mark.parametrize("wrong", ["votes", "class"])
def test_rung_1_fails_on_a_single_difference(wrong: str) -> None:
    graph = small_graph(True)
    inputs = random_inputs(graph, 50)
    answers = answers_of(graph, inputs)
    if wrong == "votes":
        answers.class_counts[17, 1] += 1
    else:
        answers.class_index[17] = (answers.class_index[17] + 1) % 3
    with pytest.raises(MismatchError, match="graph and model differ on 1 of 50 samples, first sample 17"):
        check_lowering(graph, class_count_nets(graph), inputs, answers, [], "50 samples")


def test_rung_1_without_samples_is_an_error() -> None:
    graph = small_graph(True)
    inputs = random_inputs(graph, 1)[:0]
    nothing = ModelAnswers(np.zeros(0, dtype=np.int64), np.zeros((0, 3), dtype=np.int64), "1.0")
    with pytest.raises(CompilerError, match="compared nothing"):
        check_lowering(graph, class_count_nets(graph), inputs, nothing, [], "no samples")


# -- rung 2 and the vectors --------------------------------------------------------------------------------------------


def test_rung_2_says_what_was_proven_how(tmp_path: Path) -> None:
    graph = make_graph(Shape(), 3)
    lowered = graph.copy()
    steps = run_passes(graph, OPTIMISE, random_inputs(graph, 10))
    finding = check_passes(lowered, steps, graph, schedule(graph, "layers"), 10, tmp_path)
    assert finding.comparisons > 0
    assert f"{len(steps)} pass steps proven net by net" in finding.reason
    assert "outputs equal on 10 vectors" in finding.reason


@pytest.mark.parametrize("signed", [False, True])
def test_vectors_hold_the_corners_and_both_sides_of_every_threshold(signed: bool) -> None:
    graph = small_graph(signed)
    vectors = make_vectors(graph, None)
    low, high = (-4, 3) if signed else (0, 7)
    rows = vectors.inputs.tolist()
    assert [low, low] in rows
    assert [high, high] in rows
    assert [low, high] in rows
    assert [high, low] in rows
    for feature in range(2):
        seen = {row[feature] for row in rows[: vectors.corner_samples]}
        thresholds = [low + 1 + 2 * level for level in range(3)]
        assert seen >= {*thresholds, *(threshold - 1 for threshold in thresholds)}
    assert vectors.inputs.min() >= low
    assert vectors.inputs.max() <= high
    assert len(rows) == vectors.data_samples + vectors.corner_samples + vectors.random_samples


def test_vectors_are_the_same_every_time_and_end_with_the_data() -> None:
    graph = small_graph(True)
    data = random_inputs(graph, 7)
    first, second = make_vectors(graph, data), make_vectors(graph, data)
    assert (first.inputs == second.inputs).all()
    assert (first.inputs[-7:] == data).all()
    assert first.describe().endswith(", 7 data samples")


# -- what is said about time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interface", "latency_cycles", "latency", "timing"),
    [
        (Interface(), 3, "3 clock cycles, one sample per cycle", "each answer after exactly 3 clock cycles"),
        (Interface(), 1, "1 clock cycle, one sample per cycle", "each answer after exactly 1 clock cycle"),
        (Interface(), 0, "combinational", "combinational"),
        (Interface("valid"), 3, "3 clock cycles, one sample per cycle", "each answer after exactly 3 clock cycles"),
        (
            Interface(clock_enable=True),
            3,
            "3 clock cycles, one sample per cycle",
            "each answer after exactly 3 clock cycles with enable",
        ),
        # The FIFO, and who waits for whom, decide when an answer comes; the bench looks at their order.
        (
            Interface("axi-stream", 32),
            3,
            "3 clock cycles in the network, then a FIFO; one sample per 4 beats",
            "answers in order, none lost and none twice, while sender and receiver pause at random",
        ),
        (
            Interface("axi-stream", 128),
            0,
            "combinational network, then a FIFO; one sample per beat",
            "answers in order, none lost and none twice, while sender and receiver pause at random",
        ),
    ],
)
def test_what_is_said_of_time_is_true_of_the_interface(
    interface: Interface, latency_cycles: int, latency: str, timing: str
) -> None:
    assert interface.describe_latency(latency_cycles, feature_bits=100) == latency
    assert interface.describe_timing(latency_cycles) == timing
