"""Layers as users write them: on the base class as it is, with wiring of their own, with a forward of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difflut import register_layer
from difflut.layers import BaseLUTLayer, base_layer, layer_config
from difflut.layers.layer_config import LayerConfig
from difflut.nodes import NodeConfig
from difflut.registry import REGISTRY
from tests.documents.session import registry_restored


class PlainLayer(BaseLUTLayer):
    """Nothing but a constructor."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        node_type: str,
        n: int,
        node_kwargs: Any = None,
        layer_config: LayerConfig | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_size=input_size,
            output_size=output_size,
            node_type=node_type,
            n=n,
            node_kwargs=node_kwargs,
            layer_config=layer_config,
            **kwargs,
        )


class RandomRoutingLayer(PlainLayer):
    """Wiring and forward of its own, node by node; flips and stabilisation of its own."""

    def __init__(self, *args: Any, seed: int = 42, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seed = seed
        generator = torch.Generator().manual_seed(seed)
        rows = [torch.randperm(self.input_size, generator=generator)[: self.n] for _ in range(self.output_size)]
        self.register_buffer("routing", torch.stack(rows))

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for index in range(self.output_size):
            routed = x[:, self.get_buffer("routing")[index]]
            if self.training and self.layer_config:
                flips = torch.rand_like(routed) < self.layer_config.flip_probability
                routed = routed + (flips * (1 - 2 * routed)).detach()
            node = self.nodes[index]
            outputs.append(node(routed))
        output = torch.cat(outputs, dim=1)
        if self.training and self.layer_config:
            output = self._apply_gradient_stabilization(output)
        return output

    def _apply_gradient_stabilization(self, x: Tensor) -> Tensor:
        target = self.layer_config.grad_target_std
        if self.layer_config.grad_stabilization != "none":
            x.register_hook(lambda grad: grad * target / grad.std())  # type: ignore[no-untyped-call]
        return x


class LearnableRoutingLayer(PlainLayer):
    """A parameter of its own: every node reads its n heaviest inputs, weighted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.routing_weights = nn.Parameter(torch.randn(self.output_size, self.input_size) / self.input_size**0.5)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for index in range(self.output_size):
            top = torch.topk(torch.softmax(self.routing_weights[index], dim=0), self.n)
            routed = x[:, top.indices]
            outputs.append(self.nodes[index](routed + top.values - top.values.detach()))
        return torch.cat(outputs, dim=1)


CLASSES: dict[str, type[BaseLUTLayer]] = {
    "plain": PlainLayer,
    "random_routing": RandomRoutingLayer,
    "learnable_routing": LearnableRoutingLayer,
}


@pytest.fixture(params=CLASSES)
def make_layer(request: pytest.FixtureRequest) -> Iterator[type[BaseLUTLayer]]:
    """A custom layer class, looked up by its name; no other test meets it in the registry."""
    with registry_restored():
        register_layer(f"tests_{request.param}")(CLASSES[request.param])
        yield REGISTRY.get_layer(f"tests_{request.param}")


def test_it_has_what_its_constructor_said(make_layer: type[BaseLUTLayer]) -> None:
    layer = make_layer(input_size=40, output_size=30, node_type="probabilistic", n=6)
    assert (layer.input_size, layer.output_size, layer.n, len(layer.nodes)) == (40, 30, 6, 30)
    assert layer.layer_config == LayerConfig()
    assert layer.training


@pytest.mark.parametrize("node_kwargs", [None, {"temperature": 2.0}, NodeConfig(6, extra_params={"temperature": 2.0})])
def test_training_reaches_inputs_and_parameters(make_layer: type[BaseLUTLayer], node_kwargs: Any) -> None:
    layer = make_layer(input_size=40, output_size=30, node_type="probabilistic", n=6, node_kwargs=node_kwargs)
    x = torch.randn(8, 40, requires_grad=True)
    y = layer(x)
    assert y.shape == (8, 30)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_eval_mode_reads_the_tables_of_its_nodes(make_layer: type[BaseLUTLayer]) -> None:
    layer = make_layer(input_size=12, output_size=5, node_type="probabilistic", n=3).eval()
    x = torch.randn(20, 12)
    if isinstance(layer, RandomRoutingLayer):
        wiring = layer.get_buffer("routing")
    elif isinstance(layer, LearnableRoutingLayer):
        wiring = layer.routing_weights.topk(3).indices
    else:
        wiring = layer.mapping()
    table = layer.bank.truth_table()
    for row, answers in zip(x, layer(x), strict=True):
        for node in range(5):
            address = sum(2**j for j in range(3) if row[wiring[node, j]] >= 0.5)
            assert answers[node] == table[node, 0, address]
    assert torch.equal(layer(x), layer(x))


def test_training_settings_act(make_layer: type[BaseLUTLayer]) -> None:
    config = LayerConfig(flip_probability=0.3, grad_stabilization="layerwise", grad_target_std=2.0)
    layer = make_layer(input_size=40, output_size=30, node_type="dwn", n=6, layer_config=config)
    assert layer.layer_config is config
    x = torch.randint(0, 2, (8, 40)).float()
    if make_layer is not LearnableRoutingLayer:  # which has none of them
        assert not torch.equal(layer(x), layer(x))
    layer.layer_config.flip_probability = 0.0
    assert torch.equal(layer(x), layer(x))


def test_state_moves_to_a_new_layer(make_layer: type[BaseLUTLayer]) -> None:
    first, second = (make_layer(input_size=12, output_size=5, node_type="dwn", n=3, seed=s) for s in (1, 2))
    x = torch.randn(20, 12)
    assert not torch.equal(first.eval()(x), second.eval()(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_the_base_class_wires_as_the_random_layer_does() -> None:
    base, random = BaseLUTLayer(40, 30, "dwn"), REGISTRY.get_layer("random")(40, 30, "dwn")
    assert torch.equal(base.mapping(), random.mapping())


def test_defaults_have_names() -> None:
    assert (base_layer.DEFAULT_INPUT_SIZE, base_layer.DEFAULT_OUTPUT_SIZE) == (512, 256)
    assert (base_layer.DEFAULT_NODE_TYPE, base_layer.DEFAULT_INPUT_DIM) == ("probabilistic", 6)
    assert LayerConfig() == LayerConfig(
        flip_probability=layer_config.DEFAULT_FLIP_PROBABILITY,
        grad_stabilization=layer_config.DEFAULT_GRAD_STABILIZATION,
        grad_target_std=layer_config.DEFAULT_GRAD_TARGET_STD,
        grad_subtract_mean=layer_config.DEFAULT_GRAD_SUBTRACT_MEAN,
        grad_epsilon=layer_config.DEFAULT_GRAD_EPSILON,
    )
