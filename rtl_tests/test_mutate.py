"""Random changes of emitted Verilog: the proof refuses each that changes an answer."""

from __future__ import annotations

import random

import pytest

import mutate
from tests.compiler.designs import make_design
from tests.compiler.needs import need


def need_tools() -> None:
    for tool in ("iverilog", "ghdl"):
        need(tool)


@pytest.mark.parametrize("count", [16, pytest.param(400, marks=pytest.mark.slow)])
def test_random_changes_are_refused_by_the_proof(count: int) -> None:
    need_tools()
    outcomes, remarkable = mutate.measure(1000, count)
    visible = outcomes["caught"] + outcomes["caught by the proof"]
    assert outcomes["missed"] == 0, remarkable
    assert visible > count // 4
    assert outcomes["caught"] >= 0.995 * visible, remarkable


def test_a_proof_that_takes_everything_misses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    need_tools()
    monkeypatch.setattr(mutate, "is_proven", lambda *arguments: True)
    outcomes, remarkable = mutate.measure(1000, 10)
    assert outcomes["missed"] == len(remarkable) > 2


@pytest.mark.parametrize("language", mutate.LANGUAGES)
def test_every_kind_of_change_happens(language: str) -> None:
    plans = [make_design(mutate.SHAPES[1], 1, target=language, adders=adders).plan for adders in (False, True)]
    kinds = {mutate.mutate(plan, random.Random(seed))[0] for plan in plans for seed in range(100)}
    assert kinds == {kind for kind, _, _ in mutate.CHANGES[language]}
