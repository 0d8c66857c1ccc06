"""Networks described layer by layer: what is built, what is refused, and that it trains and travels."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from difflut import REGISTRY, GroupSum, load_model, save_model
from difflut.errors import CheckpointError, ConfigError
from difflut.layers import LayerConfig
from difflut.models import (
    ConfiguredLUTModel,
    PipelineConfig,
    build_from_config,
    build_lut_pipeline,
    build_model,
    validate_config,
)
from difflut.nodes import NodeConfig
from difflut.training import TrainingConfig, train

ONE_VOTE = pytest.mark.filterwarnings("ignore:groupsum.k is")

GUIDE = """
encoder:
  type: thermometer
  params:
    num_bits: 8
    flatten: true

layers:
  - name: layer1
    type: random
    node_type: linear_lut
    input_size: 6272
    output_size: 256
    n: 4
    seed: 42
    node_params:
      input_dim: 4
      output_dim: 1
    layer_training:
      flip_probability: 0.1
      grad_stabilization: layerwise
      grad_target_std: 1.0
    node_init:
      initializer: kaiming_normal
      init_kwargs:
        a: 0.0
        mode: fan_in
        nonlinearity: relu

  - name: layer2
    type: random
    node_type: dwn_stable
    input_size: 256
    output_size: 128
    n: 6
    seed: 43
    node_params:
      input_dim: 6
      output_dim: 1
      use_cuda: true
      gradient_scale: 1.0
    layer_training:
      flip_probability: 0.05
      grad_stabilization: batchwise
    node_regularizers:
      - l2

  - name: output
    type: random
    node_type: linear_lut
    input_size: 128
    output_size: 10
    n: 4
    seed: 44
    node_params:
      input_dim: 4
      output_dim: 1

groupsum:
  k: 10
  tau: 1.0
  use_randperm: false
"""
X = torch.rand(30, 784, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def guide() -> dict[str, Any]:
    """The example of the registry guide."""
    config: dict[str, Any] = yaml.safe_load(GUIDE)
    return config


def small(**changes: Any) -> dict[str, Any]:
    """Three features of two bits, layers of 12 and 6 nodes, two classes."""
    config: dict[str, Any] = {
        "encoder": {"type": "thermometer", "params": {"num_bits": 2}},
        "layers": [
            {"type": "random", "node_type": "polylut", "input_size": 6, "output_size": 12, "n": 3},
            {"type": "learnable", "node_type": "dwn", "input_size": 12, "output_size": 6, "n": 4},
        ],
        "groupsum": {"k": 2},
    }
    return {**config, **changes}


def fitted(config: dict[str, Any], x: Tensor) -> ConfiguredLUTModel:
    model = build_from_config(config)
    model.fit_encoder(x)
    return model


class ByHand(nn.Module):
    """The network of the guide, built from the registry as the guide builds it."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = REGISTRY.get_encoder(config["encoder"]["type"])(**config["encoder"]["params"])
        self.layers = nn.ModuleList()
        for layer in config["layers"]:
            init = layer.get("node_init", {"initializer": None, "init_kwargs": {}})
            params = layer["node_params"]
            node_config = NodeConfig(
                input_dim=params["input_dim"],
                output_dim=params["output_dim"],
                init_fn=init["initializer"] and REGISTRY.get_initializer(init["initializer"]),
                init_kwargs=init["init_kwargs"],
                regularizers={name: REGISTRY.get_regularizer(name) for name in layer.get("node_regularizers", [])},
                extra_params={key: value for key, value in params.items() if key not in ("input_dim", "output_dim")},
            )
            self.layers.append(
                REGISTRY.get_layer(layer["type"])(
                    input_size=layer["input_size"],
                    output_size=layer["output_size"],
                    node_type=REGISTRY.get_node(layer["node_type"]),
                    n=layer["n"],
                    node_kwargs=node_config,
                    layer_config=LayerConfig(**layer.get("layer_training", {})),
                    seed=layer["seed"],
                )
            )
        self.groupsum = GroupSum(**config["groupsum"])

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        scores: Tensor = self.groupsum(self.layers[-1](x))
        return scores


@ONE_VOTE
def test_the_guides_network_is_the_one_built_by_hand(guide: dict[str, Any]) -> None:
    model, by_hand = fitted(guide, X), ByHand(guide)
    quantised = model.input_format.quantize(X)
    by_hand.encoder.fit(quantised)
    assert torch.equal(model(X), by_hand(quantised))
    for first, second in zip(model.layers.parameters(), by_hand.layers.parameters(), strict=True):
        assert torch.equal(first, second)
    loss = model.get_regularization_loss()
    assert loss.item() == pytest.approx(by_hand.layers[1].regularization().item())  # type: ignore[operator]
    assert loss > 0
    assert torch.equal(model.eval()(X), by_hand.eval()(quantised))
    assert model(X.view(30, 1, 28, 28)).shape == (30, 10)


