"""Model configurations: round trips, and errors that name the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from difflut.errors import ConfigError
from difflut.models import ModelConfig

Maker = Callable[..., ModelConfig]


def test_fields_stand_in_the_documented_order() -> None:
    assert [field.name for field in fields(ModelConfig)] == [
        "model_type", "layer_type", "node_type", "encoder_config", "node_input_dim", "layer_widths", "num_classes",
        "runtime", "pretrained", "pretrained_name", "dataset", "input_size", "seed",
        "node_kwargs", "layer_kwargs", "input_format", "class_names", "params", "metadata",
    ]  # fmt: skip


def test_dict_and_yaml_round_trips(make_config: Maker, tmp_path: Path) -> None:
    config = make_config(
        node_type="probabilistic",
        runtime={"output_tau": 2.5, "temperature": 0.5},
        input_size=5,
        input_format={"bits": 8, "signed": True, "scale": 0.125},
        class_names=["ä", "b", "yes"],
        dataset="toy",
    )
    assert ModelConfig.from_dict(config.to_dict()) == config
    config.to_yaml(tmp_path / "model.yaml")
    assert ModelConfig.from_yaml(tmp_path / "model.yaml") == config


def test_to_dict_is_independent(make_config: Maker) -> None:
    config = make_config()
    config.to_dict()["layer_widths"].append(3)
    config.to_dict()["encoder_config"]["num_bits"] = 9
    assert config == make_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "cnn"}, "model_type is 'cnn'; available: ConfiguredLUTModel, SimpleFeedForward, .*feedforward"),
        ({"layer_type": "dense"}, "layer_type is 'dense'; available: .*learnable, .*random"),
        ({"node_type": "xor"}, "node_type is 'xor'; available: .*dwn"),
        ({"node_type": ["dwn"]}, "node_type"),
        ({"encoder_config": {"num_bits": 3}}, "encoder_config"),
        ({"encoder_config": {"name": "morse", "num_bits": 3}}, "encoder_config.name is 'morse'; available: bin"),
        ({"encoder_config": {"name": "thermometer"}}, "encoder_config.num_bits is None"),
        ({"encoder_config": {"name": "thermometer", "num_bits": 1025}}, "num_bits is 1025.*1 to 1024"),
        ({"encoder_config": {"name": "thermometer", "num_bits": 1024}, "input_size": 2**20}, "at most 16777216"),
        ({"encoder_config": {"name": "gray", "num_bits": 10}, "input_size": 2**20}, "at most 16777216.*thresholds"),
        ({"encoder_config": {"name": "gray", "num_bits": 11}}, "num_bits is 11.*1 to 10"),
        ({"encoder_config": {"name": "sign_magnitude", "num_bits": 1}}, "num_bits is 1.*2 to 10"),
        ({"node_input_dim": 17}, "node_input_dim is 17.*1 to 16"),
        ({"node_input_dim": True}, "node_input_dim"),
        ({"layer_widths": []}, "layer_widths"),
        ({"layer_widths": (3, 4)}, "layer_widths"),
        ({"layer_widths": [1] * 65}, "layer_widths"),
        ({"layer_widths": [3, 0]}, r"layer_widths\[1\] is 0"),
        ({"layer_widths": [2**22 + 1]}, r"layer_widths\[0\]"),
        ({"layer_widths": [2**13], "node_input_dim": 16}, "table entries"),
        ({"num_classes": 0}, "num_classes is 0.*1 to 4096"),
        ({"num_classes": 4097}, "num_classes"),
        ({"input_size": 2**20 + 1}, "input_size"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"runtime": {"flips": 1}}, "runtime.flips; known: output_tau, .*temperature.*node_kwargs"),
        ({"runtime": {"temperature": -1.0}}, "runtime.temperature is -1.0"),
        ({"runtime": {"eval_mode": "median"}}, "runtime.eval_mode is 'median'; available: expectation, determ.*sampli"),
        ({"runtime": {"sampling_seed": -1}}, "runtime.sampling_seed is -1"),
        ({"runtime": {"init_fn": "magic"}}, "runtime.init_fn is 'magic'; available: .*xavier_uniform"),
        ({"runtime": {"init_kwargs": [1]}}, "runtime.init_kwargs must be a table"),
        ({"runtime": {"dropout": 1.5}}, "runtime.dropout is 1.5; it must be a number from 0 to 1"),
        ({"params": {"kernel": 3}}, "params.kernel for a feedforward model"),
        ({"params": {"window": 3}}, "params is not usable: feedforward: image_shape is None"),
        ({"params": {"image_shape": [1, 4, 5]}}, "window is None; it must be an integer from 1 to 4"),
        ({"params": {"image_shape": [1, 4, 5], "window": 5}}, "window is 5; it must be an integer from 1 to 4"),
        ({"params": 3}, "params must be a table"),
        ({"params": {"num_classes": 4}}, "num_classes is given twice"),
        ({"metadata": [1]}, "metadata must be a table"),
        ({"runtime": {"output_tau": 0}}, "runtime.output_tau is 0"),
        ({"runtime": {"output_tau": float("nan")}}, "runtime.output_tau"),
        ({"runtime": {"output_tau": 10**400}}, "runtime.output_tau"),
        ({"runtime": None}, "runtime must be a table"),
        ({"node_kwargs": [1]}, "node_kwargs"),
        ({"layer_kwargs": {1: 2}}, "layer_kwargs"),
        ({"pretrained": 1}, "pretrained"),
        ({"dataset": 4}, "dataset"),
        ({"input_format": {"bits": 8}}, "input_format"),
        ({"input_format": {"bits": 99, "signed": False, "scale": 1.0}}, "input_format.bits"),
        ({"class_names": ["a", "b"]}, "class_names must be a list of 3"),
        ({"class_names": ["a", "b", 3]}, "class_names"),
    ],
)
def test_a_bad_field_is_named(make_config: Maker, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(**changes)


def test_missing_and_unknown_fields_are_named(make_config: Maker) -> None:
    values = make_config().to_dict()
    with pytest.raises(ConfigError, match="'colour'"):
        ModelConfig.from_dict({**values, "colour": "red"})
    for name in ("model_type", "layer_type", "node_type", "encoder_config", "node_input_dim", "num_classes"):
        with pytest.raises(ConfigError, match=f"'{name}' is missing"):
            ModelConfig.from_dict({key: value for key, value in values.items() if key != name})


def test_the_nested_form_is_the_flat_one(make_config: Maker) -> None:
    flat = make_config(node_type="probabilistic", runtime={"temperature": 0.5}, input_size=5)
    fields_of_flat = flat.to_dict()
    nested = {name: fields_of_flat.pop(name) for name in ("layer_type", "node_type", "layer_widths", "input_size")}
    assert ModelConfig(**{**fields_of_flat, "params": nested}) == flat
    everything = {name: value for name, value in flat.to_dict().items() if name not in ("model_type", "params")}
    assert ModelConfig("feedforward", params=everything) == flat
    assert everything["layer_widths"] == [14, 12], "the caller's table is not changed"


def test_entries_of_a_file_that_are_no_fields_become_metadata(make_config: Maker, tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    make_config(metadata={"note": "x"}).to_yaml(path)
    path.write_text(path.read_text() + "author: A. Person\nscores: {test: 0.5}\n")
    with pytest.warns(UserWarning, match=r"model\.yaml: 'author', 'scores' are no model fields"):
        config = ModelConfig.from_yaml(path)
    assert config.metadata == {"note": "x", "author": "A. Person", "scores": {"test": 0.5}}
    config.to_yaml(path)
    assert ModelConfig.from_yaml(path) == config


STRUCTURE = {
    "model_type": "SimpleFeedForward",
    "layer_type": "learnable",
    "node_type": "hybrid",
    "encoder_config": {"name": "gray", "num_bits": 3},
    "node_input_dim": 3,
    "layer_widths": [14, 9],
    "num_classes": 2,
    "input_size": 6,
    "node_kwargs": {"output_dim": 2},
    "layer_kwargs": {"ensure_full_input_coverage": False},
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_weights_fit_only_the_structure_they_were_trained_in(make_config: Maker, name: str) -> None:
    config = make_config(input_size=5)
    other = make_config(**{"input_size": 5, name: STRUCTURE[name]})
    assert not config.is_compatible_with_weights(other)
    assert (config.find_difference(other) or "").startswith(f"{name} is ")


def test_weights_fit_whatever_is_not_structure(make_config: Maker) -> None:
    config = make_config(input_size=5)
    changes = {"seed": 3, "runtime": {"output_tau": 2.0}, "dataset": "d", "node_kwargs": {"init_fn": "zeros"}}
    assert config.is_compatible_with_weights(make_config(**changes, input_size=5))
    assert config.is_compatible_with_weights(make_config()), "its input size is not known yet"


def test_layer_depth_and_pretrained_entry(make_config: Maker, tmp_path: Path) -> None:
    config = make_config()
    assert config.get_layer_depth() == 2
    path = config.save_to_pretrained("mine", tmp_path)
    assert path == tmp_path / "feedforward" / "mine.yaml"
    assert ModelConfig.from_yaml(path) == make_config(pretrained=True, pretrained_name="mine")
    assert not config.pretrained


def test_runtime_settings_of_the_families_are_known(make_config: Maker) -> None:
    make_config(node_type="probabilistic", runtime={"temperature": 0.5})
    make_config(layer_type="learnable", runtime={"routing_tau": 0.5})


def test_unreadable_yaml(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ModelConfig.from_yaml(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml: the file is not valid YAML"):
        ModelConfig.from_yaml(broken)
    broken.write_text("just text")
    with pytest.raises(ConfigError, match="table"):
        ModelConfig.from_yaml(broken)
