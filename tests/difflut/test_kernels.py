"""The kernels against their twins in torch, and which of them runs."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from difflut import kernels
from difflut.errors import KernelError
from difflut.kernels import buffers, build, choice, cpu, ops
from difflut.layers import BaseLUTLayer, LayerConfig, LearnableLayer, RandomLayer
from difflut.registry import REGISTRY
from difflut.rules import (
    Pins,
    Routing,
    WiredPins,
    choose,
    hard_lookup,
    hard_lookup_expected,
    hard_lookup_harmonic,
    look_up,
    multilinear,
    multilinear_of_logits,
    route_hard,
)

Rule = Callable[[Tensor, Pins], Tensor]
RULES: list[Rule] = [multilinear, multilinear_of_logits, hard_lookup, hard_lookup_harmonic, hard_lookup_expected]
INPUTS = 23


class Case:
    """Random tables, features and wiring of a few nodes, and the leaves that gradients are wanted for."""

    def __init__(self, n: int, outputs: int, batch: int, *, choices: int = 0, nodes: int = 7, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.rand(nodes, outputs, 2**n, generator=generator).requires_grad_()
        self.features = torch.rand(INPUTS, batch, generator=generator).requires_grad_()
        self.leaves = [self.table, self.features]
        self.wiring = torch.randint(0, INPUTS, (nodes, n), generator=generator)
        self.routing = None
        if choices:
            candidates = torch.randint(0, INPUTS, (nodes, n, choices), generator=generator)
            logits = torch.randn(nodes, n, choices, generator=generator).requires_grad_()
            self.leaves.append(logits)
            self.wiring = choose(logits, candidates)
            self.routing = Routing(candidates, logits, 0.7)
        self.grad = torch.randn(nodes, outputs, batch, generator=generator)

    @property
    def pins(self) -> WiredPins:
        return WiredPins(self.features, self.wiring, self.routing)

    def answer(self, rule: Rule, implementation: str) -> tuple[Tensor, ...]:
        """The rule's values and the gradients of all leaves."""
        with kernels.use(implementation):
            values = rule(self.table, self.pins)
            return values.detach(), *torch.autograd.grad(values, self.leaves, self.grad)


def assert_equal_to_twin(case: Case, rule: Rule) -> None:
    found, expected = case.answer(rule, "cpu"), case.answer(rule, "torch")
    if rule not in (multilinear, multilinear_of_logits):
        assert torch.equal(found[0], expected[0])
    for name, one, other in zip(("values", "table", "features", "logits"), found, expected, strict=False):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 2e-5 * other.abs().max().clamp_min(1), name


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", range(1, choice.MAX_PINS + 1))
def test_a_kernel_is_its_twin(n: int, rule: Rule) -> None:
    for outputs, batch, choices in product((1, 2, 3), (1, 16, 37, 160), (0, 5, 17)):
        assert_equal_to_twin(Case(n, outputs, batch, choices=choices), rule)


