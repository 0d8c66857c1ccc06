"""The benchmark's count of what impossible addresses could save, against all inputs of small networks."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Lut
from difflut_compiler.passes import DropDead, DropUnusedInputs, FoldConstants, run_passes
from tests.compiler.random_graphs import Shape, all_inputs, make_graph, slow_values

SMALL = Shape(features=2, bits=4, thresholds=6, widths=(8, 8), max_fan_in=3, classes=2)
SEEDS = range(12)


def make_clean(seed: int) -> LutGraph:
    """Without constants and needless pins, which the passes take away, but with the rest of what they would."""
    graph = make_graph(SMALL, seed)
    run_passes(graph, (FoldConstants(), DropUnusedInputs(), DropDead()), all_inputs(graph))
    return graph


@pytest.fixture
def dont_cares(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "dont_cares.py"
    spec = importlib.util.spec_from_file_location("dont_cares", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "dont_cares", module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


class Observed:
    """What the nets of a graph are at every input."""

    def __init__(self, graph: LutGraph) -> None:
        self.graph = graph
        self.values = [slow_values(graph.nodes, row) for row in all_inputs(graph).tolist()]
        self.luts = [net for net in graph if isinstance(graph.node(net).op, Lut)]

    def addresses(self, nets: tuple[int, ...]) -> set[tuple[int, ...]]:
        return {tuple(values[net] for net in nets) for values in self.values}

    def is_made_of(self, net: int, nets: tuple[int, ...]) -> bool:
        """Whether the values of some nets say what another one is."""
        return len(self.addresses(nets)) == len(self.addresses((*nets, net)))

    def impossible(self) -> set[int]:
        operands = {net: self.graph.node(net).operands for net in self.luts}
        return {net for net in self.luts if len(self.addresses(operands[net])) < 1 << len(operands[net])}

    def narrower(self) -> set[int]:
        return {
            net
            for net in self.impossible()
            for operands in [self.graph.node(net).operands]
            if any(self.is_made_of(net, rest) for rest in itertools.combinations(operands, len(operands) - 1))
        }

    def joined(self) -> set[tuple[int, int]]:
        """Pairs of which one LUT could take the place: equal or opposite ones, and a LUT with its only reader."""
        pins = {net: set(self.graph.node(net).operands) for net in self.luts}
        readers = {net: [one for one in self.graph if net in self.graph.node(one).operands] for net in self.luts}
        impossible, found = self.impossible(), set()
        for first, second in itertools.combinations(self.luts, 2):
            if impossible.isdisjoint((first, second)):
                continue
            if first in pins[second]:
                read = sorted(pins[first] | pins[second] - {first})
                fits = any(self.is_made_of(second, some) for some in itertools.combinations(read, min(6, len(read))))
                if readers[first] == [second] and fits:
                    found.add((first, second))
            elif pins[first] & pins[second] and len({values[first] ^ values[second] for values in self.values}) == 1:
                found.add((first, second))
        return found


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_those_of_all_inputs(dont_cares: ModuleType, seed: int) -> None:
    graph = make_clean(seed)
    seen = Observed(graph)
    found = dont_cares.count_dont_cares("small", graph)
    assert found.luts == len(seen.luts)
    assert (found.impossible, found.narrower) == (len(seen.impossible()), len(seen.narrower()))
    assert found.joined == len(seen.joined())


def test_there_is_something_to_count() -> None:
    observed = [Observed(make_clean(seed)) for seed in SEEDS]
    assert all(sum(len(what(one)) for one in observed) > 5 for what in (Observed.impossible, Observed.narrower))
    assert any(one.joined() for one in observed)


@pytest.mark.parametrize("seed", range(20))
def test_the_fewest_pins_are_those_of_some_choice(dont_cares: ModuleType, seed: int) -> None:
    chance = np.random.default_rng(seed)
    table, possible = chance.random((2, 16)) < [[0.5], [0.4]]
    places = np.flatnonzero(possible)

    def suffices(pins: tuple[int, ...]) -> bool:
        answers: dict[tuple[int, ...], bool] = {}
        keys = [tuple(int(place) >> pin & 1 for pin in pins) for place in places]
        return all(
            answers.setdefault(key, table[place]) == table[place] for key, place in zip(keys, places, strict=True)
        )

    counts = [len(pins) for count in range(5) for pins in itertools.combinations(range(4), count) if suffices(pins)]
    assert dont_cares.fewest_pins(table, possible) == min(counts)
