"""Building models by name, from files and from configs, and finding pretrained ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import difflut
from difflut.errors import CheckpointError, ConfigError
from difflut.models import (
    ModelConfig,
    SimpleFeedForward,
    build_model,
    get_pretrained_model_info,
    list_pretrained_models,
    load_pretrained,
)

ConfigMaker = Callable[..., ModelConfig]
ModelMaker = Callable[..., SimpleFeedForward]
X = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def publish(model: SimpleFeedForward, name: str, directory: str | Path = "pretrained") -> Path:
    """As the models guide shows it: config, then weights."""
    config = model.get_config()
    config.pretrained, config.pretrained_name = True, name
    folder = Path(directory) / "feedforward"
    folder.mkdir(parents=True, exist_ok=True)
    model.save_config(folder / f"{name}.yaml")
    model.save_weights(folder / f"{name}.pth")
    return folder / f"{name}.yaml"


def answers(model: difflut.BaseLUTModel) -> Tensor:
    scores: Tensor = model.eval()(X)
    return scores.detach()


def test_a_published_model_is_found_by_name_config_and_file(make_model: ModelMaker) -> None:
    model = make_model(node_type="probabilistic")
    path = publish(model, "mine")
    for built in (
        build_model("mine"),
        load_pretrained("mine"),
        build_model(path),
        build_model(str(path)),
        build_model(ModelConfig.from_yaml(path)),
        build_model(model.get_config()),
    ):
        assert not built.training
        assert torch.equal(answers(built), answers(model))
        assert built.config == model.config


def test_weights_of_a_file_are_looked_for_beside_it_first(make_model: ModelMaker) -> None:
    beside, elsewhere = make_model(seed=1), make_model(seed=2)
    publish(elsewhere, "mine")
    path = publish(beside, "mine", "other")
    assert torch.equal(answers(build_model(path)), answers(beside))
    path.with_suffix(".pth").unlink()
    assert torch.equal(answers(build_model(path)), answers(elsewhere))


def test_directories_are_searched_in_order(make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [make_model(seed=seed) for seed in range(3)]
    for model, directory in zip(models, ("given", "named", "pretrained"), strict=True):
        publish(model, "mine", directory)
    publish(models[2], "local_only")
    monkeypatch.setenv("DIFFLUT_PRETRAINED_DIR", "named")
    assert torch.equal(answers(build_model("mine", pretrained_dir="given")), answers(models[0]))
    assert torch.equal(answers(build_model("mine")), answers(models[1]))
    assert torch.equal(answers(build_model("local_only", pretrained_dir="given")), answers(models[2]))
    monkeypatch.delenv("DIFFLUT_PRETRAINED_DIR")
    assert torch.equal(answers(build_model("mine")), answers(models[2]))


def test_models_are_listed_by_type(make_model: ModelMaker) -> None:
    shipped = list_pretrained_models()
    publish(make_model(), "zebra")
    publish(make_model(), "aardvark", "other")
    folder = Path("pretrained/convnet")
    folder.mkdir()
    (folder / "heron.yaml").write_text("model_type: convnet")
    expected = {**shipped, "feedforward": sorted([*shipped.get("feedforward", []), "zebra", "aardvark"])}
    expected["convnet"] = sorted([*shipped.get("convnet", []), "heron"])
    assert list_pretrained_models("other") == expected


def test_what_is_known_of_a_model(make_model: ModelMaker) -> None:
    model = make_model(dataset="toy", metadata={"test_accuracy": 0.5})
    path = publish(model, "mine")
    info = get_pretrained_model_info("mine")
    assert info == {
        "name": "mine",
        "model_type": "feedforward",
        "layer_widths": [14, 12],
        "num_classes": 3,
        "dataset": "toy",
        "metadata": {"test_accuracy": 0.5},
        "config": model.config,
        "config_path": path,
        "has_weights": True,
        "weights_path": path.with_suffix(".pth"),
    }
    path.with_suffix(".pth").unlink()
    info = get_pretrained_model_info("mine")
    assert (info["has_weights"], info["weights_path"]) == (False, None)


def test_an_unknown_name_lists_the_known_ones(make_model: ModelMaker) -> None:
    publish(make_model(), "mine")
    for find in (build_model, get_pretrained_model_info):
        with pytest.raises(FileNotFoundError, match=r"no pretrained model 'yours'; available: .*mine"):
            find("yours")
    with pytest.raises(FileNotFoundError):
        build_model("absent.yaml")


def test_without_weights(make_model: ModelMaker) -> None:
    path = publish(make_model(), "mine")
    untrained = build_model("mine", load_weights=False)
    assert untrained.training
    assert not untrained.encoder.is_fitted
    path.with_suffix(".pth").unlink()
    with pytest.warns(UserWarning, match="no file with the weights of mine"):
        model = build_model("mine")
    with pytest.raises(RuntimeError, match=r"fit_encoder\(\)"):
        model(X)


def test_overrides_change_neither_caller_nor_structure(make_model: ModelMaker, make_config: ConfigMaker) -> None:
    publish(make_model(node_type="probabilistic"), "mine")
    model = build_model("mine", overrides={"temperature": 0.5, "eval_mode": "sampling"})
    assert model.config.runtime == {"temperature": 0.5, "eval_mode": "sampling"}
    for layer in model.lut_layers():
        (bank,) = layer.banks().values()
        assert (getattr(bank, "temperature", None), bank.eval_mode) == (0.5, "sampling")
    for name, value in {"layer_widths": [4, 6], "num_classes": 2, "input_size": 4, "node_type": "dwn"}.items():
        with pytest.raises(ValueError, match=f"{name} is part of the structure.*weights are loaded"):
            build_model("mine", overrides={name: value})
    for name, value in {"input_format": {"bits": 8, "signed": True, "scale": 1.0}, "seed": 7}.items():
        with pytest.raises(ConfigError, match=f"{name} comes with the weights"):
            build_model("mine", overrides={name: value})
    names = ["red", "green", "blue"]
    assert build_model("mine", overrides={"class_names": names}).class_names == names
    with pytest.raises(ConfigError, match="Unknown override 'colour'"):
        build_model("mine", overrides={"colour": 1})
    config = make_config(runtime={"output_tau": 2.0})
    before = copy.deepcopy(config)
    built = build_model(config, overrides={"output_tau": 3.0, "layer_widths": [6, 6, 3], "seed": 4})
    assert (built.config.runtime, built.config.layer_widths, built.config.seed) == ({"output_tau": 3.0}, [6, 6, 3], 4)
    assert config == before


def test_a_model_for_another_task_is_made_from_the_config_of_one(make_model: ModelMaker) -> None:
    publish(make_model(class_names=["a", "b", "c"]), "mine")
    source = build_model("mine")
    before = answers(source)
    target_config = source.get_config()
    target_config.num_classes = 6
    target_config.class_names = None
    target_config.pretrained = False
    target = build_model(target_config, load_weights=False)
    target.fit_encoder(X)
    assert target(X).shape == (30, 6)
    assert torch.equal(answers(source), before)
    target.layers[0].load_state_dict(source.layers[0].state_dict())


def test_weights_that_do_not_belong_to_the_config_are_refused(make_model: ModelMaker) -> None:
    path = publish(make_model(), "mine")
    make_model(layer_widths=[14, 9]).save_weights(path.with_suffix(".pth"))
    with pytest.raises(CheckpointError, match=r"mine\.pth: .*layer_widths"):
        build_model("mine")
