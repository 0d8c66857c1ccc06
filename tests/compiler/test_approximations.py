"""Approximations: what they may change, what it may cost, and what is said about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from difflut import save_model
from difflut_compiler import vectors
from difflut_compiler.accuracy import LabelledData
from difflut_compiler.approximations import Approximation, NarrowEncoder, ReplaceLuts, approximate, replace_luts
from difflut_compiler.approximations.narrow_encoder import _find_roundings
from difflut_compiler.approximations.replace_luts import find_replacements
from difflut_compiler.errors import MismatchError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.graph import LutGraph
from difflut_compiler.lower import lower
from difflut_compiler.ops import AnyOp, Compare, Const, Input, Lut, PopCount
from difflut_compiler.passes import DropUnusedInputs
from tests.compiler.models import make_model
from tests.compiler.random_graphs import Shape, make_graph, random_inputs
from tests.compiler.test_compile import certificate_of, refused, run, statuses

FORMATS: list[dict[str, Any]] = [
    {"bits": 4, "signed": True, "scale": 0.5},
    {"bits": 7, "signed": False, "scale": 0.125},
    {"bits": 1, "signed": False, "scale": 1.0},
]


def lowered(input_format: dict[str, Any], seed: int = 0) -> LutGraph:
    return lower(make_model(features=4, layer_widths=[30, 24], input_format=input_format, seed=seed), "network")


def labelled(graph: LutGraph, samples: int = 400, seed: int = 1) -> LabelledData:
    """Samples that lie about as they do in real data, labelled by the graph but for one in ten."""
    random = np.random.default_rng(seed)
    ports = [op for net in graph.inputs() if isinstance(op := graph.node(net).op, Input)]
    middle = np.array([(op.min_value + op.max_value + 1) // 2 for op in ports])
    spread = np.array([(op.max_value - op.min_value + 1) / 5 for op in ports])
    inputs = np.rint(random.normal(middle, spread, (samples, len(ports)))).astype(np.int64)
    inputs = np.clip(inputs, [op.min_value for op in ports], [op.max_value for op in ports])
    labels = graph.evaluate(inputs)["class_index"].copy()
    labels[::10] = random.integers(0, 3, len(labels[::10]))
    return LabelledData("random", inputs, labels)


def accuracy(graph: LutGraph, data: LabelledData) -> float:
    return float((graph.evaluate(data.inputs)["class_index"] == data.labels).mean())


def changed_nodes(before: LutGraph, after: LutGraph) -> list[int]:
    assert before.nodes.keys() == after.nodes.keys()
    return [net for net in before if before.node(net) != after.node(net)]


@pytest.mark.parametrize("input_format", FORMATS)
@pytest.mark.parametrize("allowance", [0, 0.02, 0.3, 1.5, 50])
def test_thresholds_get_the_fewest_bits_that_an_allowance_permits(
    input_format: dict[str, Any], allowance: float
) -> None:
    """Compared with a search over all numbers of bits and all thresholds of so many bits, sample by sample."""
    graph = lowered(input_format)
    data = labelled(graph)
    roundings = _find_roundings(graph, data.inputs)
    place = {net: column for column, net in enumerate(graph.inputs())}
    assert sorted(roundings.nets) == [net for net in sorted(graph) if isinstance(graph.node(net).op, Compare)]
    for net, chosen in zip(roundings.nets, roundings.choose(allowance).tolist(), strict=True):
        node = graph.node(net)
        port = graph.node(node.operands[0]).op
        assert isinstance(port, Input)
        assert isinstance(node.op, Compare)
        words = data.inputs[:, place[node.operands[0]]]
        old = words >= node.op.threshold
        readers = sum(net in other.operands for other in graph.nodes.values())

        def pins(threshold: int, old: np.ndarray = old, words: np.ndarray = words, readers: int = readers) -> float:
            return float((old != (words >= threshold)).mean()) * readers

        grids = [range(port.min_value, port.max_value + 2, 1 << (port.bits - kept)) for kept in range(port.bits + 1)]
        fewest = next(grid for grid in grids if min(map(pins, grid)) <= allowance)
        assert chosen in fewest
        assert pins(chosen) == min(map(pins, fewest))


@pytest.mark.parametrize("kind", [NarrowEncoder, ReplaceLuts])
@pytest.mark.parametrize("input_format", FORMATS)
@pytest.mark.parametrize("budget_points", [0, 0.5, 5])
def test_budgets_are_kept_and_records_tell_the_truth(
    kind: Callable[[float], Approximation], input_format: dict[str, Any], budget_points: float
) -> None:
    graph = lowered(input_format)
    before = graph.snapshot()
    training, test = labelled(graph), labelled(graph, seed=2)
    narrowed, (record,) = approximate(graph, [kind(budget_points)], training, test)
    assert graph.snapshot() == before
    changed_kind = Compare if kind is NarrowEncoder else Lut
    assert all(isinstance(graph.node(net).op, changed_kind) for net in changed_nodes(graph, narrowed))
    same = narrowed.evaluate(training.inputs)["class_index"] == graph.evaluate(training.inputs)["class_index"]
    assert record.training_agreement == same.mean()
    assert accuracy(narrowed, training) >= accuracy(graph, training) - budget_points / 100
    found = (record.training_accuracy_before, record.training_accuracy_after)
    assert found == (accuracy(graph, training), accuracy(narrowed, training))
    assert (record.test_accuracy_before, record.test_accuracy_after) == (
        accuracy(graph, test),
        accuracy(narrowed, test),
    )
    numbers = [int(number) for number in re.findall(r"\d+", record.change)]
    moved = numbers[0] if kind is NarrowEncoder else numbers[1] + numbers[2]
    assert moved == len(changed_nodes(graph, narrowed))


def test_a_greater_budget_buys_comparators_that_read_fewer_bits() -> None:
    graph = lowered(FORMATS[1])
    data = labelled(graph)
    read = []
    for budget_points in (0.0, 3.0, 100.0):
        narrowed, _ = NarrowEncoder(budget_points).apply(graph, data)
        thresholds = [node.op.threshold for node in narrowed.nodes.values() if isinstance(node.op, Compare)]
        read.append(sum(7 - (threshold & -threshold).bit_length() + 1 for threshold in thresholds if threshold))
    assert read[0] > read[1] > read[2]


def test_without_a_budget_no_training_sample_sees_another_bit() -> None:
    graph = lowered(FORMATS[1])
    data = labelled(graph)
    for net, old in graph.nodes.items():
        if isinstance(old.op, Compare):
            new = NarrowEncoder(0).apply(graph, data)[0].node(net).op
            words = data.inputs[:, graph.inputs().index(old.operands[0])]
            assert isinstance(new, Compare)
            assert ((words >= old.op.threshold) == (words >= new.threshold)).all()
            break


def votes_changed(before: LutGraph, net: int, op: AnyOp, operands: Sequence[int], inputs: np.ndarray) -> float:
    """How many of the bits that are counted change, per sample, if ``net`` becomes something else."""
    after = before.copy()
    after.replace(net, op, operands)
    bits = [operand for node in before.nodes.values() if isinstance(node.op, PopCount) for operand in node.operands]
    different = evaluate_nets(before, inputs, bits) != evaluate_nets(after, inputs, bits)
    return float(different.sum() / len(inputs))


@pytest.mark.parametrize("input_format", FORMATS)
def test_luts_are_replaced_by_what_changes_the_fewest_votes(input_format: dict[str, Any]) -> None:
    """Compared with trying every replacement; with two layers there is one way from a LUT to a vote."""
    graph = lowered(input_format)
    DropUnusedInputs().apply(graph)
    inputs = labelled(graph, 150).inputs
    luts = [net for net in graph if isinstance(graph.node(net).op, Lut)]
    replacements = find_replacements(graph, inputs)
    assert sorted(replacements) == sorted(luts)
    for net in luts:
        choices: list[tuple[AnyOp, tuple[int, ...]]] = [(Const(0), ()), (Const(1), ())]
        choices += [(Lut(1, table), (operand,)) for operand in graph.node(net).operands for table in (0b01, 0b10)]
        votes = {choice: votes_changed(graph, net, *choice, inputs) for choice in choices}
        found = replacements[net]
        assert found.votes == pytest.approx(min(votes.values()), abs=1e-9)
        assert votes[found.op, found.operands] == pytest.approx(found.votes, abs=1e-9)


def count_changes(graph: LutGraph, inputs: np.ndarray) -> dict[int, np.ndarray]:
    """Votes that change, LUT by LUT: row 0 for the constant 0, row 1 + j for pin j, and column 1 for the opposite."""
    nets = [net for net in graph.order() if graph.node(net).width == 1]
    bits = dict(zip(nets, evaluate_nets(graph, inputs, nets).astype(bool), strict=True))
    votes = {net: np.zeros(len(inputs), dtype=np.int64) for net in nets}
    changes = {}
    for net in reversed(graph.order()):
        node = graph.node(net)
        if not isinstance(node.op, Lut):
            for operand in node.operands:
                if operand in votes:
                    votes[operand] += 1
            continue
        seen = np.array([bits[operand] for operand in node.operands])
        wrong = np.array([np.zeros(len(inputs), dtype=bool), *seen]) ^ bits[net]
        changes[net] = np.array([(one @ votes[net], ~one @ votes[net]) for one in wrong])
        address = (seen.T * (1 << np.arange(len(seen)))).sum(axis=1)
        for pin, operand in enumerate(node.operands):
            flips = [node.op.table >> one & 1 != node.op.table >> (one ^ 1 << pin) & 1 for one in address.tolist()]
            votes[operand] += votes[net] * np.array(flips)
    return changes


@pytest.mark.parametrize("samples_at_once", [1, 7, 64, 4096])
@pytest.mark.parametrize("max_fan_in", [2, 6, 9])
def test_votes_are_those_counted_lut_by_lut(
    max_fan_in: int, samples_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replace_luts, "VALUES_PER_CHUNK", 1)
    monkeypatch.setattr(replace_luts, "LEAST_SAMPLES", samples_at_once)
    monkeypatch.setattr(replace_luts, "VALUES_AT_ONCE", 100)
    graph = make_graph(Shape(max_fan_in=max_fan_in), seed=max_fan_in)
    inputs = random_inputs(graph, 90)
    expected = count_changes(graph, inputs)
    found = find_replacements(graph, inputs)
    assert found.keys() == expected.keys()
    for net, changes in expected.items():
        source, opposite = divmod(int(changes.argmin()), 2)
        operands = (graph.node(net).operands[source - 1],) if source else ()
        op = Lut(1, 0b01 if opposite else 0b10) if source else Const(opposite)
        assert found[net] == (changes.min() / len(inputs), op, operands)


class Reckless:
    """Claims a budget that it does not keep."""

    name: ClassVar[str] = "reckless"
    budget_points: float = 1.0

    def apply(self, graph: LutGraph, training: LabelledData) -> tuple[LutGraph, str]:
        (output,) = graph.outputs()
        (net,) = graph.node(output).operands
        changed = graph.copy()
        changed.replace(net, Const(0, graph.node(net).width), ())
        return changed, "always the first class"


def test_more_than_the_budget_is_refused() -> None:
    graph = lowered(FORMATS[0])
    data = labelled(graph)
    with pytest.raises(MismatchError, match="reckless cost more than 1 percentage points of accuracy"):
        approximate(graph, [Reckless()], data, data)


# -- by the command line -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_and_data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("model")
    input_format = {"bits": 7, "signed": False, "scale": 0.125}
    model = make_model(features=4, layer_widths=[12, 9], input_format=input_format)
    save_model(model, folder / "model.pth")
    graph = lower(model, "network")
    train, test = labelled(graph, seed=1), labelled(graph, seed=2)
    np.savez(
        folder / "data.npz",
        class_names=np.array(model.class_names),
        x_train=train.inputs * 0.125,
        y_train=train.labels,
        x_test=test.inputs * 0.125,
        y_test=test.labels,
    )
    return folder / "model.pth", folder / "data.npz"


def test_the_certificate_tells_what_was_approximated(
    model_and_data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "RANDOM_SAMPLES", 60)
    model, data = model_and_data
    out = tmp_path / "out"
    code, output, error = run(
        "compile",
        model,
        "-t",
        "verilog",
        "-o",
        out,
        "--data",
        data,
        "--lut-budget",
        "5",
        "--encoder-budget",
        "5",
        "--no-count-luts",
    )
    assert (code, error) == (0, "")
    certificate = certificate_of(out)
    records = certificate["approximations"]
    assert [record["name"] for record in records] == ["replace-luts", "narrow-encoder"]
    figures = json.loads((out / "report.json").read_text())["accuracy"]
    for record in records:
        assert record["training_accuracy_before"] - record["training_accuracy_after"] <= 0.05
        assert " ".join(record["change"].split()) in " ".join(output.split())
        assert record["change"] in (out / "report.html").read_text()
    assert records[0]["test_accuracy_before"] == figures["model"]
    assert records[0]["test_accuracy_after"] == records[1]["test_accuracy_before"]
    assert records[1]["test_accuracy_after"] == figures["graph"]
    assert figures["graph"] == figures["simulated"] != figures["model"]
    names = [rung["name"] for rung in certificate["rungs"]]
    assert names[0] == "graph equals the model in eval mode"
    assert names[1] == "optimised and scheduled graph equals the approximated graph"
    assert names[3] == "simulated RTL equals the approximated graph"
    assert "the lowered graph" not in json.dumps(certificate["rungs"])
    assert set(statuses(out).values()) == {"passed"}
    code, output, _ = run("verify", out, "--model", model)
    assert code == 0
    assert "the network was approximated" in output


def test_thresholds_stay_unless_a_budget_is_given(model_and_data: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = model_and_data
    code, _, _ = run("compile", model, "-t", "json", "-o", tmp_path / "out", "--data", data)
    assert code == 0
    assert certificate_of(tmp_path / "out")["approximations"] == []


@pytest.mark.parametrize("option", ["--encoder-budget", "--lut-budget"])
@pytest.mark.parametrize("budget", ["-0.1", "100.5", "nan"])
def test_impossible_budgets_are_refused(
    option: str, budget: str, model_and_data: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = model_and_data
    options = ("-t", "verilog", "-o", tmp_path / "out", "--data", data, option, budget)
    assert refused(2, "compile", model, *options) == (
        f"{option} is {budget}; it is percentage points of accuracy, from 0 to 100"
    )


def test_a_budget_without_a_way_to_measure_accuracy_is_refused(
    model_and_data: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = model_and_data
    assert refused(2, "compile", model, "-t", "json", "-o", tmp_path / "a", "--encoder-budget", "1") == (
        "an accuracy budget needs data to measure accuracy on; name them with --data"
    )
    code, _, _ = run("compile", model, "-t", "json", "-o", tmp_path / "out")
    assert code == 0
    graph = tmp_path / "out" / "graph.json"
    assert "whose accuracy cannot be measured" in refused(
        2, "compile", graph, "-t", "json", "-o", tmp_path / "b", "--data", data, "--encoder-budget", "1"
    )
