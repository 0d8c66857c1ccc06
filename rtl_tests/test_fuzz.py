"""Random models of every kind answer in hardware and in C as they do in PyTorch; `make fuzz` tries thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz
from difflut import REGISTRY
from difflut_compiler.graph import LutGraph
from difflut_compiler.lower import lower
from difflut_compiler.ops import Lut
from tests.compiler.needs import need

MODELS = 100


def test_a_hundred_random_models() -> None:
    for tool in ("gcc", "iverilog", "ghdl"):
        need(tool)
    failures, drawn = fuzz.fuzz(0, MODELS)
    assert not failures, "\n".join(failures)
    assert drawn["c"] == MODELS
    assert sum(drawn[language] for language in fuzz.HARDWARE) >= MODELS // fuzz.EVERY_HARDWARE
    names = [*REGISTRY.list_nodes(), *REGISTRY.list_encoders(), *REGISTRY.list_layers(), *fuzz.HARDWARE]
    assert [name for name in names if not drawn[name]] == []


ONCE_WRONG = {1048: "a bit of a code that is constant in this input format, beside a comparator that is constant, too"}


@pytest.mark.parametrize("seed", ONCE_WRONG, ids=ONCE_WRONG.get)
@pytest.mark.filterwarnings("ignore:GroupSum")
def test_models_that_once_failed(seed: int, tmp_path: Path) -> None:
    need("gcc")
    fuzz.check(seed, ["c"], tmp_path)


def test_options_are_drawn_for_everything_that_is_registered() -> None:
    assert set(fuzz.NODE_OPTIONS) == set(REGISTRY.list_nodes())
    assert set(fuzz.LAYER_OPTIONS) == set(REGISTRY.list_layers())


def test_a_seed_is_always_the_same_model() -> None:
    first, second = fuzz.draw(7), fuzz.draw(7)
    assert first.config == second.config
    assert fuzz.draw(8).config != first.config
    assert all(first.model.state_dict()[name].equal(value) for name, value in second.model.state_dict().items())


@pytest.mark.parametrize("language", ["c", *fuzz.HARDWARE])
def test_a_wrong_network_is_found(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    need("ghdl" if language == "vhdl" else "iverilog")

    def lower_another(model: object, name: str) -> LutGraph:
        graph = lower(model, name)  # type: ignore[arg-type]
        for net in list(graph):
            op = graph.node(net).op
            if isinstance(op, Lut):
                graph.replace(net, Lut(op.fan_in, op.table ^ (1 << (1 << op.fan_in)) - 1), graph.node(net).operands)
        return graph

    monkeypatch.setattr(fuzz, "lower", lower_another)
    with pytest.raises(AssertionError, match=f"{language}: [0-9]+ of [0-9]+ answers are wrong, first sample"):
        fuzz.check(2, [language], tmp_path)


def test_a_failure_prints_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("c: 3 of 150 answers are wrong")

    monkeypatch.setattr(fuzz, "check", fail)
    failures, _ = fuzz.fuzz(41, 2)
    assert [failure.partition(":")[0] for failure in failures] == ["seed 41", "seed 42"]
    assert "python rtl_tests/fuzz.py --seed 42 --count 1 --everything" in failures[1]