def test_relu_stands_between_layers_and_not_after_the_last() -> None:
    model = build_from_config(small())
    assert [name for name, _ in model.stages()] == ["layers.0", "activation", "layers.1"]
    seen: list[Tensor] = []
    model.activation.register_forward_hook(lambda module, arguments, output: seen.append(output))
    model.fit_encoder(X[:, :3])
    model(X[:, :3])
    assert [output.shape for output in seen] == [(30, 12)]
    assert isinstance(model.activation, nn.ReLU)


@ONE_VOTE
def test_tables_survive_json_yaml_and_model_files(guide: dict[str, Any], tmp_path: Path) -> None:
    before = copy.deepcopy(guide)
    model = fitted(guide, X)
    assert guide == before
    again = fitted(json.loads(json.dumps(guide)), X)
    (tmp_path / "guide.yaml").write_text(GUIDE)
    from_file = build_from_config(tmp_path / "guide.yaml")
    from_file.fit_encoder(X)
    by_model = build_model(tmp_path / "guide.yaml")
    by_model.fit_encoder(X)
    model.save_config(tmp_path / "saved.yaml")
    assert PipelineConfig.from_yaml(tmp_path / "saved.yaml") == model.config
    save_model(model, tmp_path / "model.pth")
    loaded = load_model(tmp_path / "model.pth")
    assert isinstance(loaded, ConfiguredLUTModel)
    assert loaded.config == model.config
    fresh = build_from_config(tmp_path / "saved.yaml")
    fresh.load_weights(tmp_path / "model.pth")
    expected = model.eval()(X)
    for other in (again, from_file, by_model, loaded, fresh):
        assert torch.equal(other.eval()(X), expected)


def test_notes_and_seeds() -> None:
    config = PipelineConfig.from_dict(small(version="1.0", timestamp="now", name="x", seed=7))
    assert config.metadata == {"version": "1.0", "timestamp": "now", "name": "x"}
    assert (config.input_size, config.num_classes) == (3, 2)
    model = build_from_config(small(seed=7))
    seeded = small()
    for index, layer in enumerate(seeded["layers"]):
        layer["seed"] = 7 + index
    for one, other in zip(model.parameters(), build_from_config(seeded).parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(build_from_config(small(seed=8)).lut_layers()[0].mapping(), model.lut_layers()[0].mapping())


def test_start_values_come_from_the_layer_or_else_from_the_runtime_settings() -> None:
    table: dict[str, Any] = {
        "encoder": {"type": "thermometer", "params": {"num_bits": 3}},
        "layers": [{"type": "random", "node_type": "dwn", "input_size": 12, "output_size": 20, "n": 4}] * 2,
        "groupsum": {"k": 2},
        "runtime": {"init_fn": "uniform", "init_kwargs": {"a": 0.25, "b": 0.3}},
    }
    table["layers"][1] = {**table["layers"][0], "input_size": 20, "node_init": {"initializer": "zeros"}}
    first, second = build_from_config(table).lut_layers()
    table_entries = next(first.bank.parameters()).detach()
    assert 0.25 <= float(table_entries.min()) < float(table_entries.max()) <= 0.3
    assert not next(second.bank.parameters()).any()
    with pytest.raises(ConfigError, match=r"runtime\.init_fn is 'magic'"):
        build_from_config({**table, "runtime": {"init_fn": "magic"}})


def test_without_groupsum_every_output_is_a_class() -> None:
    config = small(groupsum=None)
    model = fitted(config, X[:, :3])
    assert model.config.num_classes == 6
    bits = model.eval()(X[:, :3])
    assert torch.equal(bits, model.class_counts(X[:, :3]).float())
    assert set(bits.flatten().tolist()) == {0.0, 1.0}


def test_a_permuted_groupsum_comes_back_from_a_file(tmp_path: Path) -> None:
    model = fitted(small(groupsum={"k": 2, "use_randperm": True}), X[:, :3])
    plain = fitted(small(), X[:, :3])
    save_model(model, tmp_path / "model.pth")
    counts = model.class_counts(X[:, :3])
    assert torch.equal(load_model(tmp_path / "model.pth").class_counts(X[:, :3]), counts)
    assert not torch.equal(counts, plain.class_counts(X[:, :3]))
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    content["state"]["output_layer.permutation"][0] = 1
    content["state"]["output_layer.permutation"][1] = 1
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=r"output_layer\.permutation is not a permutation"):
        load_model(tmp_path / "bad.pth")


