"""Training augmentation: that bits are flipped and gradients rescaled, and nothing in eval mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from difflut.errors import ConfigError
from difflut.layers import BaseLUTLayer, LayerConfig
from difflut.layers.augmentation import BitFlips, rescale
from difflut.models import SimpleFeedForward
from difflut.registry import REGISTRY
from difflut.rules import Pins

ModelMaker = Callable[..., SimpleFeedForward]
LAYERS = REGISTRY.list_layers()
AXES = {"layerwise": (0, 1, 2), "nodewise": (1, 2), "batch": (0, 1), "batchwise": (0, 1)}


def make_layer(name: str = "random", **settings: Any) -> BaseLUTLayer:
    return REGISTRY.get_layer(name)(
        40, 30, "probabilistic", n=4, node_kwargs={"output_dim": 2}, layer_config=LayerConfig(**settings)
    )


def draw_bits(rows: int = 200, columns: int = 40) -> Tensor:
    return torch.randint(0, 2, (rows, columns), generator=torch.Generator().manual_seed(3)).float()


def output_gradient(layer: BaseLUTLayer, x: Tensor, grad: Tensor) -> Tensor:
    """The gradient, (nodes, outputs, batch), that reaches the node bank when `grad` reaches the layer's output."""
    seen: list[Tensor] = []
    forward = layer.bank.forward_pins

    def forward_and_watch(pins: Pins) -> Tensor:
        output = forward(pins)
        output.register_hook(seen.append)  # type: ignore[no-untyped-call]
        return output

    layer.bank.forward_pins = forward_and_watch  # type: ignore[method-assign]
    layer(x).backward(grad)
    return seen[0]


