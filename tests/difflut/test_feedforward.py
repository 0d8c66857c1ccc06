"""The feed-forward network as a whole."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from difflut.errors import ConfigError, DataError
from difflut.layers import LearnableLayer
from difflut.models import ModelConfig, SimpleFeedForward, build_model, load_model, save_model
from difflut.models.publish import freeze_model
from difflut.nodes import ProbabilisticNode
from difflut.registry import REGISTRY

ConfigMaker = Callable[..., ModelConfig]
ModelMaker = Callable[..., SimpleFeedForward]


def reference_counts(model: SimpleFeedForward, sample: Tensor) -> list[int]:
    """Votes per class of one sample, computed on Python integers and bits."""
    form = model.input_format
    reals = [code * form.scale for code in form.to_integers(sample).tolist()]
    codes = model.encoder.code_table().int().tolist()
    levels = [sum(x > t for t in row) for x, row in zip(reals, model.encoder.thresholds.tolist(), strict=True)]
    bits = [bit for level in levels for bit in codes[level]]
    for layer in model.lut_layers():
        mapping, table = layer.mapping().tolist(), layer.bank.truth_table().tolist()
        addresses = [sum(bits[source] << j for j, source in enumerate(pins)) for pins in mapping]
        bits = [int(output[a]) for a, outputs in zip(addresses, table, strict=True) for output in outputs]
    size = model.output_layer.group_size(len(bits))
    return [sum(bits[k * size : (k + 1) * size]) for k in range(model.config.num_classes)]


@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
@pytest.mark.parametrize("layer_type", REGISTRY.list_layers())
@pytest.mark.parametrize("encoder", REGISTRY.list_encoders())
def test_eval_mode_is_the_hardware(make_model: ModelMaker, node_type: str, layer_type: str, encoder: str) -> None:
    model = make_model(
        node_type=node_type,
        layer_type=layer_type,
        encoder_config={"name": encoder, "num_bits": 2},
        node_kwargs={"output_dim": 2},
    ).eval()
    x = 2 * torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    x[0], x[1] = 1e9, -1e9  # beyond the format: saturates
    counts = model.class_counts(x)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [reference_counts(model, sample) for sample in x]
    assert torch.equal(model(x), counts.float())
    assert torch.equal(model(model.input_format.to_reals(model.input_format.to_integers(x))), model(x))


def test_predict_takes_the_lowest_index_of_equals(make_model: ModelMaker) -> None:
    model = make_model()
    for layer in model.lut_layers():
        for parameter in layer.parameters():
            parameter.data.fill_(1.0)  # every node answers 1, so every class gets the same votes
    assert model.class_counts(torch.randn(4, 5)).tolist() == [[4, 4, 4]] * 4
    assert model.predict(torch.randn(4, 5)).tolist() == [0] * 4


def test_predictions_are_those_of_eval_mode_and_keep_the_mode(make_model: ModelMaker) -> None:
    model = make_model(node_type="probabilistic").train()
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(2))
    counts = model.class_counts(x)
    assert model.training
    assert all(module.training for module in model.modules())
    assert torch.equal(model.eval()(x), counts.float())
    assert torch.equal(model.predict(x), counts.argmax(1))


def test_predictions_do_not_depend_on_the_batch(make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    x = torch.randn(25, 5, generator=torch.Generator().manual_seed(3))
    whole = model.class_counts(x)
    monkeypatch.setattr("difflut.models.base_model._PREDICTION_ROWS", 4)
    assert torch.equal(model.class_counts(x), whole)


def test_an_empty_batch_is_a_batch(make_model: ModelMaker) -> None:
    assert make_model().class_counts(torch.zeros(0, 5)).shape == (0, 3)
    assert make_model().train()(torch.zeros(0, 5)).shape == (0, 3)


@pytest.mark.parametrize("layer_type", ["random", "learnable"])
def test_nodes_of_the_first_layer_read_pixels_of_a_window(make_config: ConfigMaker, layer_type: str) -> None:
    params = {"image_shape": [2, 6, 5], "window": 3}
    config = make_config(layer_type=layer_type, layer_widths=[50, 12], params=params)
    model = SimpleFeedForward(config)
    model.fit_encoder(torch.rand(40, 60, generator=torch.Generator().manual_seed(0)))
    pixels = model.lut_layers()[0].mapping() // model.encoder.num_bits % 30
    for place in (pixels // 5, pixels % 5):
        assert int((place.amax(1) - place.amin(1)).max()) == 2
    x = torch.rand(9, 60)
    assert torch.equal(freeze_model(model).class_counts(x), model.class_counts(x))
    with pytest.raises(ConfigError, match=r"image_shape is \[2, 6, 5\], but samples have 59 features"):
        SimpleFeedForward(config).fit_encoder(torch.rand(40, 59))
    with pytest.raises(ConfigError, match=r"layer 0 is not usable.*input_groups"):
        SimpleFeedForward(make_config(layer_type="feature_groups", input_size=60, params=params))


def test_unfitted_model_says_what_to_do(make_config: ConfigMaker) -> None:
    for config in (make_config(), make_config(input_size=5)):
        model = SimpleFeedForward(config)
        for act in (model, model.encode, model.predict):
            with pytest.raises(RuntimeError, match=r"fit_encoder\(\)"):
                act(torch.zeros(2, 5))
    with pytest.raises(RuntimeError, match=r"fit_encoder\(\)"):
        _ = SimpleFeedForward(make_config()).input_format


def test_layers_exist_early_if_the_input_size_is_known(make_config: ConfigMaker) -> None:
    assert len(SimpleFeedForward(make_config()).layers) == 0
    early = SimpleFeedForward(make_config(input_size=5))
    assert len(early.layers) == 2
    late = SimpleFeedForward(make_config())
    data = torch.rand(10, 5)
    early.fit_encoder(data)
    late.fit_encoder(data)
    for name, value in early.state_dict().items():
        assert torch.equal(value, late.state_dict()[name])
    assert early.config == late.config


def test_layers_are_built_where_the_model_is(make_config: ConfigMaker) -> None:
    model = SimpleFeedForward(make_config()).to("meta")
    model.fit_encoder(torch.rand(10, 5))
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"meta"}


@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
def test_models_do_not_depend_on_the_default_type_of_a_program(
    make_config: ConfigMaker, tmp_path: Path, node_type: str, default_type: torch.dtype
) -> None:
    config = make_config(node_type=node_type, layer_type="learnable", runtime={"flip_probability": 0.1})
    data = torch.rand(30, 5, dtype=torch.float32, generator=torch.Generator().manual_seed(1))
    models = []
    for dtype in (torch.float32, default_type):
        torch.set_default_dtype(dtype)
        models.append(SimpleFeedForward(config))
        models[-1].fit_encoder(data)
        save_model(models[-1], tmp_path / f"{dtype}.pth")
        models[-1](data).square().sum().backward()
    assert torch.equal(load_model(tmp_path / "torch.float32.pth").class_counts(data), models[0].class_counts(data))
    assert (tmp_path / f"{default_type}.pth").read_bytes() == (tmp_path / "torch.float32.pth").read_bytes()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)
    assert torch.get_default_dtype() == default_type


def test_models_are_built_in_several_threads(make_config: ConfigMaker, default_type: torch.dtype) -> None:
    data = torch.rand(30, 5, dtype=torch.float32)

    def build(seed: int) -> set[torch.dtype]:
        model = SimpleFeedForward(make_config(node_type="probabilistic", seed=seed))
        model.fit_encoder(data)
        return {parameter.dtype for parameter in model.parameters()}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(build, range(100))) == [{torch.float32}] * 100
    assert torch.get_default_dtype() == default_type


def test_data_that_were_computed_fit_as_others_do(make_config: ConfigMaker) -> None:
    data = torch.rand(10, 5)
    model = SimpleFeedForward(make_config())
    model.fit_encoder(data * torch.ones(5, requires_grad=True))
    assert not model.encoder.thresholds.requires_grad


def test_images_are_flattened(make_config: ConfigMaker) -> None:
    images = torch.rand(10, 1, 2, 3)
    model = SimpleFeedForward(make_config())
    model.fit_encoder(images)
    assert model.config.input_size == 6
    assert torch.equal(model(images), model(images.flatten(1)))


def test_fitting_records_the_format_and_keeps_a_given_one(make_config: ConfigMaker) -> None:
    data = torch.tensor([[0.0, 16.0], [3.0, 5.0]])
    model = SimpleFeedForward(make_config())
    model.fit_encoder(data)
    assert model.config.input_format == {"bits": 5, "signed": False, "scale": 1.0}
    given = {"bits": 4, "signed": False, "scale": 2.0}
    model = SimpleFeedForward(make_config(input_format=given))
    model.fit_encoder(data)
    assert model.config.input_format == given
    steps = torch.arange(1, 4) / 4
    assert torch.equal(model.encoder.thresholds[0], 4.0 * steps)  # 3 is half way, rounds to the even code: 4
    assert torch.equal(model.encoder.thresholds[1], 4.0 + 12.0 * steps)  # 5 / 2 rounds to 2
    # Samples are quantised like the data: 2.6 becomes 2 and is not above the threshold 2; 31 saturates at 30.
    assert model.encode(torch.tensor([[2.6, 31.0]])).tolist() == [[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]]


def test_data_that_cannot_be_fitted(make_config: ConfigMaker) -> None:
    with pytest.raises(DataError, match="finite"):
        SimpleFeedForward(make_config()).fit_encoder(torch.full((3, 2), float("nan")))
    with pytest.raises(DataError, match="empty"):
        SimpleFeedForward(make_config()).fit_encoder(torch.zeros(0, 2))
    with pytest.raises(ConfigError, match="input_size"):
        SimpleFeedForward(make_config()).fit_encoder(torch.zeros(1, 2**20 + 1))
    with pytest.raises(ValueError, match="expects 5 features but the data have 4"):
        SimpleFeedForward(make_config(input_size=5)).fit_encoder(torch.rand(3, 4))


def test_building_changes_neither_config_nor_global_randomness(make_config: ConfigMaker) -> None:
    config = make_config()
    before, state = copy.deepcopy(config), torch.get_rng_state()
    model = build_model(config)
    assert isinstance(model, SimpleFeedForward)
    model.fit_encoder(torch.ones(4, 5))
    assert config == before
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_decides_wiring_and_start_values(make_model: ModelMaker) -> None:
    first, second, other = make_model(), make_model(), make_model(seed=43)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.lut_layers()[0].mapping(), other.lut_layers()[0].mapping())
    wide = make_model(layer_widths=[15, 15], encoder_config={"name": "thermometer", "num_bits": 3})
    assert not torch.equal(wide.lut_layers()[0].mapping(), wide.lut_layers()[1].mapping())


def test_runtime_settings_arrive_and_can_be_overridden(make_model: ModelMaker) -> None:
    runtime = {"output_tau": 2.0, "temperature": 0.5, "routing_tau": 0.25}
    model = make_model(node_type="probabilistic", layer_type="learnable", runtime=runtime)
    assert model.output_layer.tau == 2.0
    for layer in model.lut_layers():
        assert isinstance(layer, LearnableLayer)
        assert isinstance(layer.bank, ProbabilisticNode)
        assert (layer.routing_tau, layer.bank.temperature) == (0.25, 0.5)
    model.apply_runtime_overrides({"temperature": 3.0})
    assert isinstance(model.lut_layers()[1].bank, ProbabilisticNode)
    assert model.lut_layers()[1].bank.temperature == 3.0
    assert model.config.runtime == {**runtime, "temperature": 3.0}
    with pytest.raises(ConfigError, match=r"runtime\.colour"):
        model.apply_runtime_overrides({"colour": 3.0})
    assert "colour" not in model.config.runtime


def test_class_names(make_model: ModelMaker) -> None:
    assert make_model().class_names == ["0", "1", "2"]
    assert make_model(class_names=["a", "b", "c"]).class_names == ["a", "b", "c"]


def test_count_parameters(make_model: ModelMaker) -> None:
    model = make_model()
    assert model.count_parameters() == {"total": 26 * 16, "trainable": 26 * 16, "non_trainable": 0}


def test_build_model_from_yaml_with_overrides(make_config: ConfigMaker, tmp_path: Path) -> None:
    make_config().to_yaml(tmp_path / "m.yaml")
    model = build_model(tmp_path / "m.yaml", overrides={"output_tau": 4.0})
    assert isinstance(model, SimpleFeedForward)
    assert model.output_layer.tau == 4.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_kwargs": {"wings": 2}}, "layer 0.*DWNNode has no argument 'wings'"),
        ({"node_kwargs": {"num_nodes": 2}}, "layer 0"),
        ({"layer_kwargs": {"wings": 2}}, "layer 0.*wings"),
        ({"encoder_config": {"name": "thermometer", "num_bits": 2, "wings": 2}}, "encoder_config.*wings"),
        ({"encoder_config": {"name": "thermometer", "num_bits": 2, "flatten": False}}, "flatten"),
        ({"layer_widths": [4, 2]}, "output layer.*2 features"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    make_config: ConfigMaker, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SimpleFeedForward(make_config(input_size=5, **changes))


def test_a_nan_is_no_hardware_input() -> None:
    config = ModelConfig("feedforward", "random", "dwn", {"name": "thermometer", "num_bits": 2}, 3, [6], 2)
    model = SimpleFeedForward(config)
    model.fit_encoder(torch.rand(20, 3))
    with pytest.raises(DataError, match="NaN"):
        model.predict(torch.tensor([[0.1, float("nan"), 0.2]]))


def test_what_is_no_batch_of_samples_is_refused_at_the_door(make_model: ModelMaker) -> None:
    model = make_model()
    answers: list[Callable[[Any], object]] = [model, model.predict, model.class_counts, model.fit_encoder]
    for answer in answers:
        with pytest.raises(TypeError, match=r"takes a torch tensor of samples, not ndarray; torch\.as_tensor"):
            answer(torch.rand(2, 5).numpy())
        with pytest.raises(TypeError, match="not list"):
            answer([[0.0] * 5])
        with pytest.raises(ValueError, match=r"not a tensor of shape \(5,\); x\.unsqueeze\(0\)"):
            answer(torch.rand(5))
        with pytest.raises(ValueError, match=r"not a tensor of shape \(\)"):
            answer(torch.tensor(1.0))


def test_predictions_leave_every_module_in_its_mode(make_model: ModelMaker) -> None:
    model = make_model().train()
    model.layers[0].eval()
    before = [module.training for module in model.modules()]
    assert set(before) == {True, False}
    model.predict(torch.rand(3, 5))
    assert [module.training for module in model.modules()] == before
