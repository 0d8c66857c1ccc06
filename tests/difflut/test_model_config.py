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
        "node_kwargs", "layer_kwargs", "input_format", "class_names", "params",
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
        ({"model_type": "cnn"}, "model_type is 'cnn'; available: SimpleFeedForward, feedforward"),
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
        ({"runtime": {"flips": 1}}, "runtime.flips.*random.*dwn.*known: output_tau"),
        ({"runtime": {"temperature": 1.0}}, "runtime.temperature.*dwn"),
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
    del values["node_input_dim"]
    with pytest.raises(ConfigError, match="'node_input_dim' is missing"):
        ModelConfig.from_dict(values)


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
