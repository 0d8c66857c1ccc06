"""The cost model: sums and paths against ones counted by hand, the fit against coefficients that made its data."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from difflut_compiler.costs.estimate import (
    CostModel,
    Delays,
    amounts_by_part,
    cost_models,
    estimate_all,
    longest_path,
    models_to_json,
)
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import Add, ArgMax, Compare, Concat, Greater, Input, Lut, Mux, Output, PopCount, Register
from difflut_compiler.passes import EXPAND, DropDead, ExpandArgMax, run_passes
from difflut_compiler.synth import FAMILIES
from tests.compiler.designs import make_design
from tests.compiler.random_graphs import Shape

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark_module() -> ModuleType:
    """benchmarks/cost_model.py, which is no package."""
    spec = importlib.util.spec_from_file_location("cost_model_benchmark", ROOT / "benchmarks" / "cost_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def small_graph() -> LutGraph:
    """Two comparators, a LUT of six inputs behind a register, one of two, and a sum and a choice behind them."""
    graph = LutGraph("tiny", ["input", "encoder", "layers.0", "class_counts", "argmax", "output"])
    word = graph.add(Input("f", 8), origin=Origin("input", 0))
    fine = graph.add(Compare(37), (word,), origin=Origin("encoder", 0))
    coarse = graph.add(Compare(64), (word,), origin=Origin("encoder", 1))
    wide = graph.add(Lut(6, 0x123456789ABCDEF), (fine, coarse) * 3, origin=Origin("layers.0", 0))
    kept = graph.add(Register(), (wide,), origin=Origin("layers.0", 0))
    narrow = graph.add(Lut(2, 0b0110), (kept, kept), origin=Origin("layers.0", 1))
    count = graph.add(PopCount(), (narrow, kept, narrow), origin=Origin("class_counts", 0))
    total = graph.add(Add(3), (count, count), origin=Origin("class_counts", 0, "sum"))
    wins = graph.add(Greater(), (count, total), origin=Origin("argmax", 0, "wins"))
    best = graph.add(Mux(), (wins, count, total), origin=Origin("argmax", 0, "best"))
    graph.add(Output("class_index"), (best,), origin=Origin("output", 0))
    return graph


def test_amounts_are_counted_by_layer() -> None:
    """37 needs all 8 bits, 64 the upper 2: (8-1)/3 and (2-1)/3 LUT-4, rounded up; with LUT-6, (8-1)/5 and (2-1)/5."""
    expected: dict[str, dict[str, int]] = {
        "encoder": {"compare": 3 + 1},
        "layers.0": {"lut2": 1, "lut6": 1},
        "class_counts": {"add": 3, "popcount3": 1},
        "argmax": {"greater3": 1, "mux": 3},
    }
    assert amounts_by_part(small_graph(), 4) == expected
    assert amounts_by_part(small_graph(), 6) == expected | {"encoder": {"compare": 2 + 1}}


@pytest.mark.parametrize("signed", [False, True])
def test_a_comparison_takes_as_many_bits_as_decide_it(signed: bool) -> None:
    """By enumeration: the fewest highest bits from which the answer follows; none if it is always the same."""
    word = Input("f", 4, signed)
    values = np.arange(word.min_value, word.max_value + 1)
    for threshold in range(word.min_value - 2, word.max_value + 3):
        answers = values >= threshold
        enough = [
            bits for bits in range(5) if all(len(set(part)) == 1 for part in answers.reshape(1 << bits, -1).tolist())
        ]
        assert Compare(threshold).bits_compared(word) == enough[0]
        graph = LutGraph("tiny", ["input", "encoder", "output"])
        bit = graph.add(Compare(threshold), (graph.add(word, origin=Origin("input", 0)),), origin=Origin("encoder", 0))
        graph.add(Output("y"), (bit,), origin=Origin("output", 0))
        assert amounts_by_part(graph, 4).get("encoder", {}).get("compare", 0) == math.ceil((enough[0] - 1) / 3)


def test_luts_that_count_are_a_kind_of_their_own() -> None:
    graph = make_design(Shape(widths=(8, 24), max_fan_in=3, classes=2)).graph
    amounts = amounts_by_part(graph, 4)
    luts = [len(graph.node(net).operands) for net in graph if graph.node(net).op.kind == "lut"]
    assert any(kind.startswith("counter") for kind in amounts["class_counts"])
    assert all(kind.startswith("lut") for layer in ("layers.0", "layers.1") for kind in amounts[layer])
    counted = {kind: sum(part.get(kind, 0) for part in amounts.values()) for part in amounts.values() for kind in part}
    for fan_in in range(1, 7):
        assert counted.get(f"lut{fan_in}", 0) + counted.get(f"counter{fan_in}", 0) == luts.count(fan_in)


def test_a_choice_with_a_constant_is_no_multiplexer() -> None:
    """Of four scores of three bits, two go on; of two positions, constants before, one of two bits."""
    graph = LutGraph("tiny", ["input", "argmax", "output"])
    scores = [graph.add(Input(f"score{k}", 3), origin=Origin("input", k)) for k in range(4)]
    best = graph.add(ArgMax(), scores, origin=Origin("argmax", 0))
    graph.add(Output("class_index"), (best,), origin=Origin("output", 0))
    for step in (ExpandArgMax(lut_inputs=4), DropDead()):
        step.apply(graph)
    assert amounts_by_part(graph, 4)["argmax"] == {"greater3": 3, "mux": 2 * 3 + 2}


@pytest.mark.parametrize("score_bits", [3, 4, 6, 7, 8, 10])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 10, 11, 26, 47])
def test_the_argmax_is_about_as_large_as_estimated(classes: int, score_bits: int) -> None:
    graph = LutGraph("tiny", ["input", "argmax", "output"])
    scores = []
    for index in range(classes):
        bits = [graph.add(Input(f"x{index}_{k}", 1), origin=Origin("input", index, f"{k}")) for k in range(score_bits)]
        scores.append(graph.add(Concat(), bits, origin=Origin("argmax", index)))
    best = graph.add(ArgMax(), scores, origin=Origin("argmax", 0, "best"))
    graph.add(Output("class_index"), (best,), origin=Origin("output", 0))
    estimated = graph.size().lut6_total
    run_passes(graph, EXPAND, np.zeros((1, classes * score_bits), dtype=np.int64), repeat=False)
    assert estimated == pytest.approx(graph.size().lut6_total, rel=0.05, abs=2 if classes > 3 else 0)


def test_the_longest_path_depends_on_the_delays() -> None:
    """Before the register a comparator of two levels and a wide LUT; behind it LUT, count, sum, comparison, choice."""
    graph, ecp5 = small_graph(), FAMILIES["ecp5"]
    behind = {"level": 3 + math.ceil(math.log(2 * 3, 4)), "wide": 0, "carry": 1, "carry_bits": 3}
    before = {"level": 1 + math.ceil(math.log(8, 4)), "wide": 2, "carry": 0, "carry_bits": 0}
    assert longest_path(graph, ecp5, Delays(0, 1, 0, 1, 0, 0)) == behind
    assert longest_path(graph, ecp5, Delays(0, 1, 10, 1, 0, 0)) == before


def test_a_comparison_is_a_carry_chain_where_the_family_makes_one_of_it() -> None:
    """Three bits are one on iCE40, and two levels of LUTs on ECP5."""
    delays = Delays(0, 1, 0, 1, 0, 0)
    assert longest_path(small_graph(), FAMILIES["ice40"], delays) == {
        "level": 3,
        "wide": 0,
        "carry": 2,
        "carry_bits": 6,
    }
    assert longest_path(small_graph(), FAMILIES["ecp5"], delays)["carry"] == 1


def test_an_estimate_is_the_sum_of_its_parts() -> None:
    delays = Delays(path=1, level=0.5, wide=0.25, carry=0.75, carry_bits=0.125, level_wires=0.5)
    luts = {"compare": 2.0, "lut6": 4.0, "lut2": 1.0, "popcount3": 2.0, "greater3": 4.0, "mux": 0.5}
    estimate = CostModel(luts, delays).estimate(small_graph(), FAMILIES["ecp5"])
    assert estimate.estimated_luts_by_part == {"encoder": 8, "layers.0": 5, "class_counts": 2 + 3, "argmax": 6}
    assert estimate.estimated_luts == 24
    period_ns = 1 + 5 * (0.5 + 0.5 * math.log2(3)) + 0.75 + 3 * 0.125
    assert estimate.estimated_fmax_mhz == round(1000 / period_ns, 1)
    assert CostModel({}, None).estimate(small_graph(), FAMILIES["ecp5"]).estimated_fmax_mhz is None


def test_models_survive_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = cost_models()
    assert {"ecp5", "ice40"} <= set(models)
    path = tmp_path / "models.json"
    path.write_text(models_to_json(models))
    monkeypatch.setattr("difflut_compiler.costs.estimate.MODELS", path)
    cost_models.cache_clear()
    try:
        assert cost_models() == models
    finally:
        monkeypatch.undo()
        cost_models.cache_clear()


@pytest.mark.parametrize("pipeline", ["layers", "none"])
def test_every_calibrated_family_has_an_estimate(pipeline: str) -> None:
    estimates = estimate_all(make_design(pipeline=pipeline).graph)
    assert set(estimates) == set(cost_models())
    for family, estimate in estimates.items():
        assert estimate.estimated_luts > 0
        assert (estimate.estimated_fmax_mhz is None) == (cost_models()[family].delays is None)


# -- the fit -----------------------------------------------------------------------------------------------------------


def made_up_rows(luts: dict[str, float], delays: Delays, count: int) -> list[dict[str, Any]]:
    """Measurements that follow a model exactly."""
    random = np.random.default_rng(1)
    rows = []
    for seed in range(count):
        amounts = {f"part{k}": {kind: int(random.integers(1, 200)) for kind in luts} for k in range(3)}
        paths = [
            {kind: int(random.integers(0, 12)) for kind in ("level", "wide", "carry", "carry_bits")} for _ in range(4)
        ]
        size = int(random.integers(10, 2000))
        by_part = {part: sum(luts[kind] * n for kind, n in one.items()) for part, one in amounts.items()}
        period_ns = max(delays.period_ns(path, size) for path in paths)
        rows.append(
            {
                "spec": {"seed": seed},
                "family": "ecp5",
                "luts_by_part": by_part,
                "fmax_mhz": 1000 / period_ns,
                "amounts_by_part": amounts,
                "luts": size,
                "paths": paths,
            }
        )
    return rows


def test_the_fit_finds_the_coefficients_that_made_the_data(benchmark_module: ModuleType) -> None:
    luts = {"lut4": 1.0, "lut6": 4.0, "add": 1.5}
    delays = Delays(path=1.0, level=0.5, wide=0.75, carry=0.25, carry_bits=0.5, level_wires=0.0625)
    rows = made_up_rows(luts, delays, 60)
    model = benchmark_module.fit_family(rows[:30])
    assert model.luts == pytest.approx(luts, abs=1e-3)
    assert vars(model.delays) == pytest.approx(vars(delays), abs=1e-3)
    errors = benchmark_module.take_errors(model, rows[30:], 30)
    assert errors.networks == 30
    assert errors.worst_luts < 0.01
    assert errors.worst_fmax < 0.01


def test_errors_are_taken_on_other_networks(benchmark_module: ModuleType) -> None:
    """Rows for calibration follow one model, all others are twice as large and half as fast."""
    rows = made_up_rows({"lut4": 1.0}, Delays(1, 1, 1, 1, 1, 0), 30)
    for row in rows:
        if not benchmark_module.is_for_calibration(row):
            row["luts_by_part"] = {part: 2 * n for part, n in row["luts_by_part"].items()}
            row["fmax_mhz"] /= 2
    model, errors = benchmark_module.fit_all(rows)["ecp5"]
    assert model.luts == pytest.approx({"lut4": 1.0}, abs=1e-3)
    assert (errors.calibrated_on, errors.networks) == (10, 20)
    assert errors.median_luts == pytest.approx(0.5, abs=0.01)
    assert errors.median_fmax == pytest.approx(1.0, abs=0.02)


def test_no_coefficient_is_negative(benchmark_module: ModuleType) -> None:
    matrix = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert benchmark_module.solve_positive(matrix, np.array([3.0, 2.0, 1.0])) == [2.0, 0.0]


def test_what_is_published_is_what_the_measurements_give(benchmark_module: ModuleType) -> None:
    """The coefficients in use and the page about their error are those of the stored measurements."""
    rows = benchmark_module.read_measurements()
    results = benchmark_module.fit_all(rows)
    assert set(results) == set(cost_models())
    for family, published in cost_models().items():
        fitted = results[family][0]
        assert published.luts == pytest.approx(fitted.luts, abs=1e-3)
        assert (published.delays is None) == (fitted.delays is None)
        if published.delays is not None:
            assert vars(published.delays) == pytest.approx(vars(fitted.delays), abs=1e-3)
    assert benchmark_module.PAGE.read_text() == benchmark_module.describe(results, rows)


@pytest.mark.parametrize("family", ["ecp5", "ice40", "xilinx"])
def test_estimates_are_as_good_as_they_have_to_be(family: str, benchmark_module: ModuleType) -> None:
    model, errors = benchmark_module.fit_all(benchmark_module.read_measurements())[family]
    assert errors.networks >= 20
    assert errors.median_luts <= 0.10
    assert model.delays is None or errors.median_fmax <= 0.20
