"""Packed networks against their twin in numpy, against enumeration, and against rounding to the input format."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difflut import InputFormat
from difflut.kernels import build
from difflut_compiler import packed
from difflut_compiler.errors import CompilerError
from difflut_compiler.evaluation import evaluate_in_numpy, evaluate_nets
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import (
    OP_BY_KIND,
    Add,
    AnyOp,
    ArgMax,
    Bit,
    Compare,
    Concat,
    Const,
    Greater,
    Input,
    Lut,
    Mux,
    Output,
    PopCount,
    Register,
)
from difflut_compiler.packed import pack_network
from tests.compiler.random_graphs import SEEDS, SHAPES, Shape, make_graph, random_inputs


def assert_equal_to_twin(graph: LutGraph, inputs: np.ndarray) -> None:
    """Every net of the graph, on every sample."""
    nets = sorted(graph)
    found = pack_network(graph, nets).run(inputs.astype(np.float32))
    assert np.array_equal(found, evaluate_in_numpy(graph, inputs, nets))


@given(SHAPES, SEEDS, st.integers(1, 70))
def test_a_packed_network_is_its_twin(shape: Shape, seed: int, samples: int) -> None:
    graph = make_graph(shape, seed)
    assert_equal_to_twin(graph, random_inputs(graph, samples, seed))


@pytest.mark.parametrize("samples", [0, 1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 1500])
@pytest.mark.parametrize("features", [1, 15, 16, 17, 40])
def test_sizes_around_vectors_and_tiles(samples: int, features: int) -> None:
    graph = make_graph(Shape(features=features, signed=True, widths=(30, 20)), seed=features)
    assert_equal_to_twin(graph, random_inputs(graph, samples))


OTHER_MACHINES = [[], ["-march=native", "-mno-gfni"]] if platform.machine() == "x86_64" else [[]]
"""Flags of the compiler for other machines of this kind: the oldest one, and one without an extension."""


@pytest.fixture(params=OTHER_MACHINES, ids=" ".join)
def other_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library as compiled for machines of this kind without the instructions of this one."""
    flags = (*(flag for flag in build.FLAGS if not flag.startswith("-march")), *request.param)
    monkeypatch.setattr(build, "FLAGS", flags)
    packed._library.cache_clear()
    yield
    packed._library.cache_clear()


@pytest.mark.usefixtures("other_machine")
def test_any_machine_gets_the_same_answers() -> None:
    for seed, features in enumerate((3, 16, 21)):
        graph = make_graph(Shape(features=features, signed=True, widths=(30, 20), max_fan_in=9), seed)
        assert_equal_to_twin(graph, random_inputs(graph, 200))


def lut_graph(fan_in: int, tables: list[int]) -> LutGraph:
    """LUTs side by side that read all input bits."""
    graph = LutGraph("luts", ["input", "logic", "output"])
    pins = [graph.add(Input(f"bit_{pin}", 1), origin=Origin("input", pin)) for pin in range(fan_in)]
    for number, table in enumerate(tables):
        net = graph.add(Lut(fan_in, table), pins, origin=Origin("logic", number))
        graph.add(Output(f"y{number}"), (net,), origin=Origin("output", number))
    return graph


