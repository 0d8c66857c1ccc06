"""Settings that change after training: what each does, and that hardware never sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from difflut import save_model
from difflut.errors import CheckpointError, ConfigError
from difflut.models import ModelConfig, SimpleFeedForward, build_model, load_model
from difflut.nodes.base_node import EVAL_MODES
from difflut.registry import REGISTRY

ModelMaker = Callable[..., SimpleFeedForward]
ConfigMaker = Callable[..., ModelConfig]


def draw(rows: int = 20) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(1))


def one_layer(make_model: ModelMaker, node_type: str, **runtime: object) -> SimpleFeedForward:
    """A model whose bits are its votes: 9 nodes, 9 classes."""
    return make_model(node_type=node_type, layer_widths=[9], num_classes=9, runtime=runtime).eval()


@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
@pytest.mark.parametrize("mode", [mode for mode in EVAL_MODES if mode != "sampling"])
def test_eval_modes_that_decide_are_the_table(make_model: ModelMaker, node_type: str, mode: str) -> None:
    plain, model = make_model(node_type=node_type).eval(), make_model(node_type=node_type, runtime={"eval_mode": mode})
    assert torch.equal(model.eval()(draw()), plain(draw()))


@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
def test_sampling_draws_with_the_probabilities_of_the_table(make_model: ModelMaker, node_type: str) -> None:
    model = one_layer(make_model, node_type, eval_mode="sampling", sampling_seed=5)
    x, draws = draw(1), 2000
    samples = model(x.expand(draws, -1))
    assert set(samples.flatten().tolist()) <= {0.0, 1.0}
    layer = model.lut_layers()[0]
    bits = model.encode(x)[0]
    addresses = [sum(int(bits[pin]) << j for j, pin in enumerate(pins)) for pins in layer.mapping().tolist()]
    table = layer.bank.soft_table().detach()
    for node, address in enumerate(addresses):
        p = table[node, 0, address].clamp(0, 1).item()
        assert samples[:, node].mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / draws) ** 0.5 + 1e-6)


def test_a_seed_makes_samples_repeatable(make_model: ModelMaker) -> None:
    first = one_layer(make_model, "probabilistic", eval_mode="sampling", sampling_seed=5)
    second = one_layer(make_model, "probabilistic", eval_mode="sampling", sampling_seed=5)
    other = one_layer(make_model, "probabilistic", eval_mode="sampling", sampling_seed=6)
    x, state = draw(50), torch.get_rng_state()
    drawn = first(x)
    assert torch.equal(drawn, second(x))
    assert not torch.equal(drawn, first(x))
    assert not torch.equal(drawn, other(x))
    assert torch.equal(torch.get_rng_state(), state)
    first.apply_runtime_overrides({"sampling_seed": None})
    first(x)
    assert not torch.equal(torch.get_rng_state(), state), "without a seed, torch's own generator is used"


def test_sampling_never_reaches_votes(make_model: ModelMaker) -> None:
    plain, model = make_model(node_type="probabilistic"), make_model(node_type="probabilistic")
    model.apply_runtime_overrides({"eval_mode": "sampling"})
    model.train()
    assert torch.equal(model.class_counts(draw()), plain.class_counts(draw()))
    assert torch.equal(model.predict(draw()), plain.predict(draw()))
    assert model.training
    assert {layer.bank.eval_mode for layer in model.lut_layers()} == {"sampling"}
    assert not torch.equal(model.eval()(draw()), plain.eval()(draw()))


def test_start_values_come_from_the_runtime_settings(make_config: ConfigMaker) -> None:
    runtime = {"init_fn": "uniform", "init_kwargs": {"a": 0.25, "b": 0.3}}
    model = build_model(make_config(node_type="linear_lut", input_size=5), overrides=runtime)
    weights = [parameter for layer in model.lut_layers() for parameter in layer.parameters()]
    assert all(((w >= 0.25) & (w <= 0.3)).all() for w in weights)
    before = [w.clone() for w in weights]
    model.apply_runtime_overrides({"init_fn": "zeros", "init_kwargs": {}})
    assert all(map(torch.equal, weights, before)), "start values are no matter of layers that exist"


def test_a_setting_without_effect_is_said_to_have_none(make_config: ConfigMaker, make_model: ModelMaker) -> None:
    with pytest.warns(UserWarning, match=r"runtime\.temperature has no effect on this model"):
        build_model(make_config(input_size=5, runtime={"temperature": 0.5}))
    with pytest.warns(UserWarning, match=r"runtime\.routing_tau has no effect"):
        make_model().apply_runtime_overrides({"routing_tau": 0.5})


def test_structure_cannot_be_overridden_in_a_built_model(make_model: ModelMaker) -> None:
    model = make_model()
    for name in ("model_type", "layer_type", "node_type", "encoder_config", "node_input_dim", "layer_widths"):
        with pytest.raises(ConfigError, match=f"{name} is part of the structure"):
            model.apply_runtime_overrides({name: "x", "output_tau": 7.0})
    assert model.config.runtime == {}
    assert model.output_layer.tau == 1.0


def test_overrides_do_not_share_values_with_the_caller(make_model: ModelMaker) -> None:
    regularizers = {"l2": {"weight": 0.5}}
    model = make_model()
    model.apply_runtime_overrides({"regularizers": regularizers})
    regularizers["l2"]["weight"] = 3.0
    assert model.config.runtime["regularizers"]["l2"]["weight"] == 0.5


# -- config and weights ------------------------------------------------------------------------------------------------


def test_get_config_is_live_and_saving_writes_what_was_built(make_model: ModelMaker, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    model = make_model()
    config = model.get_config()
    assert config is model.config
    model.apply_runtime_overrides({"output_tau": 2.0})
    assert model.get_config() is config
    config.pretrained, config.pretrained_name = True, "mine"
    model.save_config(path)
    assert ModelConfig.from_yaml(path) == config
    config.num_classes = 100
    assert model.class_names == ["0", "1", "2"]
    with pytest.warns(UserWarning, match="num_classes was changed in the config after the model was built with 3"):
        model.save_config(path)
    assert ModelConfig.from_yaml(path).num_classes == 3
    assert config.num_classes == 100, "the live config stays as the caller set it"
    with pytest.warns(UserWarning, match="num_classes"):
        save_model(model, path.with_suffix(".pth"))
    assert load_model(path.with_suffix(".pth")).config.num_classes == 3


@pytest.mark.parametrize("layer_type", REGISTRY.list_layers())
@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
def test_weights_load_into_a_fresh_model(
    make_model: ModelMaker, make_config: ConfigMaker, tmp_path: Path, node_type: str, layer_type: str
) -> None:
    path = tmp_path / "w.pth"
    trained = make_model(node_type=node_type, layer_type=layer_type, seed=9)
    trained.save_weights(path)
    for input_size in (None, 5):
        fresh = SimpleFeedForward(make_config(node_type=node_type, layer_type=layer_type, input_size=input_size))
        fresh.load_weights(path)
        assert fresh.input_format == trained.input_format
        assert torch.equal(fresh.eval()(draw()), trained.eval()(draw()))
        assert fresh.state_dict().keys() == trained.state_dict().keys()
    refitted = make_model(node_type=node_type, layer_type=layer_type)
    refitted.fit_encoder(0.1 * draw())
    refitted.load_weights(path)
    assert torch.equal(refitted.eval()(draw()), trained.eval()(draw()))


def test_weights_of_another_structure_are_refused_whole(make_model: ModelMaker, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    make_model(layer_widths=[14, 9]).save_weights(path)
    model = make_model()
    before = model(draw())
    with pytest.raises(CheckpointError, match=r"w\.pth: .* layer_widths is \[14, 12\] here and \[14, 9\]"):
        model.load_weights(path)
    torch.save(model.state_dict(), path)
    with pytest.raises(CheckpointError, match="not a difflut-model file"):
        model.load_weights(path)
    assert torch.equal(model(draw()), before)


def test_repr_says_what_it_is(make_model: ModelMaker) -> None:
    assert "feedforward: 5 features, 3 classes" in repr(make_model())
