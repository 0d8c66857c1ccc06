"""Random changes of emitted Verilog: the proof refuses each that changes an answer."""

from __future__ import annotations

import random

import pytest

import mutate
from tests.compiler.designs import make_design
from tests.compiler.needs import need


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_random_changes_are_refused_by_the_proof(count: int) -> None:
    need("iverilog")
    outcomes, missed = mutate.measure(1000, count)
    assert missed == []
    assert outcomes["caught"] + outcomes["caught by the proof"] > count // 4


def test_a_proof_that_takes_everything_misses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    need("iverilog")
    monkeypatch.setattr(mutate, "is_proven", lambda *arguments: True)
    outcomes, missed = mutate.measure(1000, 10)
    assert outcomes["missed"] == len(missed) > 2


def test_every_kind_of_change_happens() -> None:
    plan = make_design(mutate.SHAPES[1], 1).plan
    kinds = {mutate.mutate(plan, random.Random(seed))[0] for seed in range(100)}
    assert kinds == {kind for kind, _, _ in mutate.CHANGES}
