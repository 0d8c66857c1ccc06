"""The GPU kernels against their twins in torch: on a GPU, and everywhere on a stand-in that runs them on the CPU."""

from __future__ import annotations

import re
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
from difflut.rules import Routing, WiredPins, fused, hard_lookup, multilinear
from difflut.rules.hard_lookup import _EXPECTED, _GEOMETRIC, _HARMONIC
from difflut.rules.multilinear import _MULTILINEAR
from tests.difflut import gpu_shim

RULES = {
    "multilinear": _MULTILINEAR,
    "hard_lookup": _GEOMETRIC,
    "hard_lookup_harmonic": _HARMONIC,
    "hard_lookup_expected": _EXPECTED,
}
INPUTS = 23
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2**-7}


@pytest.fixture(params=["shim", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    if request.param == "shim":
        gpu_shim.install(monkeypatch)
        return torch.device("cpu")
    return torch.device("cuda")


class Case:
    """Random tables, features and wiring of a few nodes, and the gradient of the answers."""

    def __init__(
        self, n: int, outputs: int, batch: int, choices: int = 0, rows: torch.dtype = torch.float32, nodes: int = 7
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.table = torch.rand(nodes, outputs, 2**n, generator=generator)
        self.features = torch.rand(INPUTS, batch, generator=generator).to(rows)
        self.grad = torch.randn(nodes, outputs, batch, generator=generator).to(rows)
        self.wiring = torch.randint(0, INPUTS, (nodes, n), generator=generator)
        self.routing = None
        if choices:
            candidates = torch.randint(0, INPUTS, (nodes, n, choices), generator=generator)
            logits = torch.randn(nodes, n, choices, generator=generator)
            self.wiring = candidates.gather(2, logits.argmax(2, keepdim=True)).squeeze(2)
            self.routing = Routing(candidates, logits, 0.7)

    def answer(self, rule: fused.TableRule, device: torch.device) -> dict[str, Tensor]:
        """Values and gradients from the kernels."""
        candidates, logits, tau = self.routing or (None, None, 1.0)
        leaves = [x.to(device).requires_grad_() for x in (self.table, self.features)]
        places = [None if x is None else x.to(device) for x in (logits, self.wiring, candidates)]
        if places[0] is not None:
            leaves.append(places[0].requires_grad_())
        values = fused._Fused.apply(*leaves[:2], *places, tau, rule)  # type: ignore[no-untyped-call]
        gradients = torch.autograd.grad(values, leaves, self.grad.to(device))
        answers = (values.detach(), *gradients)
        return {name: x.cpu() for name, x in zip(("values", "table", "features", "logits"), answers, strict=False)}

    def answer_twin(self, rule: fused.TableRule) -> dict[str, Tensor]:
        """The same from torch, in float64."""
        leaves = [x.double().requires_grad_() for x in (self.table, self.features)]
        routing = None
        if self.routing is not None:
            leaves.append(self.routing.logits.double().requires_grad_())
            routing = self.routing._replace(logits=leaves[2])
        values = rule.twin(leaves[0], WiredPins(leaves[1], self.wiring, routing).gather())
        gradients = torch.autograd.grad(values, leaves, self.grad.double())
        return dict(zip(("values", "table", "features", "logits"), (values.detach(), *gradients), strict=False))


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, one in found.items():
        other = expected[name]
        bound = TOLERANCES[torch.float32] if name == "table" else tolerance  # tables are float32 all the way
        assert one.shape == other.shape
        assert (one - other).abs().max() <= bound * other.abs().max().clamp_min(1), name


@pytest.mark.parametrize("rows", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", range(1, choice.MAX_PINS + 1))
def test_a_kernel_is_its_twin(n: int, rule: str, rows: torch.dtype, device: torch.device) -> None:
    for outputs, batch, choices in ((1, 300, 0), (2, 37, 5), (3, 1, 17)):
        case = Case(n, outputs, batch, choices, rows)
        found = case.answer(RULES[rule], device)
        assert found["values"].dtype == found["features"].dtype == rows
        assert_close(found, case.answer_twin(RULES[rule]), TOLERANCES[rows])
        again = case.answer(RULES[rule], device)
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