@pytest.mark.parametrize("rule", RULES)
def test_a_kernel_is_its_twin_when_the_layer_is_wide(rule: Rule) -> None:
    for batch in (100, 300):
        case = Case(4, 1, batch, nodes=40)
        features = torch.rand(5000, batch).requires_grad_()
        case.leaves[1] = case.features = features
        case.wiring = torch.randint(0, 5000, (40, 4))
        assert_equal_to_twin(case, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_a_kernel_is_its_twin_for_long_rows(n: int, rule: Rule) -> None:
    for outputs, batch in product((1, 2), (257, 300, 1040, 1500)):
        assert_equal_to_twin(Case(n, outputs, batch), rule)
    case = Case(n, 1, 300, nodes=2)  # most inputs are not read
    case.leaves = [case.features]  # and nobody asks for the gradient of the tables
    assert_equal_to_twin(case, rule)


@pytest.mark.parametrize("rule", RULES)
def test_a_kernel_is_its_twin_when_results_are_large(rule: Rule) -> None:
    """They are written past the caches."""
    case = Case(2, 1, 600, nodes=900)
    features = torch.rand(900, 600).requires_grad_()
    case.leaves[1] = case.features = features
    case.wiring = torch.randint(0, 900, (900, 2))
    for _ in range(2):
        assert_equal_to_twin(case, rule)


@given(st.integers(1, 8), st.integers(1, 3), st.integers(1, 70), st.integers(0, 20), st.integers(0, 2**32))
def test_kernels_of_any_shape(n: int, outputs: int, batch: int, choices: int, seed: int) -> None:
    for rule in RULES:
        assert_equal_to_twin(Case(n, outputs, batch, choices=choices, seed=seed), rule)


@pytest.mark.parametrize("rule", RULES)
def test_gathered_pins_get_the_same_answers(rule: Rule) -> None:
    case = Case(5, 2, 30)
    values, _, grad_features = case.answer(rule, "cpu")
    pins = case.pins.gather()
    assert torch.equal(rule(case.table, pins), values)
    (grad_gathered,) = torch.autograd.grad(rule(case.table, pins), case.features, case.grad)
    assert torch.allclose(grad_gathered, grad_features, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_second_derivatives(rule: Rule) -> None:
    case = Case(3, 2, 20, choices=4)

    def penalty(implementation: str) -> tuple[Tensor, ...]:
        with kernels.use(implementation):
            gradients = torch.autograd.grad(rule(case.table, case.pins), case.leaves, case.grad, create_graph=True)
            size = torch.stack([x.square().sum() for x in gradients]).sum()
            return torch.autograd.grad(size, case.leaves, allow_unused=True)

    for found, expected in zip(penalty("cpu"), penalty("torch"), strict=True):
        assert (found is None) == (expected is None)
        assert found is None or torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("binary", [False, True])
def test_routing_of_pins_that_are_gathered(binary: bool) -> None:
    case = Case(4, 1, 50, choices=6)
    with torch.no_grad():
        if binary:
            case.features.round_()
    candidates, logits, tau = case.routing or pytest.fail("no routing")
    grad = torch.randn(28, 50, generator=torch.Generator().manual_seed(1))

    def answer(implementation: str) -> tuple[Tensor, ...]:
        with kernels.use(implementation):
            pins = route_hard(case.features, case.wiring.flatten(), candidates.flatten(0, 1), logits.flatten(0, 1), tau)
            return pins.detach(), *torch.autograd.grad(pins, [case.features, logits], grad)

    for found, expected in zip(answer("cpu"), answer("torch"), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_choices_are_first_of_equals() -> None:
    logits = torch.tensor([[[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]], [[-5.0, -7.0, -5.0], [0.0, float("nan"), 9.0]]])
    candidates = torch.arange(12).view(2, 2, 3)
    for implementation in ("torch", "cpu"):
        with kernels.use(implementation):
            assert choose(logits, candidates).tolist() == [[1, 3], [6, 10]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("leaf", "value"), [(0, float("nan")), (2, float("nan")), (2, -float("inf"))])
def test_a_weight_that_is_no_number_is_not_hidden(leaf: int, value: float, rule: Rule) -> None:
    """Neither in a table nor among the logits of a choice, of which -inf means never."""
    case = Case(3, 1, 20, choices=5)
    with torch.no_grad():
        case.leaves[leaf].flatten()[1] = value
    for found, expected in zip(case.answer(rule, "cpu"), case.answer(rule, "torch"), strict=True):
        assert torch.equal(found.isnan(), expected.isnan())


@pytest.mark.parametrize("rule", RULES)
def test_the_default_type_of_a_program_does_not_matter(rule: Rule, default_type: torch.dtype) -> None:
    for choices, leaves in product((0, 5), (slice(None), slice(1))):  # of all leaves, and of the table alone
        torch.set_default_dtype(torch.float32)
        case = Case(3, 2, 20, choices=choices)
        case.leaves = case.leaves[leaves]
        expected = case.answer(rule, "cpu")
        torch.set_default_dtype(default_type)
        for one, other in zip(case.answer(rule, "cpu"), expected, strict=True):
            assert torch.equal(one, other)


def answer_or_refuse(layer: BaseLUTLayer, features: Tensor, implementation: str) -> list[Tensor] | str:
    """A layer's answers and its parameters' gradients, or what torch says about types that do not go together."""
    layer = copy.deepcopy(layer)  # nodes with noise count their answers
    with kernels.use(implementation):
        try:
            answers = layer(features)
        except RuntimeError as error:
            return str(error)
        answers.square().sum().backward()
    return [answers.detach(), *(parameter.grad for parameter in layer.parameters() if parameter.grad is not None)]


def assert_types_work(layer: BaseLUTLayer, dtype: torch.dtype) -> None:
    """Whatever the types are, the kernels leave to torch what they cannot read."""
    for features in (torch.rand(40, 30, dtype=dtype), torch.rand(40, 30, dtype=torch.float32)):
        found, expected = (answer_or_refuse(layer, features, implementation) for implementation in ("cpu", "torch"))
        if features.dtype == dtype:
            assert not isinstance(expected, str)
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected
            assert re.search("expected .*type", str(found))
            continue
        assert len(found) == len(expected) == 1 + len(list(layer.parameters()))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("layer_class", [RandomLayer, LearnableLayer])
@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
def test_layers_of_other_types_train_as_in_torch(
    node_type: str, layer_class: type[BaseLUTLayer], dtype: torch.dtype
) -> None:
    assert_types_work(layer_class(30, 20, node_type, n=3, seed=1).to(dtype), dtype)


@pytest.mark.parametrize("layer_class", [RandomLayer, LearnableLayer])
@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
def test_layers_of_the_default_type_train_as_in_torch(
    node_type: str, layer_class: type[BaseLUTLayer], default_type: torch.dtype
) -> None:
    assert_types_work(layer_class(30, 20, node_type, n=3, seed=1), default_type)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_choices_by_logits_of_other_types(dtype: torch.dtype, rule: Rule) -> None:
    case = Case(3, 2, 20, choices=5)
    case.leaves[2] = case.leaves[2].detach().to(dtype).requires_grad_()
    assert case.routing is not None
    case.routing = case.routing._replace(logits=case.leaves[2])
    for one, other in zip(case.answer(rule, "cpu"), case.answer(rule, "torch"), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int32], ids=str)
def test_kernels_refuse_what_they_would_read_as_something_else(dtype: torch.dtype) -> None:
    logits, gains = torch.rand(2, 3, 4).to(dtype), torch.rand(2, 3, 4)
    with pytest.raises(KernelError, match=rf"{dtype} for dl_differentiate_choice, where they take torch\.float32"):
        cpu.differentiate_choice(gains, logits, 1.0)
    case = Case(3, 1, 16)
    bits = torch.zeros(7, 16, dtype=torch.uint8)
    with pytest.raises(KernelError, match=rf"{dtype} for table, where they take torch\.float32"):
        cpu.sum_by_feature(
            cpu.DIFFERENCES, torch.rand(7, 16), torch.rand(7, 1, 3, 4).to(dtype), bits, case.features, case.wiring
        )


@pytest.mark.parametrize("implementation", ["torch", "cpu"])
@pytest.mark.parametrize("rule", RULES)
def test_answers_can_be_changed_in_place(rule: Rule, implementation: str) -> None:
    case = Case(3, 2, 20)
    with kernels.use(implementation):
        first, second = rule(case.table, case.pins), rule(case.table, case.pins).flatten(0, 1).t()
        expected = torch.autograd.grad(torch.relu(first - 0.5).sum(), case.leaves)
        found = torch.autograd.grad(torch.relu_(second.sub_(0.5)).sum(), case.leaves)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_choices_are_the_largest(choices: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-3, 3, (5, 3, choices), generator=generator).float()
    candidates = torch.randint(0, 100, (5, 3, choices), generator=generator)
    with kernels.use("cpu"):
        found = choose(logits, candidates)
    best = [[row.index(max(row)) for row in node] for node in logits.tolist()]
    assert torch.equal(found, candidates.gather(2, torch.tensor(best).unsqueeze(2)).squeeze(2))


def test_look_up_reads_bits_and_has_no_gradient() -> None:
    case = Case(6, 2, 33)
    bits = case.table >= 0.5
    with kernels.use("cpu"):
        found = look_up(bits, case.pins)
    with kernels.use("torch"):
        assert torch.equal(found, look_up(bits, case.pins))
    assert not found.requires_grad


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n", "batch"), [(2, 100), (2, 500), (6, 100), (6, 500), (4, 1100)])
def test_bits_do_not_depend_on_the_number_of_threads(rule: Rule, n: int, batch: int) -> None:
    case = Case(n, 1, batch, choices=16, nodes=50)
    before = torch.get_num_threads()
    try:
        answers = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            answers.append(case.answer(rule, "cpu"))
    finally:
        torch.set_num_threads(before)
    for other in answers[1:]:
        assert all(torch.equal(x, y) for x, y in zip(answers[0], other, strict=True))


def test_features_of_any_layout_and_half_precision() -> None:
    case = Case(4, 1, 32)
    with kernels.use("cpu"):
        expected = multilinear(case.table, case.pins)
        transposed = case.features.t().contiguous().t()
        assert torch.equal(multilinear(case.table, WiredPins(transposed, case.wiring)), expected)
        for layout in (transposed, case.features[:, ::2], case.features.expand(3, *case.features.shape)[1]):
            found = look_up(case.table >= 0.5, WiredPins(layout, case.wiring))
            assert torch.equal(found, look_up(case.table >= 0.5, WiredPins(layout.contiguous(), case.wiring)))
        half = case.features.detach().to(torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = multilinear(case.table, WiredPins(half, case.wiring))
        assert torch.equal(found, multilinear(case.table, WiredPins(half.float(), case.wiring)))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 40), (16, 16), (17, 15), (33, 50), (128, 300)])
