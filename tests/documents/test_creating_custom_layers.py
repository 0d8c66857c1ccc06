"""The guide to layers of one's own: its layers can be written as it says, wire what it says, and are trained so."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from difflut.layers import BaseLUTLayer
from tests.documents.session import TEXTS, Corrected, Document, Outcome, Run, execute, registry_restored
from tests.documents.tables import read_tables

FLIP = "routed = routed ^ flips.bool()  # XOR flip"
HOOK = """        if not hasattr(self, '_grad_stabilizer_registered'):
"""
HOOK_ONCE = """            self._grad_stabilizer_registered = True
"""
SOFT_INPUT = """            # Weighted sum of inputs
            node_input = torch.mv(weights.unsqueeze(0).expand(batch_size, -1), x.t()).t()
            # This is actually: sum_over_features(x * weights)
            # Better approach:
            node_input = torch.matmul(x, weights.unsqueeze(1)).squeeze(1)  # (batch,)

            # But we need n-dimensional input per node...
            # So select top-n features by attention
            top_k_indices = torch.topk(weights, n=self.n, largest=True)[1]
            routed = x[:, top_k_indices]  # (batch, n)
"""
TOP_INPUTS = """            # The n largest weights choose; the factor is 1 but has their gradient
            chosen, top_k_indices = torch.topk(weights, k=self.n)
            routed = x[:, top_k_indices] * (chosen / chosen.detach())  # (batch, n)
"""

DOCUMENT = Document(
    "creating_custom_layers.md",
    {
        1: Run(),
        2: Run(),
        3: Run(),
        4: Corrected(
            "numbers have no operator ^, and the gradient was hooked at the first output only",
            replace=(
                (FLIP, "routed = routed + (flips * (1 - 2 * routed)).detach()"),
                (HOOK, "        if x.requires_grad:\n"),
                (HOOK_ONCE, ""),
            ),
            fails_in_use=True,
        ),
        5: Run(),
        6: Corrected(
            "torch.mv takes a vector, torch.topk has no n, and the choice of the largest weights had no gradient",
            replace=((SOFT_INPUT, TOP_INPUTS),),
            fails_in_use=True,
        ),
        7: Run(),
        8: Corrected(
            "the class is the reader's, in a file of the reader's",
            replace=(("from difflut.layers import MyCustomLayer\n", ""),),
            fails_in_use=True,
        ),
    },
)
TESTS = [
    method.name
    for statement in ast.parse(DOCUMENT.blocks[8].text).body
    if isinstance(statement, ast.ClassDef)
    for method in statement.body
    if isinstance(method, ast.FunctionDef)
]


@pytest.mark.parametrize("number", DOCUMENT.plan)
def test_block_runs(number: int, session: dict[int, Outcome]) -> None:
    DOCUMENT.check_run(number, session[number])


@pytest.fixture
def device() -> torch.device:
    return torch.device("cpu")


@pytest.mark.parametrize("name", TESTS)
def test_test_of_the_guide_passes(name: str, session: dict[int, Outcome], device: torch.device) -> None:
    method = getattr(session[8]["TestMyCustomLayer"](), name)
    given = {"device": device}
    with registry_restored():
        execute("register_layer('my_custom_layer')(MyCustomLayer)", session[8].names, "again")
        method(**{parameter: given[parameter] for parameter in inspect.signature(method).parameters})


# -- what the corrected blocks do as they stand ------------------------------------------------------------------------


def as_it_stands(number: int, session: dict[int, Outcome], name: str) -> Any:
    """The class `name` of a block, without its correction."""
    with registry_restored():
        outcome = execute(DOCUMENT.blocks[number].text, dict(session[3].names), "uncorrected")
    assert outcome.error is None
    return outcome[name]


def test_bits_as_numbers_cannot_be_flipped_by_xor(session: dict[int, Outcome]) -> None:
    layer = as_it_stands(4, session, "RandomRoutingLayer")(layer_config=session[5]["layer_config"])
    with pytest.raises(RuntimeError, match="xor"):
        layer(torch.ones(2, 512))


def test_gradients_were_stabilised_in_the_first_step_only(session: dict[int, Outcome]) -> None:
    config = session[5]["LayerConfig"](grad_stabilization="layerwise")

    def deviations(layer_class: type[BaseLUTLayer]) -> list[float]:
        layer = layer_class(input_size=20, output_size=10, node_type="linear_lut", n=6, layer_config=config)
        return [float(gradient_of_output(layer).std()) for _ in range(2)]

    assert deviations(as_it_stands(4, session, "RandomRoutingLayer")) == pytest.approx([1, 7], rel=0.3)
    assert deviations(session[4]["RandomRoutingLayer"]) == pytest.approx([1, 1], rel=1e-3)


def test_learnable_routing_could_not_choose(session: dict[int, Outcome]) -> None:
    layer = as_it_stands(6, session, "LearnableRoutingLayer")(input_size=20, output_size=4)
    with pytest.raises(RuntimeError, match="vector"):
        layer(torch.ones(2, 20))


# -- values ------------------------------------------------------------------------------------------------------------


def draw(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def gradient_of_output(layer: BaseLUTLayer) -> Tensor:
    """The gradient that the nodes of a layer get, for a loss whose gradient at the layer's output varies by about 7."""
    seen: list[Tensor] = []
    y = layer.train()(draw(8, layer.input_size))
    y.register_hook(seen.append)
    (7 * torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) * y).sum().backward()
    return seen[0]


def test_own_layer_has_what_it_was_given(session: dict[int, Outcome]) -> None:
    layer = session[2]["layer"]
    assert (layer.input_size, layer.output_size, layer.n) == (512, 256, 6)
    assert type(layer.nodes[0]).__name__ == "ProbabilisticNode"
    assert layer.layer_config is session[2]["layer_config"]
    config = layer.layer_config
    values = (config.flip_probability, config.grad_stabilization, config.grad_target_std)
    assert values == (0.05, "layerwise", 1.0)
    assert (config.grad_subtract_mean, config.grad_epsilon) == (False, 1e-8)