def set_entry(config: dict[str, Any], path: str, value: object) -> None:
    """Set the entry at a path such as ``layers/0/n``; a value of ... removes it."""
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("/"))
    place: Any = config
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("encoder", ..., "The pipeline: the entry 'encoder' is missing"),
        ("layers", ..., "The pipeline: the entry 'layers' is missing"),
        ("layer", [], "The pipeline has an unknown entry 'layer'; known: encoder, layers"),
        ("encoder", "gray", "encoder must be a table, not str"),
        ("encoder/type", "morse", "encoder.type is 'morse'; available: binary"),
        ("encoder/name", "gray", "encoder has an unknown entry 'name'"),
        ("encoder/params/num_bits", ..., "encoder.params.num_bits is None"),
        ("encoder/params/num_bits", 4, r"layers\[0\].input_size is 6, no multiple of encoder.params.num_bits, 4"),
        ("encoder/params/wings", 2, "encoder.params: .*wings"),
        ("layers", [], "layers must be a list of 1 to 64 tables"),
        ("layers/1", 3, r"layers\[1\] must be a table"),
        ("layers/0/input_size", ..., r"layers\[0\]: the entry 'input_size' is missing"),
        ("layers/1/output_size", ..., r"layers\[1\]: the entry 'output_size' is missing"),
        ("layers/1/node_type", ..., r"layers\[1\]: the entry 'node_type' is missing"),
        ("layers/1/node_type", "xor", r"layers\[1\].node_type is 'xor'; available: .*dwn"),
        ("layers/1/type", "dense", r"layers\[1\].type is 'dense'; available: .*learnable"),
        ("layers/1/colour", "red", r"layers\[1\] has an unknown entry 'colour'"),
        ("layers/1/input_size", 13, r"layers\[1\].input_size is 13, but the layer before it has 12 outputs"),
        ("layers/1/output_size", 0, r"layers\[1\].output_size is 0"),
        ("layers/1/output_size", 1, "groupsum: .*1 features cannot be divided into 2 groups"),
        ("layers/0/n", ..., r"layers\[0\].n is missing; give n, or input_dim"),
        ("layers/0/n", 17, r"layers\[0\].n is 17"),
        ("layers/0/seed", -1, r"layers\[0\].seed is -1"),
        ("layers/0/node_params", {"input_dim": 4}, r"layers\[0\].node_params.input_dim is 4, but n is 3"),
        ("layers/0/node_params", {"wings": 4}, r"layers\[0\] \(node_params.*PolyLUTNode.*'wings'"),
        ("layers/0/node_params", {"degree": "x"}, r"layers\[0\] \(node_params"),
        ("layers/0/node_params", [1], r"layers\[0\].node_params must be a table"),
        (
            "layers/0/layer_params",
            {"wings": 4},
            r"layers\[0\].layer_params has an unknown entry 'wings'; known: .*cover",
        ),
        ("layers/0/layer_params", {"seed": 4}, r"layers\[0\].layer_params has an unknown entry 'seed'"),
        ("layers/0/layer_training", {"flips": 1}, r"layers\[0\].layer_training: .*flips"),
        ("layers/0/layer_training", {"flip_probability": 2}, r"layers\[0\].layer_training: flip_probability is 2"),
        ("layers/0/node_init", {"init_kwargs": {}}, r"layers\[0\].node_init: the entry 'initializer' is missing"),
        ("layers/0/node_init", {"initializer": "magic"}, r"layers\[0\] \(.*node_init.*magic"),
        ("layers/0/node_regularizers", ["magic"], r"layers\[0\] \(.*node_regularizers\): .*magic"),
        ("groupsum/k", 0, "groupsum.k is 0"),
        ("groupsum/k", ..., "groupsum: the entry 'k' is missing"),
        ("groupsum/tau", -1, "groupsum: .*tau is -1"),
        ("groupsum/groups", 3, "groupsum has an unknown entry 'groups'"),
        ("runtime", {"colour": 1}, "runtime.colour"),
        ("input_size", 4, "input_size is 4, but the pipeline has 3"),
        ("num_classes", 4, "num_classes is 4, but the pipeline has 2"),
        ("seed", "x", "seed is 'x'"),
    ],
)
def test_a_bad_entry_is_named_with_its_path(path: str, value: object, message: str) -> None:
    config = small()
    assert validate_config(config) is True
    set_entry(config, path, value)
    with pytest.raises(ConfigError, match=message):
        validate_config(config)
    with pytest.raises(ConfigError, match=message):
        build_from_config(config)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats() | st.text(max_size=3) | st.sampled_from([10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
PATHS = [
    *("encoder", "layers", "groupsum", "runtime", "seed", "metadata", "name", "num_classes", "input_size", "dataset"),
    *("encoder/type", "encoder/params", "encoder/params/num_bits", "encoder/params/flatten", "groupsum/k"),
    *("groupsum/tau", "groupsum/use_randperm", "layers/0", "class_names", "input_format", "model_type"),
    *(f"layers/0/{key}" for key in ("type", "node_type", "input_size", "output_size", "n", "seed", "layer_params")),
    *(f"layers/1/{key}" for key in ("node_params", "layer_training", "node_init", "node_regularizers", "name")),
]


@given(st.sampled_from(PATHS), plain_values)
def test_any_value_is_usable_or_refused_by_name(path: str, value: object) -> None:
    config = small()
    set_entry(config, path, value)
    try:
        validate_config(config)
    except ConfigError:
        return
    build_from_config(config)


@pytest.mark.parametrize(("key", "value"), [("type", "random"), ("node_type", "hybrid"), ("output_size", 8)])
def test_weights_of_another_pipeline_are_refused(tmp_path: Path, key: str, value: object) -> None:
    model = fitted(small(), X[:, :3])
    model.save_weights(tmp_path / "w.pth")
    trained_otherwise = small()
    trained_otherwise["layers"][1].update(layer_training={"dropout": 0.1}, seed=3, name="last")
    trained_otherwise["groupsum"]["tau"] = 3.0
    build_from_config(trained_otherwise).load_weights(tmp_path / "w.pth")
    other = small()
    other["layers"][1][key] = value
    with pytest.raises(CheckpointError, match="layers is "):
        build_from_config(other).load_weights(tmp_path / "w.pth")


def test_the_factory_builds_what_its_arguments_say() -> None:
    with pytest.warns(UserWarning, match=r"groupsum\.k is 3 .*one vote per class"):
        model = build_lut_pipeline(
            5,
            [16, 9],
            3,
            encoder_type="gray",
            encoder_params={"num_bits": 4},
            layer_type="learnable",
            node_type="dwn_stable",
            node_input_dim=5,
            node_params={"gradient_scale": 2.0},
            layer_training_params={"flip_probability": 0.1},
        )
    layers = model.lut_layers()
    assert [(layer.input_size, layer.output_size, layer.n) for layer in layers] == [(20, 16, 5), (16, 9, 5), (9, 3, 5)]
    for index, layer in enumerate(layers):
        alone = REGISTRY.get_layer("learnable")(layer.input_size, layer.output_size, "dwn_stable", n=5, seed=42 + index)
        assert torch.equal(layer.mapping(), alone.mapping())
        assert layer.layer_config.flip_probability == 0.1
    assert isinstance(model.encoder, REGISTRY.get_encoder("gray"))
    without = build_lut_pipeline(5, [16], 3, use_groupsum=False)
    assert without.config.describe_encoder() == {"name": "thermometer", "num_bits": 8}
    assert without.config.num_classes == 3


@ONE_VOTE
def test_the_guides_grid_of_144_models_can_be_built() -> None:
    grid = itertools.product(
        ("linear_lut", "polylut", "dwn_stable"), ("random", "learnable"), (4, 6, 8), (128, 256), (0.0, 0.1),
        ("none", "layerwise"),
    )  # fmt: skip
    built = 0
    for node_type, layer_type, n, hidden, flips, mode in grid:
        model = build_lut_pipeline(
            784, [hidden], 10, encoder_params={"num_bits": 8}, layer_type=layer_type, node_type=node_type,
            node_input_dim=n, layer_training_params={"flip_probability": flips, "grad_stabilization": mode},
        )  # fmt: skip
        assert [layer.mapping().shape for layer in model.lut_layers()] == [(hidden, n), (10, n)]
        built += 1
    assert built == 144


def test_a_pipeline_trains_from_a_configuration_file(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    layers = [{"type": "random", "node_type": "dwn", "input_size": 128, "output_size": 100, "n": 4}]
    model = {"model_type": "pipeline", **small(layers=layers, groupsum={"k": 10, "tau": 2.0})}
    settings = {"data": {"source": "digits"}, "model": model, "training": {"epochs": 4, "learning_rate": 0.05}}
    result = train(TrainingConfig.from_dict(settings), tmp_path / "run")
    assert result.test_accuracy > 0.5
    loaded = load_model(tmp_path / "run" / "model.pth")
    assert isinstance(loaded, ConfiguredLUTModel)
    assert loaded.config.dataset == "digits"
    wrong = copy.deepcopy(settings)
    wrong["model"]["groupsum"]["k"] = 5
    with pytest.raises(ConfigError, match="num_classes is 10, but the pipeline has 5"):
        train(TrainingConfig.from_dict(wrong), tmp_path / "other")