def test_transposed_matrices_are_copied(rows: int, columns: int) -> None:
    x = torch.rand(rows, columns)
    with kernels.use("cpu"):
        assert torch.equal(cpu.make_contiguous(x.t()), x.t())
        assert cpu.make_contiguous(x.t()).is_contiguous()
        bits = cpu._threshold(x.t())
        assert torch.equal(bits[:, :rows], (x.t() >= 0.5).to(torch.uint8))
        assert not bits[:, rows:].any()
        part = x[: rows // 2 + 1, : columns // 2 + 1]
        assert torch.equal(cpu.make_contiguous(part.t()), part.t())
        assert torch.equal(cpu.make_contiguous(part), part)


def test_wiring_to_an_input_that_does_not_exist_is_an_error() -> None:
    case = Case(3, 1, 16)
    for index in (-1, INPUTS):
        case.wiring[2, 1] = index
        with kernels.use("cpu"), pytest.raises(IndexError, match=f"there are {INPUTS}"):
            multilinear(case.table, case.pins)


@pytest.mark.parametrize("implementation", ["torch", "cpu"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [3, 9])  # those of more pins are left to torch
def test_wiring_that_is_not_int64_is_an_error(n: int, rule: Rule, implementation: str) -> None:
    case = Case(n, 1, 16)
    case.wiring = case.wiring.int()
    with kernels.use(implementation), pytest.raises(TypeError, match=r"torch\.int32; they must be torch\.int64"):
        rule(case.table, case.pins)


@pytest.mark.parametrize("implementation", ["torch", "cpu"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(7, 1, 4), (7, 1, 16), (6, 1, 8), (8, 1, 8), (7, 8)])
def test_tables_that_do_not_fit_are_errors(rule: Rule, shape: tuple[int, ...], implementation: str) -> None:
    case = Case(3, 1, 16)
    for pins in (case.pins, case.pins.gather()):
        with kernels.use(implementation), pytest.raises(ValueError, match="do not fit 7 nodes with 3 pins"):
            rule(torch.rand(shape), pins)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, while it traces
@pytest.mark.parametrize("rule", RULES)
def test_operators_fit_torch_compile(rule: Rule) -> None:
    case = Case(3, 2, 20, choices=4)

    def compute(table: Tensor, features: Tensor, logits: Tensor) -> Tensor:
        assert case.routing is not None
        return rule(table, WiredPins(features, case.wiring, case.routing._replace(logits=logits)))

    with kernels.use("cpu"):
        compiled = torch.compile(compute, backend="aot_eager", fullgraph=True)
        values = compiled(*case.leaves)
        gradients = torch.autograd.grad(values, case.leaves, case.grad)
    for found, expected in zip((values, *gradients), case.answer(rule, "cpu"), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


def test_operators_say_what_shapes_they_return() -> None:
    case = Case(3, 2, 20, choices=4)
    table, features, rows = case.table.detach(), case.features.detach(), case.grad.flatten(0, 1)
    assert case.routing is not None
    candidates, logits, _ = case.routing
    _, address = ops.read_tables(table, features, case.wiring)
    differences = ops.spread(table, torch.ones(8))
    rule = (1, rows, differences, address, features, case.wiring)
    for operator, arguments in {
        ops.read_tables: (table, features, case.wiring),
        ops.expect: (table, features, case.wiring),
        ops.sum_entries: (rows, address, 3),
        ops.expect_table_gradient: (2, rows, table, features, case.wiring),
        ops.spread: (table, torch.ones(8)),
        ops.squash: (table,),
        ops.sum_by_feature: rule,
        ops.differentiate: rule,
        ops.correlate: (*rule, candidates),
        ops.differentiate_choice: (torch.ones_like(logits), logits.detach(), 0.5),
        ops.choose: (logits.detach(), candidates),
    }.items():
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("implementation", ["torch", "cpu"])
def test_an_implementation_can_be_forced(implementation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with kernels.use(implementation):
        assert kernels.describe().implementation == implementation
    monkeypatch.setenv("DIFFLUT_KERNELS", implementation)
    assert kernels.describe().implementation == implementation
    assert kernels.chosen_for(3, torch.zeros(2)) == (implementation == "cpu")


def test_unknown_implementations_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KernelError, match="implementation is 'fast'; available: torch, cpu, cuda"), kernels.use("fast"):
        pass
    monkeypatch.setenv("DIFFLUT_KERNELS", "fast")
    with pytest.raises(KernelError, match="The environment variable DIFFLUT_KERNELS is 'fast'"):
        kernels.describe()


def test_kernels_leave_other_types_and_wide_nodes_to_torch() -> None:
    with kernels.use("cpu"):
        assert kernels.chosen_for(8, torch.zeros(2))
        assert not kernels.chosen_for(9, torch.zeros(2))
        assert not kernels.chosen_for(8, torch.zeros(2, dtype=torch.float64))
        assert not kernels.chosen_for(8, torch.zeros(0))


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


ONE_STEP = """
import torch
from difflut.rules import multilinear
print(multilinear(torch.rand(2, 1, 4), torch.rand(2, 2, 3)).shape)
multilinear(torch.rand(2, 1, 4), torch.rand(2, 2, 3))
"""


def test_without_a_compiler_torch_runs_and_says_so_once() -> None:
    done = run_python(ONE_STEP, CXX="/nowhere/g++")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("There is no C++ compiler, so training runs on torch alone") == 1
    done = run_python("from difflut import kernels; print(kernels.describe())", CXX="/nowhere/g++")
    assert done.stdout.startswith("torch: there is no C++ compiler; install g++")
    done = run_python(ONE_STEP, CXX="/nowhere/g++", DIFFLUT_KERNELS="cpu")
    assert "KernelError: The CPU kernels need a C++ compiler" in done.stderr
    done = run_python(ONE_STEP, CXX="/nowhere/g++", DIFFLUT_KERNELS="torch")
    assert (done.returncode, done.stderr) == (0, "")


def make_compiler(folder: Path, script: str) -> str:
    path = folder / "cxx"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_compiler_that_fails_is_an_error(tmp_path: Path) -> None:
    compiler = make_compiler(tmp_path, '[ "$1" = --version ] && echo broken 1.0 || { echo no such flag >&2; exit 1; }')
    done = run_python(ONE_STEP, CXX=compiler, DIFFLUT_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "KernelError: The compiler failed with the CPU kernels" in done.stderr
    assert "no such flag" in done.stderr
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_library_is_compiled_once_per_compiler_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFLUT_CACHE_DIR", str(tmp_path / "cache"))
    count = tmp_path / "count"
    write_output = f'echo x >> {count}; while [ "$1" != -o ]; do shift; done; echo > "$2"'
    compiler = make_compiler(tmp_path, f'[ "$1" = --version ] && echo fake 1.0 && exit; {write_output}')
    first = build.build_library(compiler)
    assert build.build_library(compiler) == first
    assert count.read_text().count("x") == 1
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "cpu_kernels.cpp").write_text("int other;\n")
    monkeypatch.setattr(build, "kernel_sources", lambda: tmp_path / "sources")
    assert build.build_library(compiler) != first
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".sha256", ".sha256", ".so", ".so"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda library: library.write_bytes(library.read_bytes()[:-1]), id="cut off"),
        pytest.param(lambda library: library.write_bytes(b"planted"), id="another one"),
        pytest.param(lambda library: library.with_suffix(build.CHECKSUM).unlink(), id="no checksum"),
        pytest.param(lambda library: library.chmod(0o777), id="anybody may write it"),
    ],
)
def test_a_library_that_is_not_what_was_compiled_is_compiled_anew(
    spoil: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFLUT_CACHE_DIR", str(tmp_path / "cache"))
    write_output = 'while [ "$1" != -o ]; do shift; done; echo compiled > "$2"'
    compiler = make_compiler(tmp_path, f'[ "$1" = --version ] && echo fake 1.0 && exit; {write_output}')
    library = build.build_library(compiler)
    spoil(library)
    assert build.build_library(compiler) == library
    assert library.read_text() == "compiled\n"
    assert library.stat().st_mode & 0o777 == 0o755


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIFFLUT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(KernelError, match="set DIFFLUT_CACHE_DIR to a folder that can be written"):
        build.build_library(make_compiler(tmp_path, "echo fake 1.0"))


def test_weights_after_steps_do_not_depend_on_the_number_of_threads() -> None:
    def train(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        layers = torch.nn.Sequential(LearnableLayer(40, 60, "dwn", n=6), LearnableLayer(60, 20, "probabilistic", n=4))
        optimizer = torch.optim.Adam(layers.parameters(), lr=0.01, fused=True)
        generator = torch.Generator().manual_seed(0)
        for _ in range(100):
            x = torch.rand(70, 40, generator=generator).round()
            loss = (layers(x) - x[:, :20]).square().mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        return [parameter.detach() for parameter in layers.parameters()]

    before = torch.get_num_threads()
    try:
        one, two = train(1), train(2)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


def test_kernels_leave_the_arithmetic_of_others_alone() -> None:
    """They flush tiny numbers to zero, but only while they run."""
    case = Case(3, 1, 32, choices=4)
    for rule in RULES:
        case.answer(rule, "cpu")
    tiny = torch.full((100,), 1e-39)
    assert ((tiny + tiny) > 0).all()


# -- memory that is used again -----------------------------------------------------------------------------------------


def test_memory_is_used_again_once_its_last_tensor_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = buffers.BufferPool()
    monkeypatch.setattr(buffers, "POOL", pool)
    first = buffers.empty(1000, 512)
    place = first.data_ptr()
    view = first.t()[3:]
    del first
    second = buffers.empty(1000, 512)
    assert second.data_ptr() != place  # a view still reads the first
    second.fill_(1)
    view.fill_(2)
    assert (second == 1).all()
    del view
    assert buffers.empty(500, 1024).data_ptr() == place
    assert pool.bytes_in_use == 2048000
    del second
    assert (pool.bytes_in_use, pool.bytes_kept) == (0, 4096000)


def test_no_more_memory_is_kept_than_twice_what_was_in_use_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = buffers.BufferPool()
    monkeypatch.setattr(buffers, "POOL", pool)
    for rows in range(1 << 20, (1 << 20) + 20):
        tensor = buffers.empty(rows, 2, dtype=torch.uint8)
        assert (tensor.shape, tensor.dtype) == ((rows, 2), torch.uint8)
        del tensor
        assert pool.most_bytes_in_use == 2 * rows
        assert pool.bytes_kept == sum(size * len(kept) for size, kept in pool.kept.items()) <= 4 * rows
    small = [buffers.empty(10) for _ in range(3)]
    assert len({tensor.data_ptr() for tensor in small}) == 3
    assert pool.bytes_in_use == 0


def test_memory_can_be_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = buffers.BufferPool()
    monkeypatch.setattr(buffers, "POOL", pool)
    large = buffers.empty(1 << 21)
    small = buffers.empty(1 << 20)
    del large
    assert (pool.bytes_in_use, pool.bytes_kept) == (1 << 22, 1 << 23)
    pool.clear()
    assert (pool.bytes_in_use, pool.bytes_kept, pool.kept) == (1 << 22, 0, {})
    del small
    assert (pool.bytes_in_use, pool.bytes_kept, pool.most_bytes_in_use) == (0, 1 << 22, 1 << 22)


def test_buffers_of_several_sizes_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "POOL", buffers.BufferPool())
    rounds = []
    for _ in range(3):
        large = [buffers.empty(1 << 20) for _ in range(2)]
        rounds.append({tensor.data_ptr() for tensor in large})
        del large
        rounds[-1] |= {buffers.empty(rows << 18).data_ptr() for rows in (3, 2, 1)}  # one after the other
    assert len(rounds[0]) == 5
    assert rounds[1] == rounds[2] == rounds[0]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), min_size=5, max_size=60))