@pytest.mark.parametrize("probability", [0.01, 0.3, 1.0])
def test_the_configured_share_of_bits_is_flipped(probability: float) -> None:
    flips, bits = BitFlips(torch.Generator().manual_seed(1)), draw_bits(1000)
    config = LayerConfig(flip_probability=probability)
    first, second = flips(bits, config), flips(bits, config)
    share = (first != bits).float().mean().item()
    assert share == pytest.approx(probability, abs=4 * (probability * (1 - probability) / bits.numel()) ** 0.5)
    assert set(first.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(first, second) == (probability == 1.0)
    soft = torch.full((50,), 0.3)
    assert flips(soft, LayerConfig(flip_probability=1.0)).tolist() == pytest.approx([0.7] * 50)


def test_the_gradient_of_a_flipped_bit_is_that_of_the_bit() -> None:
    bits = draw_bits().requires_grad_()
    BitFlips(torch.Generator())(bits, LayerConfig(flip_probability=0.5)).sum().backward()
    assert bits.grad is not None
    assert torch.equal(bits.grad, torch.ones_like(bits))


@pytest.mark.parametrize("probability", [0.02, 0.4, 1.0])
def test_erased_bits_are_fair_coins_without_gradient(probability: float) -> None:
    bits = (0.25 + 0.5 * draw_bits(1000)).requires_grad_()  # neither 0 nor 1, so that a coin can be told from a bit
    erased = BitFlips(torch.Generator().manual_seed(1))(bits, LayerConfig(dropout=probability))
    erased.sum().backward()
    is_coin = erased != bits
    assert set(erased[is_coin].tolist()) == {0.0, 1.0}
    count, heads = int(is_coin.sum()), int(erased[is_coin].sum())
    assert count == pytest.approx(probability * bits.numel(), abs=4 * (probability * bits.numel()) ** 0.5)
    assert heads == pytest.approx(count / 2, abs=2 * count**0.5)
    assert bits.grad is not None
    assert torch.equal(bits.grad, (~is_coin).float())


@pytest.mark.parametrize("name", LAYERS)
def test_layers_erase_bits_in_training_only(name: str) -> None:
    plain, erasing = make_layer(name), make_layer(name, dropout=1.0)
    x = draw_bits()
    assert not torch.equal(erasing(x), erasing(x))
    assert torch.equal(erasing.eval()(x), plain.eval()(x))
    leaf = x.clone().requires_grad_()
    erasing.train()(leaf).sum().backward()
    assert leaf.grad is None or not leaf.grad.any()


@pytest.mark.parametrize("name", LAYERS)
def test_layers_read_flipped_bits_in_training_only(name: str) -> None:
    plain, flipping = make_layer(name), make_layer(name, flip_probability=1.0)
    x = draw_bits()
    assert torch.allclose(flipping(x), plain(1 - x), atol=1e-6)
    assert torch.equal(flipping.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("name", LAYERS)
def test_a_change_acts_at_once(name: str) -> None:
    layer, x = make_layer(name), draw_bits()
    before, counter = layer(x), layer.bit_flips.noise_counter.clone()
    assert torch.equal(layer(x), before)
    assert layer.bit_flips.noise_counter == counter
    layer.layer_config.flip_probability = 0.5
    assert not torch.equal(layer(x), before)
    assert layer.bit_flips.noise_counter == counter + 1


def test_flips_continue_from_a_checkpoint() -> None:
    state = torch.get_rng_state()
    first, second, x = make_layer(flip_probability=0.2), make_layer(flip_probability=0.2), draw_bits()
    drawn = [first(x) for _ in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    second(x)
    third = make_layer(flip_probability=0.2)
    third.load_state_dict(second.state_dict())
    assert torch.equal(third(x), drawn[1])
    assert torch.equal(third(x), drawn[2])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("mode", AXES)
@pytest.mark.parametrize("subtract", [False, True])
def test_gradients_have_the_target_deviation_in_every_step(name: str, mode: str, subtract: bool) -> None:
    layer = make_layer(name, grad_stabilization=mode, grad_target_std=2.0, grad_subtract_mean=subtract)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        grad = 1e-4 * (1 + torch.randn(200, 60, generator=generator)) * (0.1 + torch.rand(200, 1, generator=generator))
        seen = output_gradient(layer, draw_bits(), grad)
        deviation = seen.square().mean(AXES[mode]).sqrt()
        assert torch.allclose(deviation, torch.tensor(2.0), rtol=1e-4)
        if subtract:
            assert seen.mean(AXES[mode]).abs().max() < 1e-4


def test_without_stabilisation_the_gradient_is_as_it_was() -> None:
    grad = torch.randn(200, 60)
    seen = output_gradient(make_layer(), draw_bits(), grad)
    assert torch.equal(seen, grad.t().view(30, 2, 200))


def test_stabilisation_leaves_the_outputs_alone() -> None:
    x = draw_bits()
    assert torch.equal(make_layer(grad_stabilization="layerwise")(x), make_layer()(x))


def test_parts_at_or_below_epsilon_are_left_as_they_are() -> None:
    grad = torch.stack([torch.full((2, 5), 1e-3), torch.full((2, 5), 1e-1), torch.zeros(2, 5)])
    scaled = rescale(grad, LayerConfig(grad_stabilization="nodewise", grad_epsilon=1e-2))
    assert torch.equal(scaled[0], grad[0])
    assert torch.allclose(scaled[1], torch.ones(2, 5))
    assert torch.equal(scaled[2], grad[2])
    constant = rescale(grad, LayerConfig(grad_stabilization="nodewise", grad_subtract_mean=True))
    assert torch.equal(constant, grad)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flip_probability", 1.1),
        ("flip_probability", -0.1),
        ("flip_probability", True),
        ("flip_probability", float("nan")),
        ("grad_stabilization", "rowwise"),
        ("grad_stabilization", None),
        ("grad_target_std", 0),
        ("grad_target_std", float("inf")),
        ("grad_subtract_mean", 1),
        ("grad_epsilon", -1e-8),
        ("grad_epsilon", "small"),
    ],
)
def test_bad_settings_are_named(make_model: ModelMaker, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        LayerConfig(**{name: value})
    config = LayerConfig()
    with pytest.raises(ValueError, match=f"{name} is"):
        setattr(config, name, value)
    assert config == LayerConfig()
    with pytest.raises(ConfigError, match=rf"runtime\.{name} is"):
        make_model(runtime={name: value})


def test_unknown_modes_list_all_and_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="none, layerwise, nodewise, batchwise, batch"):
        LayerConfig(grad_stabilization="all")
    with pytest.raises(AttributeError, match="'flips'"):
        LayerConfig().flips = 0.1


def test_copies_are_independent() -> None:
    first = LayerConfig(flip_probability=0.25, grad_stabilization="batch")
    second = first.copy()
    assert second == first
    assert second.grad_stabilization == "batchwise"
    second.flip_probability = 0.5
    assert first.flip_probability == 0.25


def test_runtime_settings_reach_every_layer(make_model: ModelMaker) -> None:
    runtime = {"flip_probability": 0.1, "grad_stabilization": "batch", "grad_target_std": 2.0}
    model = make_model(runtime=runtime)
    model.apply_runtime_overrides({"grad_subtract_mean": True, "grad_epsilon": 1e-6, "flip_probability": 0.0})
    for layer in model.lut_layers():
        assert layer.layer_config == LayerConfig(0.0, "batchwise", 2.0, True, 1e-6)
    assert model.lut_layers()[0].layer_config is not model.lut_layers()[1].layer_config


def test_a_model_with_augmentation_predicts_as_without(make_model: ModelMaker) -> None:
    x = torch.randn(30, 5)
    plain, augmented = make_model(), make_model(runtime={"flip_probability": 0.5, "grad_stabilization": "layerwise"})
    assert torch.equal(augmented.class_counts(x), plain.class_counts(x))
    assert torch.equal(augmented.eval()(x), plain.eval()(x))
