"""Random models of every kind answer in hardware and in C as they do in PyTorch; `make fuzz` tries thousands."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import fuzz
import random_models
from difflut import REGISTRY
from difflut_compiler.accuracy import LabelledData
from difflut_compiler.driver import Built, CompileRequest, StepClock, build
from difflut_compiler.emit import emit
from difflut_compiler.errors import MismatchError
from difflut_compiler.interface import PLAIN, Interface
from difflut_compiler.lower import lower
from difflut_compiler.reload import complement_tables
from difflut_compiler.targets import TARGETS
from tests.compiler.models import make_model
from tests.compiler.needs import need
from tests.compiler.random_graphs import random_inputs

MODELS = 100


def test_a_hundred_random_models() -> None:
    for tool in ("gcc", "iverilog", "ghdl", "cocotb"):
        need(tool)
    failures, counts = zip(*fuzz.fuzz(0, MODELS), strict=True)
    assert not any(failures), "\n".join(filter(None, failures))
    drawn = sum(counts, Counter[str]())
    assert drawn["c"] == MODELS
    assert sum(drawn[language] for language in fuzz.HARDWARE) >= MODELS // fuzz.EVERY_HARDWARE
    wanted = [*REGISTRY.list_nodes(), *REGISTRY.list_encoders(), *REGISTRY.list_layers(), *fuzz.HARDWARE]
    wanted += [*random_models.CONFIGS, "scores True"]
    wanted += [f"{name} {value}" for one in fuzz.INTERFACES_TRIED for name, value in vars(one).items() if value]
    assert [name for name in wanted if not drawn[name]] == []


@pytest.mark.parametrize("encoder", REGISTRY.list_encoders())
def test_encoders_that_words_of_one_bit_make_constant(encoder: str, tmp_path: Path) -> None:
    """Where bits of a code are constants beside comparators that are constants, too."""
    need("gcc")
    form = {"bits": 1, "signed": True, "scale": 4.0}
    model = make_model(8, encoder_config={"name": encoder, "num_bits": 3}, layer_widths=[9, 15], input_format=form)
    options = {**fuzz.draw(0).options, "interface": PLAIN}
    fuzz.check(fuzz.Drawn(model, options, refused=0, data_seed=0), ["c"], tmp_path)


TRAINING_ONLY = frozenset(
    """use_cuda generator regularizers layer_config tau_start tau_min tau_decay_iters ste grad_factor routing_tau
    init_fn init_kwargs""".split()
)
"""Arguments that change how a network learns, not what one with given weights answers."""
GIVEN = frozenset(
    {"self", "input_dim", "num_nodes", "input_size", "output_size", "node_type", "n", "node_kwargs", "seed"}
)
"""Arguments that a model's configuration passes on by itself; they are drawn with it."""


def arguments_of(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {one.name for one in parameters if one.kind is not one.VAR_KEYWORD} - TRAINING_ONLY - GIVEN


def test_every_option_of_everything_that_is_registered_is_drawn() -> None:
    for kind, names, get in (
        (random_models.NODE_OPTIONS, REGISTRY.list_nodes(), REGISTRY.get_node),
        (random_models.LAYER_OPTIONS, REGISTRY.list_layers(), REGISTRY.get_layer),
    ):
        assert set(kind) == set(names)
        for name in names:
            assert set(kind[name]) == arguments_of(get(name).__init__) - {"output_dim"}, name
    models: Iterable[str] = REGISTRY.list_models()
    drawn = {REGISTRY.get_model(name) for name in random_models.CONFIGS}
    assert drawn == {REGISTRY.get_model(name) for name in models}


def test_every_option_of_a_compile_is_drawn() -> None:
    options = set(fuzz.draw(0).options)
    assert options | fuzz.NOT_DRAWN == {one.name for one in fields(CompileRequest)}
    assert not options & fuzz.NOT_DRAWN
    for one in fields(Interface):
        assert len({getattr(interface, one.name) for interface in fuzz.INTERFACES_TRIED}) > 1, one.name


def test_a_seed_is_always_the_same_model() -> None:
    first, second = fuzz.draw(7), fuzz.draw(7)
    assert (first.model.config, first.options) == (second.model.config, second.options)
    assert fuzz.draw(8).model.config != first.model.config
    assert all(first.model.state_dict()[name].equal(value) for name, value in second.model.state_dict().items())


@pytest.mark.parametrize("interface", [PLAIN, Interface("valid"), Interface(reset=True)], ids=str)
@pytest.mark.parametrize("language", ["c", *fuzz.HARDWARE])
def test_a_wrong_network_is_found(
    language: str, interface: Interface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("gcc", "cocotb", "ghdl" if language == "vhdl" else "iverilog"):
        need(tool)

    def build_another(request: CompileRequest, clock: StepClock) -> Built:
        built = build(request, clock)
        other = replace(built.scheduled, graph=complement_tables(built.scheduled.graph))
        return replace(built, plan=emit(other, TARGETS[language], "net", request.interface))

    monkeypatch.setattr(fuzz, "build", build_another)
    drawn = fuzz.draw(2)
    drawn = replace(drawn, options={**drawn.options, "interface": interface, "pipeline": "layers"})
    with pytest.raises(MismatchError, match=r"[0-9]+ of [0-9]+ answers are wrong, first sample"):
        fuzz.check(drawn, [language], tmp_path)


def test_a_network_that_costs_more_than_its_budget_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = fuzz.draw(3)
    drawn = replace(drawn, options={**drawn.options, "encoder_budget": None, "lut_budget": 30.0})
    graph = lower(drawn.model, "net")
    inputs = random_inputs(graph, 40)
    training = LabelledData("training", inputs, fuzz.model_answers(drawn.model, inputs)["class_index"])
    fuzz.check_budgets(graph, training, drawn)
    always_wrong = replace(training, labels=training.labels + 1)
    monkeypatch.setattr(fuzz, "model_answers", lambda model, inputs: {"class_index": always_wrong.labels})
    with pytest.raises(AssertionError, match="40 samples lost, 12 allowed"):
        fuzz.check_budgets(graph, always_wrong, drawn)


@pytest.mark.parametrize("seed", [40183, 40428])
def test_blocks_that_icarus_misread(seed: int) -> None:
    """With ``always_comb`` the first made Icarus Verilog 11 abort, and in the second a bit was undefined."""
    for tool in ("iverilog", "cocotb"):
        need(tool)
    failure, _ = fuzz.check_seed(seed, ["systemverilog"])
    assert failure is None


def test_bits_that_yosys_undefines_since_nothing_reads_them() -> None:
    """A constant table that could be reloaded but is not makes registers and comparators before it useless."""
    for tool in ("ghdl", "cocotb"):
        need(tool)
    failure, _ = fuzz.check_seed(100030, ["vhdl"])
    assert failure is None


def test_a_failure_prints_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("c: 3 of 150 answers are wrong")

    monkeypatch.setattr(fuzz, "check", fail)
    (first, _), (second, _) = fuzz.fuzz(41, 2)
    assert str(first).startswith("seed 41: AssertionError: c: 3 of 150")
    assert "python rtl_tests/fuzz.py --seed 42 --count 1 --everything" in str(second)


def test_several_processes_find_the_same() -> None:
    for tool in ("gcc", "iverilog"):
        need(tool)
    together, alone = fuzz.fuzz(7, 3, jobs=2), fuzz.fuzz(7, 3)
    assert list(together) == list(alone)