def test_the_pool_keeps_account_of_its_buffers(requests: list[tuple[int, int]]) -> None:
    pool, taken = buffers.BufferPool(), []
    for megabytes, to_return in requests:
        taken.append(pool.take(megabytes << 20))
        for buffer in taken[:to_return]:
            pool.give_back(buffer)
        del taken[:to_return]
        assert pool.bytes_in_use == sum(buffer.numel() for buffer in taken)
        assert pool.bytes_kept == sum(size * len(kept) for size, kept in pool.kept.items())
        assert pool.bytes_kept <= 2 * pool.most_bytes_in_use
        assert all(buffer.numel() == size for size, kept in pool.kept.items() for buffer in kept)
        assert all(pool.kept.values())


def test_buffers_that_come_back_while_the_pool_is_at_work_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage may be collected in the middle of anything, and in the same thread."""
    pool = buffers.BufferPool()
    garbage = [pool.take(1 << 20) for _ in range(4)]
    pop = pool._pop

    def pop_in_between(size: int, place: int) -> Tensor:
        while garbage:
            pool.give_back(garbage.pop())
        return pop(size, place)

    monkeypatch.setattr(pool, "_pop", pop_in_between)
    pool.give_back(garbage.pop())
    pool.take(1 << 20)
    assert not garbage
    pool.give_back(pool.take(1 << 20))
    assert (pool.bytes_in_use, pool.bytes_kept) == (1 << 20, 3 << 20)


def test_answers_in_used_memory_stay_right() -> None:
    """Wide layers, whose results come from the pool, several steps after each other."""
    case = Case(2, 1, 600, nodes=600)
    expected = case.answer(multilinear, "torch")
    for _ in range(4):
        for one, other in zip(case.answer(multilinear, "cpu"), expected, strict=True):
            assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("node_type", ["probabilistic", "difflogic", "dwn", "linear_lut"])
@pytest.mark.parametrize("flip_probability", [0.0, 0.1])
def test_no_order_of_nodes_is_kept_for_a_wiring_that_learns(node_type: str, flip_probability: float) -> None:
    config = LayerConfig(flip_probability=flip_probability)
    layers = [LearnableLayer(40, 40, node_type, n=3, seed=seed, layer_config=config) for seed in range(2)]
    fixed = RandomLayer(40, 40, node_type, n=3, layer_config=config)
    before = cpu.count_walks()
    steps = []  # all of them stay, so that every wiring lies elsewhere
    with kernels.use("cpu"):
        for _ in range(5):
            answers = fixed(layers[1](layers[0](torch.rand(20, 40))))
            answers.sum().backward(retain_graph=True)
            steps.append(answers)
    assert cpu.count_walks() <= before + 2  # that of the fixed layer, and that of pins that are side by side


def test_equal_wirings_of_other_nodes_or_inputs_have_orders_of_their_own() -> None:
    code = """