@pytest.mark.parametrize("fan_in", range(1, 17))
def test_tables_of_every_size_at_every_address(fan_in: int) -> None:
    chance = np.random.default_rng(fan_in)
    entries = chance.integers(0, 2, (3, 1 << fan_in), dtype=np.uint8)
    tables = [int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little") for row in entries]
    addresses = np.arange(1 << fan_in)[:, None] >> np.arange(fan_in) & 1
    graph = lut_graph(fan_in, tables)
    found = pack_network(graph, graph.outputs()).run(addresses.astype(np.float32))
    assert np.array_equal(found, entries)


def graph_of_words(bits: int) -> LutGraph:
    """Unsigned words that are not only compared, through every operation that takes words; every sum may overflow."""
    graph = LutGraph("words", ["input", "logic", "output"])
    left, right = (graph.add(Input(f"word_{index}", bits), origin=Origin("input", index)) for index in range(2))
    number = itertools.count()

    def add(op: AnyOp, *operands: int) -> int:
        return graph.add(op, operands, origin=Origin("logic", next(number)))

    compared = [add(Compare(threshold), left) for threshold in (0, 1, 2, 3, 1 << bits)]
    count = add(PopCount(5), *compared, add(Const(1)))
    total = add(Add(bits), left, right)
    wider = add(Add(bits + 3), total, count) if bits >= 4 else count
    wins = add(Greater(), left, right)
    chosen = add(Mux(), wins, total, count)
    best = add(ArgMax(), left, right, count, add(Const(3, 2)), chosen)
    joined = add(Concat(), wins, *compared, *(add(Bit(place), right) for place in range(min(bits, 3))))
    for place, net in enumerate((best, wider, joined, add(Register(), left))):
        graph.add(Output(f"y{place}"), (net,), origin=Origin("output", place))
    graph.verify()
    return graph


@pytest.mark.parametrize("bits", [1, 4, 16, 24])
def test_words_that_are_not_only_compared(bits: int) -> None:
    graph = graph_of_words(bits)
    assert {graph.node(net).op.kind for net in graph} == set(OP_BY_KIND) - {"lut"}
    chance = np.random.default_rng(bits)
    corners = list(itertools.product((0, 1, (1 << bits) - 1, 1 << (bits - 1)), repeat=2))
    assert_equal_to_twin(graph, np.concatenate([corners, chance.integers(0, 1 << bits, (600, 2))]))


@given(st.integers(1, 200), st.integers(0, 40), SEEDS)
def test_popcounts_of_any_number_of_bits(bits: int, offset: int, seed: int) -> None:
    graph = LutGraph("count", ["input", "count"])
    pins = [graph.add(Input(f"bit_{pin}", 1), origin=Origin("input", pin)) for pin in range(bits)]
    net = graph.add(PopCount(offset), pins, origin=Origin("count", 0))
    values = np.random.default_rng(seed).integers(0, 2, (10, bits))
    values[0] = 1
    found = pack_network(graph, [net]).run(values.astype(np.float32))
    assert found[0].tolist() == (values.sum(axis=1) + offset).tolist()


@given(st.integers(1, 24), st.booleans(), st.integers(-20, 20), st.lists(st.integers(-(1 << 23), 1 << 24), max_size=20))
def test_reals_count_as_the_nearest_integers_of_the_format(
    bits: int, signed: bool, exponent: int, levels: list[int]
) -> None:
    """At every threshold, halfway below it, and at the neighbours of both."""
    number_format = InputFormat(bits, signed, 2.0**exponent)
    graph = LutGraph("reals", ["input", "encoder"])
    word = graph.add(Input("word", bits, signed), origin=Origin("input", 0))
    levels = sorted({number_format.min_integer, number_format.max_integer, *levels})
    nets = [graph.add(Compare(level), (word,), origin=Origin("encoder", place)) for place, level in enumerate(levels)]
    near = [(level - half) * number_format.scale for level in levels for half in (0, 0.5, 1)]
    reals = np.array([*near, 1e30, -1e30, np.inf, -np.inf, 0.0, -0.0], dtype=np.float32)
    reals = np.concatenate([reals, np.nextafter(reals, np.inf), np.nextafter(reals, -np.inf)], dtype=np.float32)
    integers = number_format.to_integers(torch.from_numpy(reals)).numpy()
    found = pack_network(graph, nets).for_reals(graph, number_format.scale).run(reals[:, None])
    assert np.array_equal(found, integers >= np.array(levels)[:, None])


@pytest.mark.parametrize("features", [3, 16, 40])
def test_bytes_are_read_as_the_numbers_that_they_are(features: int) -> None:
    graph = make_graph(Shape(features=features, bits=8, widths=(30, 20)), seed=features)
    inputs = random_inputs(graph, 700)
    network = pack_network(graph, sorted(graph))
    expected = network.run(inputs.astype(np.float32))
    assert np.array_equal(network.run(inputs.astype(np.uint8)), expected)
    bits = inputs % 2
    assert np.array_equal(network.run(bits == 1), network.run(bits.astype(np.float32)))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    graph = make_graph(Shape(features=4, widths=(40, 30)), seed=3)
    network = pack_network(graph, graph.outputs())
    rows = random_inputs(graph, 5000).astype(np.float32)
    one = network.run(rows, threads=1)
    assert all(np.array_equal(network.run(rows, threads), one) for threads in (0, 2, 3))


def test_what_is_no_number_is_refused() -> None:
    graph = make_graph(Shape(features=20), seed=1)
    rows = random_inputs(graph, 700).astype(np.float32)
    for place in ((0, 0), (699, 19), (300, 16)):
        spoilt = rows.copy()
        spoilt[place] = np.nan
        with pytest.raises(CompilerError, match="hold a NaN"):
            pack_network(graph, sorted(graph)).run(spoilt)


def test_features_of_another_shape_are_refused() -> None:
    graph = make_graph(Shape(features=3), seed=1)
    with pytest.raises(CompilerError, match=r"shape \(5, 4\), the network takes \(samples, 3\)"):
        pack_network(graph, graph.outputs()).run(np.zeros((5, 4), dtype=np.float32))


@pytest.mark.parametrize(
    "variables", [{"DIFFLUT_KERNELS": "torch"}, {"CXX": "/nowhere/g++"}], ids=["not wanted", "no compiler"]
)
def test_without_compiled_code_numpy_answers(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph(Shape(), seed=4)
    inputs = random_inputs(graph, 100)
    expected = evaluate_nets(graph, inputs, sorted(graph))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(packed, "_library", None)  # must not be asked for
    assert not packed.can_pack(graph)
    assert np.array_equal(evaluate_nets(graph, inputs, sorted(graph)), expected)


def test_words_that_float32_cannot_hold_are_left_to_numpy() -> None:
    graph = LutGraph("wide", ["input", "output"])
    word = graph.add(Input("word", 25), origin=Origin("input", 0))
    graph.add(Output("y"), (word,), origin=Origin("output", 0))
    assert not packed.can_pack(graph)
    assert graph.evaluate([[(1 << 25) - 1]])["y"].tolist() == [(1 << 25) - 1]


@settings(max_examples=20)
@given(SEEDS)
def test_rows_are_used_again(seed: int) -> None:
    """A deep network needs places for what is still to be read only."""
    graph = make_graph(Shape(features=2, thresholds=2, widths=(10,) * 12, max_fan_in=2), seed)
    network = pack_network(graph, graph.outputs())
    nodes = sum(not isinstance(graph.node(net).op, Input | Output) for net in graph)
    assert network.row_count < nodes
    inputs = random_inputs(graph, 100)
    assert np.array_equal(network.run(inputs.astype(np.float32)), evaluate_in_numpy(graph, inputs, graph.outputs()))
