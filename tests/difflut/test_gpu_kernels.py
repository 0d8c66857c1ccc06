"""The GPU kernels against their twins in torch: on a GPU, and everywhere on a stand-in that runs them on the CPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from torch import Tensor

from difflut import kernels
from difflut.errors import KernelError
from difflut.kernels import choice, cuda, ops
from difflut.kernels.cpu import GIVEN
from difflut.kernels.cuda import read_source
from difflut.layers import LearnableLayer, RandomLayer
from difflut.rules import WiredPins, hard_lookup, multilinear
from difflut.rules.hard_lookup import _GEOMETRIC
from difflut.rules.multilinear import _MULTILINEAR
from tests.difflut import gpu_shim
from tests.difflut.gpu_cases import INPUTS, RULES, TOLERANCES, Case, assert_close


@pytest.fixture(params=["shim", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    if request.param == "shim":
        gpu_shim.install(monkeypatch)
        return torch.device("cpu")
    return torch.device("cuda")


@pytest.mark.parametrize("rows", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", range(1, choice.MAX_PINS + 1))
def test_a_kernel_is_its_twin(n: int, rule: str, rows: torch.dtype, device: torch.device) -> None:
    for outputs, batch, choices in ((1, 300, 0), (2, 37, 5), (3, 1, 17)):
        case = Case(n, outputs, batch, choices, rows)
        found = case.answer(RULES[rule], device)
        assert found["values"].dtype == found["features"].dtype == rows
        assert_close(found, case.answer_twin(RULES[rule]), TOLERANCES[rows])


@pytest.mark.parametrize("rule", RULES)
def test_two_runs_give_the_same_bits(rule: str, device: torch.device) -> None:
    case = Case(6, 1, 700, 5)
    found, again = (case.answer(RULES[rule], device) for _ in range(2))
    assert all(torch.equal(found[name], again[name]) for name in found)


@pytest.mark.parametrize("rule", RULES)
def test_batches_that_are_taken_in_parts(rule: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "BUFFER_BYTES", 4 * 128 * 28)  # 128 samples
    case = Case(4, 2, 700, 18)
    assert_close(case.answer(RULES[rule], device), case.answer_twin(RULES[rule]), TOLERANCES[torch.float32])


@pytest.mark.parametrize("rows", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("choices", [1, 16, 40])
def test_gradients_of_pins_that_are_given(choices: int, rows: torch.dtype, device: torch.device) -> None:
    case = Case(4, 1, 300, choices, rows)
    assert case.routing is not None
    candidates = case.routing.candidates
    pin_grad = torch.randn(28, 300).to(rows)
    unread = torch.empty(0, dtype=torch.uint8)
    arguments = [x.to(device) for x in (pin_grad, pin_grad, unread, case.features, case.wiring)]
    sums = torch.zeros(INPUTS, 300, dtype=torch.float64).index_add(0, case.wiring.flatten(), pin_grad.double())
    found = ops.sum_by_feature(GIVEN, *arguments).cpu()
    assert (found - sums).abs().max() <= TOLERANCES[rows] * sums.abs().max()
    chosen = case.features.double()[candidates.flatten(0, 1)]
    gains = torch.einsum("pb,pkb->pk", pin_grad.double(), chosen).view(candidates.shape)
    found = ops.correlate(GIVEN, *arguments, candidates.to(device)).cpu()
    assert torch.allclose(found.double(), gains, rtol=0, atol=1e-4)


def test_rounding_to_bfloat16_is_that_of_torch(device: torch.device) -> None:
    values = torch.cat([torch.randn(500) * 10.0 ** torch.randint(-30, 30, (500,)), torch.tensor([0.0, -0.0])])
    special = torch.tensor([float("inf"), float("-inf"), float("nan"), 1.00390625, 1.01171875, 3.4e38])
    table = torch.cat([values, special]).unfold(0, 2, 2).reshape(-1, 1, 2)
    features = torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16)
    wiring = torch.zeros(len(table), 1, dtype=torch.int64)
    found, _ = ops.read_tables(table.to(device), features.to(device), wiring.to(device))
    assert torch.equal(found.cpu().nan_to_num(7.0), table.squeeze(1).to(torch.bfloat16).nan_to_num(7.0))


def test_choices_are_first_of_equals(device: torch.device) -> None:
    nan, infinite = float("nan"), float("inf")
    rows = [[1.0, 3.0, 3.0], [-5.0, -7.0, -5.0], [0.0, nan, 9.0], [-infinite] * 3, [1.0, infinite, nan]]
    logits = torch.tensor([row + [-9.0] * 40 for row in rows])
    logits[4, 42] = infinite
    logits[3] = -infinite
    candidates = torch.arange(5 * 43).flip(0).view(5, 1, 43)
    found = ops.choose(logits.view(5, 1, 43).to(device), candidates.to(device)).cpu().flatten()
    assert (candidates[:, 0, 0] - found).tolist() == [1, 0, 1, 0, 1]


def test_choices_that_are_impossible_have_no_gradient(device: torch.device) -> None:
    logits, gains = torch.randn(3, 2, 37), torch.randn(3, 2, 37)
    logits[1, 1, 5] = -float("inf")
    found = ops.differentiate_choice(gains.to(device), logits.to(device), 0.3).cpu()
    leaf = logits.double().requires_grad_()
    (expected,) = torch.autograd.grad((torch.softmax(leaf / 0.3, -1) * gains).sum(), leaf)
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert found[1, 1, 5] == 0


@pytest.mark.parametrize("index", [-1, INPUTS])
def test_wiring_to_an_input_that_does_not_exist_ends_the_kernel(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_shim.install(monkeypatch)
    case = Case(3, 1, 40, choices=4)
    wiring, arguments = case.wiring.clone(), (case.table, case.features)
    wiring[2, 1] = index
    for operator in (ops.read_tables, ops.expect):
        with pytest.raises(RuntimeError, match="ended itself with a trap"):
            operator(*arguments, wiring)
    assert case.routing is not None
    candidates = case.routing.candidates.clone()
    candidates[2, 1, 3] = index
    unread = torch.empty(0, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="ended itself with a trap"):
        ops.correlate(GIVEN, torch.zeros(21, 40), case.table, unread, case.features, case.wiring, candidates)


@pytest.mark.parametrize("number", range(6))
def test_a_missing_barrier_is_noticed(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_shim.install(monkeypatch)
    text = cuda.read_source("tables.cu")
    places = [match.span() for match in re.finditer(r"^ *dl_sync_\w+\(\);\n", text, re.MULTILINE)]
    assert len(places) == 6
    start, end = places[number]
    broken = text[:start] + text[end:]
    monkeypatch.setattr(cuda, "read_source", lambda file: broken if file == "tables.cu" else read_source(file))
    monkeypatch.setattr(cuda, "_find_kernel", cuda._find_kernel.__wrapped__)
    monkeypatch.setattr(cuda, "_load_module", cache(cuda._load_module.__wrapped__))
    case = Case(5, 2, 200)
    wrong = 0
    for rule in (_MULTILINEAR, _GEOMETRIC):
        found, expected = case.answer(rule, torch.device("cpu")), case.answer_twin(rule)
        wrong += sum(not torch.allclose(found[name].double(), expected[name], atol=1e-3) for name in found)
    assert wrong > 0


def test_readers_of_inputs_are_found_once_per_wiring(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_shim.install(monkeypatch)
    case = Case(3, 1, 16)
    readers, _ = cuda._find_readers(case.wiring, INPUTS)
    case.answer(_GEOMETRIC, torch.device("cpu"))
    assert cuda._find_readers(case.wiring, INPUTS)[0] is readers
    case.wiring[0, 0] = (case.wiring[0, 0] + 1) % INPUTS
    changed, offsets = cuda._find_readers(case.wiring, INPUTS)
    assert changed is not readers
    pins = case.wiring.flatten()
    for value in range(INPUTS):
        assert changed[offsets[value] : offsets[value + 1]].tolist() == torch.where(pins == value)[0].tolist()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    other = case.wiring.clone()
    assert cuda._find_readers(other, INPUTS)[0] is not cuda._find_readers(other, INPUTS)[0]


def test_arguments_that_a_kernel_would_misread_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_shim.install(monkeypatch)
    case = Case(3, 1, 16)
    for arguments, message in (
        ((case.table.double(), case.features, case.wiring), "argument 0 is torch.float64 on cpu"),
        ((case.table, case.features, case.wiring.int()), "argument 2 is torch.int32 on cpu"),
        ((case.table.to("meta"), case.features, case.wiring), "on meta"),
        ((case.table, case.features.t().contiguous().t(), case.wiring), "not contiguous"),
    ):
        with pytest.raises(KernelError, match=message):
            cuda.expect(*arguments)


def test_kernels_are_compiled_before_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_shim.install(monkeypatch)
    monkeypatch.setattr(cuda, "_find_kernel", cache(cuda._find_kernel.__wrapped__))
    case = Case(2, 1, 16)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(KernelError, match="run a step once before capturing"):
        ops.expect(case.table, case.features, case.wiring)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    values = ops.expect(case.table, case.features, case.wiring)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert torch.equal(ops.expect(case.table, case.features, case.wiring), values)


@pytest.fixture
def autocast() -> Iterator[None]:
    """The state that ``torch.autocast("cuda", torch.bfloat16)`` sets, which it refuses to set without a GPU."""
    dtype = torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", dtype)


@pytest.mark.parametrize("node_type", ["probabilistic", "dwn", "dwn_stable", "hybrid"])
@pytest.mark.usefixtures("autocast")
def test_autocast_halves_what_lies_between_layers(node_type: str, device: torch.device) -> None:
    layer = LearnableLayer(20, 12, node_type, n=3).to(device)
    x = torch.rand(5, 20, requires_grad=True, device=device)
    answers = layer(x)
    assert answers.dtype == torch.bfloat16
    gradients = torch.autograd.grad(answers.sum(), [x, *layer.parameters()])
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    with kernels.use("torch"):
        expected = layer(x.bfloat16().float())
        expected_gradients = torch.autograd.grad(expected.sum(), [*layer.parameters()])
    assert torch.allclose(answers.float(), expected, rtol=2**-8)
    assert torch.allclose(gradients[1], expected_gradients[0], rtol=2**-6, atol=2**-6)


@pytest.mark.usefixtures("autocast")
def test_evaluation_rounds_nothing(device: torch.device) -> None:
    layer = RandomLayer(2, 8, "dwn", n=2).to(device).eval()
    x = torch.tensor([[0.4999, 0.4999], [0.0, 0.0], [0.5, 0.5], [1.0, 1.0]], device=device)
    below, zero, tie, one = layer(x)
    assert torch.equal(below, zero)
    assert torch.equal(tie, one)
    assert not torch.equal(below, tie)


@pytest.mark.usefixtures("autocast")
def test_second_derivatives_under_autocast(device: torch.device) -> None:
    table, features = torch.rand(7, 1, 8), torch.rand(INPUTS, 20)
    wiring = torch.randint(0, INPUTS, (7, 3)).to(device)
    leaves = [x.to(device).requires_grad_() for x in (table, features)]
    values = hard_lookup(leaves[0], WiredPins(leaves[1], wiring))
    assert values.dtype == torch.bfloat16
    gradients = torch.autograd.grad(values.float().square().sum(), leaves, create_graph=True)
    (second,) = torch.autograd.grad(gradients[1].square().sum(), leaves[:1])
    assert second.abs().sum() > 0


def test_nodes_may_do_without_gpu_kernels(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise AssertionError

    with_kernels, without = (RandomLayer(9, 5, "dwn", node_kwargs={"use_cuda": x}).to(device) for x in (True, False))
    x = torch.rand(6, 9, device=device)
    answers = with_kernels(x)
    monkeypatch.setattr(cuda, "_launch", refuse)
    for layer in (without, without.eval()):
        layer(x)
    assert torch.equal(without.train()(x), answers)
    with pytest.raises(AssertionError):
        with_kernels(x)


def test_layers_train_as_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def train() -> list[Tensor]:
        layers = torch.nn.Sequential(LearnableLayer(40, 30, "dwn", n=6), LearnableLayer(30, 20, "probabilistic", n=4))
        optimizer = torch.optim.SGD(layers.parameters(), lr=1.0)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            x = torch.rand(70, 40, generator=generator).round()
            optimizer.zero_grad()
            torch.autograd.backward((layers(x) - x[:, :20]).square().mean())
            optimizer.step()
        return [parameter.detach() for parameter in layers.parameters()]

    with kernels.use("torch"):
        expected = train()
    gpu_shim.install(monkeypatch)
    for found, other in zip(train(), expected, strict=True):
        assert torch.allclose(found, other, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, while it traces
@pytest.mark.parametrize("rule", [multilinear, hard_lookup])
def test_launches_fit_torch_compile(rule: Callable[[Tensor, WiredPins], Tensor], device: torch.device) -> None:
    case = Case(3, 2, 20)
    leaves = [x.to(device).requires_grad_() for x in (case.table, case.features)]
    wiring, grad = case.wiring.to(device), case.grad.to(device)

    def compute(table: Tensor, features: Tensor) -> Tensor:
        return rule(table, WiredPins(features, wiring))

    values = torch.compile(compute, backend="aot_eager", fullgraph=True)(*leaves)
    expected = compute(*leaves)
    assert torch.equal(values, expected)
    for one, other in zip(*(torch.autograd.grad(y, leaves, grad) for y in (values, expected)), strict=True):
        assert torch.equal(one, other)


def run_watched(tool: list[str], kind: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*tool, sys.executable, "-m", "tests.difflut.gpu_cases", kind]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shim", "broken"])
def test_kernels_stay_within_their_arrays(kind: str) -> None:
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    options = "detect_leaks=0:detect_stack_use_after_return=0"
    done = run_watched([], kind, LD_PRELOAD=found.stdout.strip(), ASAN_OPTIONS=options)
    if kind == "broken":
        assert "heap-buffer-overflow" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck", "initcheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    assert sanitizer is not None, "compute-sanitizer is not installed; it comes with the CUDA toolkit"
    done = run_watched([sanitizer, "--tool", tool, "--error-exitcode", "9"], "cuda")
    assert done.returncode == 0, done.stdout


@pytest.mark.gpu
def test_a_step_is_captured_in_a_cuda_graph() -> None:
    layers = torch.nn.Sequential(RandomLayer(30, 40, "probabilistic"), RandomLayer(40, 20, "dwn")).cuda()
    x = torch.rand(64, 30, device="cuda")
    weights = list(layers.parameters())

    def differentiate() -> tuple[Tensor, ...]:
        return torch.autograd.grad(layers(x).square().sum(), weights)

    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        differentiate()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = differentiate()
    x.copy_(torch.rand(64, 30))
    graph.replay()
    for found, expected in zip(captured, differentiate(), strict=True):
        assert torch.equal(found, expected)