import torch
from difflut.kernels import cpu
from difflut.rules import WiredPins, multilinear

pins = torch.arange(6) * 7 % 12
for n, inputs in ((2, 12), (3, 12), (2, 14), (2, 12)):
    multilinear(torch.rand(6 // n, 1, 2**n), WiredPins(torch.rand(inputs, 16), pins.view(-1, n)))
print(cpu.count_walks())
"""
    assert run_python(code).stdout.split() == ["3"]  # in a process of its own, because only so many are kept


class GpuTensor:
    """What `chosen_for` asks of a tensor."""

    def __init__(self, dtype: torch.dtype, device: str = "cuda") -> None:
        self.device = torch.device(device)
        self.dtype = dtype

    def numel(self) -> int:
        return 1


def test_gpu_kernels_take_bfloat16_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "cuda_kernels_run", lambda: True)
    single, half, double = (cast(Tensor, GpuTensor(x)) for x in (torch.float32, torch.bfloat16, torch.float64))
    assert kernels.chosen_for(6, single)
    assert kernels.chosen_for(6, single, rows=(half,))
    assert kernels.chosen_for(1, rows=(half, half))
    assert not kernels.chosen_for(1, rows=(half, single))
    assert not kernels.chosen_for(6, half, rows=(half,))
    assert not kernels.chosen_for(6, single, rows=(double,))
    assert not kernels.chosen_for(6, single, rows=(torch.zeros(2),))
    assert not kernels.chosen_for(9, single)


def test_a_gpu_without_cupy_runs_on_torch_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    choice._warn_once.cache_clear()
    tensor = cast(Tensor, GpuTensor(torch.float32))
    with pytest.warns(UserWarning, match=r"runs on torch alone: CuPy is not installed; install difflut\[gpu\]"):
        assert not kernels.chosen_for(6, tensor)
    assert not kernels.chosen_for(6, tensor)  # a second warning would be an error
    assert str(kernels.describe("cuda")).startswith("torch: CuPy is not installed")
    with pytest.raises(KernelError, match="The GPU kernels cannot run: CuPy is not installed"), kernels.use("cuda"):
        pass
    monkeypatch.setenv("DIFFLUT_KERNELS", "cuda")
    with pytest.raises(KernelError, match="The GPU kernels cannot run"):
        kernels.chosen_for(6, tensor)
    monkeypatch.setenv("DIFFLUT_KERNELS", "cpu")
    assert not kernels.chosen_for(6, tensor)


def test_a_machine_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(kernels.describe("cuda")) == "torch: there is no CUDA device"
    with pytest.raises(KernelError, match="there is no CUDA device"), kernels.use("cuda"):
        pass
    monkeypatch.setenv("DIFFLUT_KERNELS", "cuda")
    assert kernels.describe().implementation == "torch"
    assert not kernels.chosen_for(6, torch.zeros(2))
    with pytest.raises(ValueError, match="device is 'tpu'; it must be cpu or cuda"):
        kernels.describe("tpu")


def test_a_gpu_with_cupy_runs_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(__version__="14.9"))
    with kernels.use("cuda"):
        assert str(kernels.describe("cuda")).startswith("cuda: kernels compiled by CuPy 14.9")
        assert kernels.chosen_for(6, cast(Tensor, GpuTensor(torch.float32)))
        assert not kernels.chosen_for(6, torch.zeros(2))
