"""All node families, by name: a family that is registered is tested."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from difflut.nodes import (
    DiffLogicNode,
    DWNNode,
    DWNStableNode,
    FourierNode,
    HybridNode,
    LinearLUTNode,
    LutNode,
    NeuralLUTNode,
    PolyLUTNode,
    ProbabilisticNode,
    WARPNode,
)
from difflut.registry import REGISTRY
from difflut.rules import compute_addresses

ALL = REGISTRY.list_nodes()
SIZES = [(name, n) for name in ALL for n in (1, 2, 3, 4, 5, 6) if n >= REGISTRY.get_node(name).min_input_dim]


def enumerate_corners(n: int) -> Tensor:
    """All inputs of n bits, float32 (2**n, n): row a holds the bits of address a, bit j in column j."""
    return torch.tensor([[float(a >> j & 1) for j in range(n)] for a in range(2**n)])


def make_bank(name: str, n: int, outputs: int = 2, nodes: int = 3) -> LutNode:
    """Return a bank whose tables are neither all 0 nor all 1."""
    generator = torch.Generator().manual_seed(n)
    bank = REGISTRY.get_node(name)(input_dim=n, output_dim=outputs, num_nodes=nodes, generator=generator)
    table = bank.truth_table()
    assert table.any()
    assert not table.all()
    return bank


def make_noiseless_bank(name: str, n: int, outputs: int = 2, nodes: int = 3) -> LutNode:
    """As `make_bank`; equal inputs get equal answers in training, too."""
    bank = make_bank(name, n, outputs, nodes)
    if isinstance(bank, NeuralLUTNode):
        bank.draw_noise = lambda logits: 0 * logits  # type: ignore[method-assign]
    return bank


@pytest.mark.parametrize(("name", "n"), SIZES)
def test_eval_mode_is_the_truth_table_on_every_corner(name: str, n: int) -> None:
    bank = make_bank(name, n).eval()
    corners = enumerate_corners(n).unsqueeze(1).expand(-1, 3, -1)
    table = bank.truth_table()
    assert table.dtype == torch.bool
    assert table.shape == (3, 2, 2**n)
    assert torch.equal(bank(corners), table.permute(2, 0, 1).float())


@pytest.mark.parametrize("name", ALL)
def test_eval_mode_thresholds_any_real_input_at_one_half(name: str) -> None:
    bank = make_bank(name, 4).eval()
    x = 3 * torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0))
    x[0] = 0.5
    answers = bank(x)
    table = bank.truth_table()
    for sample in range(50):
        for node in range(3):
            address = sum(2**j for j in range(4) if x[sample, node, j].item() >= 0.5)
            assert answers[sample, node].tolist() == table[node, :, address].float().tolist()


def dwn_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, DWNNode)
    return bank.luts[node, output, a].item() >= 0.5


def raw_lut_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, DWNStableNode | HybridNode)
    return bank.raw_luts[node, output, a].item() >= 0


def linear_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, LinearLUTNode)
    weights = [bank.weights[node, j, output].item() for j in range(bank.input_dim) if a >> j & 1]
    return bank.bias[node, output].item() + sum(weights) >= 0


def probabilistic_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, ProbabilisticNode)
    return bank.raw_weights[node, a, output].item() >= 0


def poly_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, PolyLUTNode)
    terms = zip(bank.monomial_combinations, bank.weights[node, :, output].tolist(), strict=True)
    z: float = sum(w for powers, w in terms if all(a >> j & 1 for j, power in enumerate(powers) if power))
    return z >= 0


def neural_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, NeuralLUTNode)
    hidden = [float(a >> j & 1) for j in range(bank.input_dim)]
    for weights, biases in zip(bank.layer_weights, bank.layer_biases, strict=True):
        rows = zip(weights[node].t().tolist(), biases[node].tolist(), strict=True)
        z = [bias + sum(w * h for w, h in zip(row, hidden, strict=True)) for row, bias in rows]
        hidden = [max(v, 0.0) for v in z]
    logit: float = z[output]
    return logit >= 0


def warp_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, WARPNode)
    coefficients = bank.coefficients[node, :, output].tolist()
    z: float = sum(c * (-1) ** (s & ~a).bit_count() for s, c in enumerate(coefficients))
    return z >= 0


def fourier_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, FourierNode)
    amplitudes = bank.amplitudes[node, :, output].tolist()
    z = bank.bias[node, output].item()
    for k, amplitude in enumerate(amplitudes):
        turns = sum(f * (a >> j & 1) for j, f in enumerate(bank.frequencies[node, k].tolist()))
        wave = math.cos(2 * math.pi * turns + bank.phases[node, k, output].item())
        z += bank.max_amplitude * amplitude / (sum(map(abs, amplitudes)) + 1e-8) * wave
    return z >= 0.5


def difflogic_bit(bank: LutNode, node: int, output: int, a: int) -> bool:
    assert isinstance(bank, DiffLogicNode)
    first, second = bank.indices[node, output].tolist()
    column = 2 * (a >> first & 1) + (a >> second & 1)
    weights = [math.exp(w) for w in bank.weights[node, output].tolist()]
    return sum(w for gate, w in enumerate(weights) if gate >> column & 1) >= sum(weights) / 2


ORACLES: dict[str, Callable[[LutNode, int, int, int], bool]] = {
    "difflogic": difflogic_bit,
    "dwn": dwn_bit,
    "dwn_stable": raw_lut_bit,
    "fourier": fourier_bit,
    "hybrid": raw_lut_bit,
    "linear_lut": linear_bit,
    "neurallut": neural_bit,
    "polylut": poly_bit,
    "probabilistic": probabilistic_bit,
    "warp": warp_bit,
}
"""The table bit at address `a`, from the parameters, in Python floats (which are float64). Every family needs one."""


@pytest.mark.parametrize("name", ALL)
def test_table_follows_from_the_parameters(name: str) -> None:
    bank = make_bank(name, 4, outputs=3)
    table = bank.truth_table()
    for node, output, a in itertools.product(range(3), range(3), range(16)):
        assert table[node, output, a].item() == ORACLES[name](bank, node, output, a)


@pytest.mark.parametrize(
    ("name", "tie"),
    [
        ("dwn", 0.5),
        ("dwn_stable", 0.0),
        ("hybrid", 0.0),
        ("linear_lut", 0.0),
        ("neurallut", 0.0),
        ("polylut", 0.0),
        ("probabilistic", 0.0),
    ],
)
def test_a_tie_is_one(name: str, tie: float) -> None:
    bank = REGISTRY.get_node(name)(input_dim=2, init_fn=nn.init.constant_, init_kwargs={"val": tie})
    assert bank.truth_table().all()
    just_below = REGISTRY.get_node(name)(input_dim=2, init_fn=nn.init.constant_, init_kwargs={"val": tie - 1e-7})
    assert not just_below.truth_table().any()


def test_a_tie_of_transformed_parameters_is_one() -> None:
    assert WARPNode(input_dim=2, init_fn=nn.init.zeros_).truth_table().all()
    assert DiffLogicNode(input_dim=2, init_fn=nn.init.ones_).truth_table().all()
    fourier = FourierNode(input_dim=2)
    fourier.amplitudes.data.zero_()
    assert fourier.truth_table().all()
    fourier.bias.data.fill_(0.5 - 1e-7)
    assert not fourier.truth_table().any()


@pytest.mark.parametrize("name", ALL)
def test_training_answers_on_corners_agree_with_the_table(name: str) -> None:
    """On bits, the training answer is at least one half exactly where the table holds a one."""
    bank = make_noiseless_bank(name, 5)
    corners = enumerate_corners(5).unsqueeze(1).expand(-1, 3, -1)
    assert torch.equal(bank(corners) >= 0.5, bank.truth_table().permute(2, 0, 1))


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_and_the_input_receive_gradient(name: str) -> None:
    bank = make_bank(name, 4)
    x = torch.rand(64, 3, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    bank(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for parameter in bank.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("n", range(7, 17))
@pytest.mark.parametrize("name", ALL)
def test_wide_nodes_train_on_bits_as_their_tables_say(name: str, n: int) -> None:
    bank = make_noiseless_bank(name, n, outputs=1, nodes=4)
    x = torch.randint(0, 2, (50, 4, n), generator=torch.Generator().manual_seed(n)).float()
    assert torch.equal(bank(x) >= 0.5, bank.forward_eval(x) >= 0.5)


@pytest.mark.parametrize("name", ALL)
def test_either_mode_can_be_asked_for(name: str) -> None:
    bank = make_noiseless_bank(name, 3)
    x = torch.rand(10, 3, 3, generator=torch.Generator().manual_seed(6))
    for training in (True, False):
        bank.train(training)
        assert torch.equal(bank.forward_train(x), bank.train()(x))
        assert torch.equal(bank.forward_eval(x), bank.eval()(x))
    assert (bank.num_inputs, bank.num_outputs) == (3, 2)
    with pytest.raises(ValueError, match=r"expected \(batch, 3, 3\)"):
        bank.forward_eval(x[:, :2])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("outputs", [1, 3])
def test_bitstreams_are_the_table_address_by_address(name: str, outputs: int) -> None:
    bank = make_bank(name, 4, outputs)
    table = bank.truth_table()
    for row in range(3):
        lsb = [int(table[row, o, a]) for a in range(16) for o in range(outputs)]
        assert bank.export_bitstream()[row].tolist() == bank.export_bitstream("lsb_first")[row].tolist() == lsb
        msb = []
        for pins in itertools.product((0, 1), repeat=4):  # input 0 first, so most significant
            address = sum(bit << j for j, bit in enumerate(pins))
            msb += [int(table[row, o, address]) for o in range(outputs)]
        assert bank.export_bitstream("msb_first")[row].tolist() == msb
    with pytest.raises(ValueError, match="order is 'big'"):
        bank.export_bitstream("big")


def test_bitstreams_of_a_node_that_passes_input_0() -> None:
    node = LinearLUTNode(input_dim=3, init_fn="residual")
    assert "".join(map(str, node.export_bitstream()[0].tolist())) == "01010101"
    assert "".join(map(str, node.export_bitstream("msb_first")[0].tolist())) == "00001111"


@pytest.mark.parametrize("name", ALL)
def test_cuda_kernels_are_allowed_or_not(name: str) -> None:
    node_class = REGISTRY.get_node(name)
    assert node_class(use_cuda=False).use_cuda is False
    assert node_class().use_cuda is True
    with pytest.raises(TypeError, match=rf"{node_class.__name__}: use_cuda is 1"):
        node_class(use_cuda=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("training", [True, False])
def test_a_bank_of_one_takes_a_flat_batch(name: str, training: bool) -> None:
    bank = make_noiseless_bank(name, 3, nodes=1).train(training)
    x = torch.rand(7, 3)
    assert bank(x).shape == (7, 2)
    assert torch.equal(bank(x), bank(x.unsqueeze(1)).squeeze(1))


@pytest.mark.parametrize("name", ALL)
def test_nodes_of_a_bank_do_not_influence_each_other(name: str) -> None:
    bank = make_noiseless_bank(name, 3)
    x = torch.rand(10, 3, 3, generator=torch.Generator().manual_seed(2))
    changed = x.clone()
    changed[:, 1] = 1 - changed[:, 1]
    before, after = bank(x), bank(changed)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize("name", ALL)
def test_start_values_depend_on_the_generator_only(name: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, second = make_bank(name, 4), make_bank(name, 4)
    initialised = REGISTRY.get_node(name)(input_dim=4, num_nodes=3, init_fn=nn.init.normal_)
    again = REGISTRY.get_node(name)(input_dim=4, num_nodes=3, init_fn=nn.init.normal_)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in [(first, second), (initialised, again)]:
        for x, y in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("name", ALL)
def test_wrong_arguments_are_refused_by_name(name: str) -> None:
    node_class = REGISTRY.get_node(name)
    with pytest.raises(TypeError, match=rf"{node_class.__name__}.*no_such_option"):
        node_class(no_such_option=1)
    for bad in (0, -1, 17):
        with pytest.raises(ValueError, match=rf"{node_class.__name__}: input_dim"):
            node_class(input_dim=bad)
    with pytest.raises(TypeError, match="output_dim"):
        node_class(output_dim=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_nodes"):
        node_class(num_nodes=0)
    with pytest.raises(ValueError, match="table entries"):
        node_class(input_dim=16, num_nodes=2**13)
    with pytest.raises(TypeError, match="init_fn"):
        node_class(init_fn=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
def test_input_of_the_wrong_shape_is_refused(name: str) -> None:
    bank = make_bank(name, 3)
    for shape in [(5, 3), (5, 3, 4), (5, 2, 3), (3,)]:
        with pytest.raises(ValueError, match=r"expected \(batch, 3, 3\)"):
            bank(torch.rand(shape))


def test_dwn_entries_are_kept_in_the_unit_interval() -> None:
    bank = DWNNode(input_dim=2, init_fn=nn.init.constant_, init_kwargs={"val": 7.0})
    assert torch.equal(bank(torch.rand(5, 2)), torch.ones(5, 1))
    assert torch.equal(bank.luts, torch.ones_like(bank.luts))


def test_two_forwards_of_dwn_share_one_backward() -> None:
    bank = DWNNode(input_dim=2)
    (bank(torch.rand(5, 2)).sum() + bank(torch.rand(5, 2)).sum()).backward()
    assert bank.luts.grad is not None
    assert bank.luts.grad.sum() == 10


def test_temperature_sharpens_training_but_not_the_table() -> None:
    warm, cold = ProbabilisticNode(input_dim=3), ProbabilisticNode(input_dim=3, temperature=0.01)
    assert torch.equal(warm.raw_weights, cold.raw_weights)
    assert torch.equal(warm.truth_table(), cold.truth_table())
    corners = enumerate_corners(3)
    table = warm.truth_table()[0].t().float()
    assert (cold(corners) - table).abs().max() < (warm(corners) - table).abs().max()
    with pytest.raises(ValueError, match="temperature"):
        ProbabilisticNode(temperature=0.0)


def test_dwn_stable_scales_gradients_and_nothing_else() -> None:
    plain, scaled = DWNStableNode(input_dim=3, gradient_scale=1.0), DWNStableNode(input_dim=3)
    gradients = []
    for bank in (plain, scaled):
        x = torch.rand(20, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        answers = bank(x)
        assert torch.equal(answers, torch.sigmoid(bank.raw_luts)[0, 0, compute_addresses(x.t()[None])[0]][:, None])
        gradients.append(torch.autograd.grad(answers.square().sum(), (bank.raw_luts, x)))
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(1.25 * one, other)
    with pytest.raises(ValueError, match="gradient_scale"):
        DWNStableNode(gradient_scale=0.0)
    with pytest.raises(TypeError, match="learn_gradient_scale"):
        DWNStableNode(learn_gradient_scale="yes")  # type: ignore[arg-type]


def test_dwn_stable_can_learn_its_gradient_scale() -> None:
    bank = DWNStableNode(input_dim=3, num_nodes=2, gradient_scale=2.0, learn_gradient_scale=True)
    scale = bank.gradient_scale
    assert isinstance(scale, nn.Parameter)
    assert scale.tolist() == [2.0, 2.0]
    x = torch.rand(20, 2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    answers = bank(x)
    gradient, gradient_x = torch.autograd.grad(answers.sum(), (scale, x), create_graph=True)
    assert torch.allclose(gradient, answers.sum((0, 2)))  # the scale is a factor of the table entries
    (second,) = torch.autograd.grad(gradient_x.square().sum(), scale)  # and of the input gradients
    assert torch.allclose(second, 2 * gradient_x.detach().square().sum((0, 2)) / 2.0)


def test_hybrid_inputs_get_the_finite_difference_at_corners() -> None:
    bank = HybridNode(input_dim=3)
    x = enumerate_corners(3).requires_grad_()
    (gradient,) = torch.autograd.grad(bank(x).sum(), x)
    entries = torch.sigmoid(bank.raw_luts)[0, 0]
    for a, j in itertools.product(range(8), range(3)):
        assert gradient[a, j].item() == pytest.approx((entries[a | 1 << j] - entries[a & ~(1 << j)]).item(), abs=1e-6)


def test_dominant_frequencies_are_those_of_the_largest_amplitudes() -> None:
    bank = FourierNode(input_dim=3, output_dim=2, num_nodes=2, max_amplitude=0.5)
    with torch.no_grad():
        bank.amplitudes.copy_(torch.randn(bank.amplitudes.shape, generator=torch.Generator().manual_seed(2)))
    frequencies, amplitudes = bank.get_dominant_frequencies(top_k=3)
    assert frequencies.shape == (2, 2, 3, 3)
    for node, output in itertools.product(range(2), range(2)):
        column = bank.amplitudes[node, :, output].tolist()
        total = sum(map(abs, column)) + 1e-8
        best = sorted(range(8), key=lambda k: -abs(column[k]))[:3]
        assert frequencies[node, output].tolist() == bank.frequencies[node, best].tolist()
        assert amplitudes[node, output].tolist() == pytest.approx([0.5 * column[k] / total for k in best])
    assert bank.get_dominant_frequencies(top_k=99)[1].shape == (2, 2, 8)
    assert FourierNode(input_dim=6).get_dominant_frequencies()[1].shape == (1, 1, 5)
    with pytest.raises(ValueError, match="top_k is 0"):
        bank.get_dominant_frequencies(top_k=0)