def test_own_layer_flips_five_percent_and_normalises_gradients(session: dict[int, Outcome]) -> None:
    layer = session[2]["MyCustomLayer"](100, 50, "probabilistic", 6, layer_config=session[2]["layer_config"]).train()
    layer.set_regularizers(["l1"])  # for which a bank remembers what its pins read
    bits = (draw(400, 100) > 0.5).float()
    layer(bits)
    flipped = (layer.bank.seen_pins != layer.get_mapping(bits).permute(1, 2, 0)).float().mean()
    assert abs(float(flipped) - 0.05) < 0.003  # of 120,000 pins
    layer.eval()
    assert torch.equal(layer(bits), read_tables(layer, bits[:, layer.mapping()]))


@pytest.mark.parametrize("mode", ["none", "layerwise", "nodewise", "batch"])
def test_own_layer_knows_every_stabilisation_that_is_listed(mode: str, session: dict[int, Outcome]) -> None:
    assert f"**'{mode}'**" in (TEXTS / DOCUMENT.name).read_text(encoding="utf-8")
    config = session[2]["LayerConfig"](grad_stabilization=mode, grad_target_std=2.0)
    layer = session[2]["MyCustomLayer"](30, 10, "linear_lut", 4, layer_config=config).train()
    received: list[Tensor] = []
    forward = layer.bank.forward_pins

    def listen(pins: Tensor) -> Tensor:
        outputs: Tensor = forward(pins)
        outputs.register_hook(received.append)  # type: ignore[no-untyped-call]
        return outputs

    layer.bank.forward_pins = listen
    y = layer(draw(8, 30))
    sent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (sent * y).sum().backward()
    gradient = received[0][:, 0].t()  # (batch, nodes)
    axes: dict[str, tuple[int, ...]] = {"layerwise": (0, 1), "nodewise": (0,), "batch": (1,)}
    if mode == "none":
        assert torch.equal(gradient, sent)
        return
    rms = gradient.square().mean(axes[mode]).sqrt()
    torch.testing.assert_close(rms, torch.full_like(rms, 2.0))
    assert (gradient.sign() == sent.sign()).all()


def test_random_routing_reads_what_its_buffer_says(session: dict[int, Outcome]) -> None:
    layer = session[5]["layer"]
    assert session[5]["y"].shape == (32, 256)
    assert layer.routing.shape == (256, 6)
    assert all(len(set(row)) == 6 for row in layer.routing.tolist())
    again = session[4]["RandomRoutingLayer"](512, 256, seed=42)
    assert torch.equal(again.routing, layer.routing)
    assert not torch.equal(session[4]["RandomRoutingLayer"](512, 256, seed=43).routing, layer.routing)
    x = session[5]["x"]
    layer.eval()
    assert torch.equal(layer(x), read_tables(layer, x[:, layer.routing]))


def test_random_routing_flips_and_stabilises_in_training(session: dict[int, Outcome]) -> None:
    layer = session[4]["RandomRoutingLayer"](layer_config=session[5]["layer_config"])
    x = torch.zeros(64, 512)
    layer.train()
    with torch.no_grad():
        layer.bank.raw_weights[:, 0] = -100.0  # each node answers whether one of its pins is 1
        layer.bank.raw_weights[:, 1:] = 100.0
    share = layer(x).mean().item()
    assert abs(share - (1 - 0.95**6)) < 0.02
    assert abs(float(gradient_of_output(layer).std()) - 1) < 1e-3


def test_random_routing_stabilises_node_by_node(session: dict[int, Outcome]) -> None:
    config = session[5]["LayerConfig"](grad_stabilization="nodewise", grad_target_std=3.0)
    gradient = gradient_of_output(session[4]["RandomRoutingLayer"](20, 10, layer_config=config))
    torch.testing.assert_close(gradient.std(0), torch.full((10,), 3.0))


def test_learnable_routing_reads_the_inputs_with_the_largest_weights_and_learns_them(
    session: dict[int, Outcome],
) -> None:
    layer = session[6]["LearnableRoutingLayer"](input_size=20, output_size=4)
    x = draw(16, 20)
    chosen = layer.routing_weights.detach().argsort(1, descending=True)[:, :6]
    layer.train()
    layer(x).square().sum().backward()
    moved = layer.routing_weights.grad.abs() > 0
    assert all(moved[node, chosen[node]].all() for node in range(4))
    layer.eval()
    assert torch.equal(layer(x), read_tables(layer, x[:, chosen]))


@pytest.mark.parametrize(("inputs", "groups"), [(24, None), (24, 3), (20, 5)])
def test_grouped_nodes_take_turns_at_the_groups(inputs: int, groups: int | None, session: dict[int, Outcome]) -> None:
    layer = session[7]["FeatureWiseGroupingLayer"](inputs, 9, num_groups=groups).eval()
    count = inputs // 6 if groups is None else groups
    size = inputs // count
    x = draw(10, inputs)
    pins = torch.zeros(10, 9, 6)
    for node in range(9):
        start = node % count * size
        width = min(size, 6)
        pins[:, node, :width] = x[:, start : start + width]
    assert torch.equal(layer(x), read_tables(layer, pins))


def test_layers_are_registered_under_their_names(session: dict[int, Outcome]) -> None:
    names = {1: "my_custom_layer", 4: "random_routing", 6: "learnable_routing", 7: "feature_wise_groups"}
    for number, name in names.items():
        assert f"@register_layer('{name}')" in DOCUMENT.blocks[number].text
