"""The convolutional model: what it is made of, what its configuration refuses, that it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from difflut import build_model, load_model, save_model
from difflut.errors import CheckpointError, ConfigError
from difflut.layers import ConvolutionalLayer, LayerConfig, OrPool2d
from difflut.models import ConvNet, ModelConfig
from difflut.registry import REGISTRY
from difflut.training import TrainingConfig, train
from difflut.utils.archive import write_archive

FIRST = {"out_channels": 5, "receptive_field": 3, "padding": 1, "tree_depth": 1, "pool": 2}
SECOND = {"out_channels": 4, "receptive_field": 2, "tree_depth": 2, "n_inputs_per_node": 2}


def make_config(**changes: Any) -> ModelConfig:
    fields: dict[str, Any] = {
        "model_type": "convnet",
        "layer_type": "random",
        "node_type": "dwn",
        "encoder_config": {"name": "thermometer", "num_bits": 2},
        "node_input_dim": 3,
        "layer_widths": [14, 12],
        "num_classes": 3,
        "params": {"image_shape": [2, 5, 7], "convolutions": [FIRST, SECOND]},
    }
    return ModelConfig(**{**fields, **changes})


def draw_samples(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 2, 5, 7, generator=torch.Generator().manual_seed(seed))


def make_model(**changes: Any) -> ConvNet:
    model = build_model(make_config(**changes))
    assert isinstance(model, ConvNet)
    model.fit_encoder(draw_samples(40))
    return model


def test_the_network_is_its_parts_one_after_another() -> None:
    model = make_model().eval()
    layers: list[Any] = list(model.layers)
    first, pool, second, *dense = layers
    assert [type(layer) for layer in (first, pool, second)] == [ConvolutionalLayer, OrPool2d, ConvolutionalLayer]
    assert first.output_shape == pool.image_shape == (5, 5, 7)
    assert pool.output_shape == second.image_shape == (5, 2, 3)
    assert second.output_shape == (4, 1, 2)
    assert [len(first.levels), first.n, len(second.levels), second.n] == [2, 3, 3, 2]
    assert [layer.input_size for layer in dense] == [8, 14]

    x = draw_samples(6)
    thresholds = model.encoder.thresholds.view(2, 5, 7, 2)
    quantised = model.input_format.quantize(x)
    planes = torch.stack([quantised[:, c] > thresholds[c, :, :, b] for c in (0, 1) for b in (0, 1)], dim=1).float()
    bits = second(pool(first(planes)))
    assert bits.shape == (6, 4, 1, 2)
    votes = dense[1](dense[0](bits.reshape(6, 8))).view(6, 3, 4).sum(2)
    assert torch.equal(model.class_counts(x), votes.long())
    assert torch.equal(model(x.flatten(1)), votes)
    assert [name for name, _ in model.stages()] == [
        "bit_planes",
        *(f"layers.{index}" for index in range(3)),
        "flatten",
        "layers.3",
        "layers.4",
    ]


def test_every_convolution_has_its_own_seed() -> None:
    alike = {"out_channels": 4, "receptive_field": 3, "padding": 1, "tree_depth": 1}  # four channels in, four out
    model = make_model(params={"image_shape": [2, 5, 7], "convolutions": [alike, alike]}, seed=7)
    first, second = (layer for layer in model.layers if isinstance(layer, ConvolutionalLayer))
    assert (first.convolution_config.seed, second.convolution_config.seed) == (7, 8)
    assert first.first_level.mapping().shape == second.first_level.mapping().shape
    assert not torch.equal(first.first_level.mapping(), second.first_level.mapping())


@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
@pytest.mark.parametrize("layer_type", REGISTRY.list_layers())
def test_a_saved_model_comes_back(node_type: str, layer_type: str, tmp_path: Path) -> None:
    model = make_model(node_type=node_type, layer_type=layer_type)
    save_model(model, tmp_path / "model.pth")
    loaded = load_model(tmp_path / "model.pth")
    assert isinstance(loaded, ConvNet)
    assert loaded.config == model.config
    x = draw_samples(20, seed=1)
    assert torch.equal(loaded.class_counts(x), model.class_counts(x))
    assert torch.equal(loaded.train()(x), model.train()(x))
    assert 0 < ConvNet.min_state_bytes(model.config) <= (tmp_path / "model.pth").stat().st_size


def test_a_file_too_small_for_its_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    save_model(make_model(), path)
    content = torch.load(path, weights_only=True)
    content["config"]["params"]["convolutions"][0]["out_channels"] = 2**18
    write_archive(content, path)
    with pytest.raises(CheckpointError, match=r"the configuration needs at least \d+ bytes of state"):
        load_model(path)


def test_wiring_out_of_range_in_a_file_is_refused(tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "model.pth"
    model.get_buffer("layers.2.levels.0.mapping_indices")[3, 1] = 20
    save_model(model, path)
    with pytest.raises(CheckpointError, match=r"layers\.2\.levels\.0\.mapping_indices points outside the 20 inputs"):
        load_model(path)


def test_configurations_survive_yaml(tmp_path: Path) -> None:
    config = make_config()
    config.to_yaml(tmp_path / "model.yaml")
    assert ModelConfig.from_yaml(tmp_path / "model.yaml") == config


def test_runtime_settings_reach_every_level() -> None:
    model = make_model(node_type="probabilistic", layer_type="learnable", runtime={"flip_probability": 0.25})
    model.apply_runtime_overrides({"temperature": 0.5, "routing_tau": 2.0, "regularizers": {"l2": 0.1}})
    for index in (0, 2):
        layer: Any = model.layers[index]
        assert layer.layer_config == LayerConfig(flip_probability=0.25)
        assert [level.bank.temperature for level in layer.lut_levels()] == [0.5] * len(layer.levels)
        assert layer.first_level.routing_tau == 2.0
    terms = [layer.regularization().item() for layer in model.lut_layers()]
    assert [term > 0 for term in terms] == [True, False, True, True, True]
    assert model.get_regularization_loss().item() == pytest.approx(sum(terms))


def change_params(**params: Any) -> Callable[[], Any]:
    return lambda: make_config(params={"image_shape": [2, 5, 7], "convolutions": [FIRST], **params})


def change_first(**entry: Any) -> Callable[[], Any]:
    return change_params(convolutions=[{**FIRST, **entry}])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (change_params(kernels=3), r"Unknown model parameter params.kernels .* known: image_shape, convolutions"),
        (
            change_params(image_shape=[5, 7]),
            "params is not usable: .*image_shape is .5, 7.; it must be channels, height",
        ),
        (change_params(image_shape="2x5"), "image_shape is '2x5'"),
        (change_params(image_shape=None), "image_shape is None"),
        (change_params(convolutions=[]), "params.convolutions must be a list of 1 to 64 tables"),
        (change_params(convolutions={"out_channels": 3}), "params.convolutions must be a list"),
        (change_params(convolutions=[FIRST, 3]), r"params.convolutions\[1\] is not usable: it must be a table"),
        (change_params(convolutions=[{"pool": 2}]), r"convolutions\[0\] .*'out_channels'"),
        (change_first(colour=3), r"convolutions\[0\] .*'colour' is unknown; known: out_channels, "),
        (change_first(seed=3), "'seed' is unknown"),
        (change_first(out_channels=0), "out_channels is 0"),
        (change_first(n_inputs_per_node=17), "n_inputs_per_node is 17"),
        (change_first(tree_depth=8, n_inputs_per_node=16), "table entries"),
        (change_first(receptive_field=8), "height of the image, 5 pixels"),
        (change_first(pool=0), "kernel_size is 0"),
        (change_first(pool=6), "an image of 5x7 pixels is smaller than the window"),
        (change_params(convolutions=[{**FIRST, "pool": 5}, SECOND]), r"convolutions\[1\] .* 1 pixels"),
        (lambda: make_config(input_size=71), "image_shape is 2 x 5 x 7, but samples have 71 features"),
        (lambda: make_config(params={}), "image_shape is None"),
        (lambda: build_model(make_config(node_kwargs={"output_dim": 2}, input_size=70)), "output_dim 2"),
        (lambda: build_model(make_config(layer_kwargs={"wings": 2}, input_size=70)), r"convolutions\[0\] .*wings"),
        (lambda: build_model(change_first(grouped_connections=1)()).fit_encoder(draw_samples(9)), "true or false"),
        (
            lambda: build_model(change_first(ensure_full_coverage=True, tree_depth=0)()).fit_encoder(draw_samples(9)),
            "36 inputs",
        ),
    ],
)
def test_bad_configurations_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_samples_of_another_shape_are_refused() -> None:
    model = build_model(make_config())
    with pytest.raises(ConfigError, match="samples have 64 features"):
        model.fit_encoder(torch.randn(10, 64))


def test_a_network_learns_to_tell_digits_apart(tmp_path: Path) -> None:
    config = {
        "data": {"source": "digits"},
        "model": {
            "model_type": "convnet",
            "layer_type": "random",
            "node_type": "dwn",
            "encoder_config": {"name": "thermometer", "num_bits": 2},
            "node_input_dim": 3,
            "layer_widths": [150],
            "runtime": {"output_tau": 3.0},
            "node_kwargs": {"init_fn": "residual"},
            "params": {
                "image_shape": [1, 8, 8],
                "convolutions": [{"out_channels": 8, "receptive_field": 3, "tree_depth": 1, "pool": 2}],
            },
        },
        "training": {"epochs": 5, "batch_size": 64, "learning_rate": 0.02, "threads": 1},
    }
    result = train(TrainingConfig.from_dict(config), tmp_path)
    assert result.test_accuracy > 0.5  # chance is 0.1
    assert load_model(result.model_path).config.model_type == "convnet"
