"""Pretrained models: smaller than what was trained, the same function, and as accurate as they say."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

import difflut
from difflut import Dataset, build_model, load_model, save_model
from difflut.errors import CheckpointError, ConfigError
from difflut.models import ModelConfig, SimpleFeedForward, get_pretrained_model_info, publish_model
from difflut.models.publish import digest_test_data, freeze_model, measure_accuracy, round_weights
from difflut.models.published import PACKAGE_DIR
from difflut.nodes import DWNNode, LutNode
from difflut.registry import REGISTRY
from difflut_compiler.cli import app

ROOT = Path(__file__).resolve().parents[2]
ModelMaker = Callable[..., SimpleFeedForward]
SHIPPED = sorted(path.stem for path in PACKAGE_DIR.glob("*/*.yaml"))
X = torch.randn(200, 5, generator=torch.Generator().manual_seed(1))


def toy_data(labels: Tensor) -> Dataset:
    """Five features, three classes; the test data are the training data."""
    return Dataset(X, labels, X, labels, ["0", "1", "2"], "toy")


def tables(model: difflut.BaseLUTModel) -> list[list[Any]]:
    return [bank.truth_table().tolist() for layer in model.lut_layers() for bank in layer.banks().values()]


@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
@pytest.mark.parametrize("layer_type", REGISTRY.list_layers())
def test_a_frozen_model_is_the_same_function(
    make_model: ModelMaker, tmp_path: Path, node_type: str, layer_type: str
) -> None:
    kwargs = {"num_candidates": 3} if layer_type == "learnable" else {}
    model = make_model(node_type=node_type, layer_type=layer_type, layer_kwargs=kwargs)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    frozen = freeze_model(model)
    save_model(frozen, tmp_path / "small.pth", compact=True)
    loaded = load_model(tmp_path / "small.pth")
    for other in (frozen, loaded):
        assert other.config.layer_type == ("random" if layer_type == "learnable" else layer_type)
        assert tables(other) == tables(model)
        for first, second in zip(model.lut_layers(), other.lut_layers(), strict=True):
            assert torch.equal(first.mapping(), second.wired_banks()[0].pins)
        assert torch.equal(other.class_counts(X), model.class_counts(X))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    for name, tensor in frozen.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
        assert tensor.dtype == loaded.state_dict()[name].dtype


def test_a_convolutional_model_freezes_too(tmp_path: Path) -> None:
    convolutions = [{"out_channels": 4, "tree_depth": 1, "receptive_field": 3, "pool": 2}]
    config = ModelConfig(
        "convnet", "learnable", "dwn", {"name": "thermometer", "num_bits": 2}, 2, [12], 3, input_size=36,
        params={"image_shape": [1, 6, 6], "convolutions": convolutions},
    )  # fmt: skip
    model, x = build_model(config), torch.rand(40, 36, generator=torch.Generator().manual_seed(3))
    model.fit_encoder(x)
    assert torch.equal(freeze_model(model).class_counts(x), model.class_counts(x))


@given(st.lists(st.floats(-1, 2, width=32), min_size=4, max_size=4))
def test_weights_round_towards_zero_unless_the_table_changes(values: list[float]) -> None:
    bank = DWNNode(input_dim=2)
    bank.luts.data = torch.tensor(values).view(1, 1, 4)
    round_weights(bank)
    for value, found in zip(values, bank.luts.flatten().tolist(), strict=True):
        assert (found >= 0.5) == (value >= 0.5)
        assert abs(found) <= abs(value)
        assert abs(found - value) <= max(abs(value) * 2**-10, 2**-24)
        assert torch.tensor(found).half().item() == found


def test_weights_whose_table_would_change_are_kept() -> None:
    bank = REGISTRY.get_node("dwn_stable")(input_dim=2)
    (parameter,) = bank.parameters()
    tiny = torch.tensor([-1e-9, 1.0, 1.00001, -2.0]).view(parameter.shape)
    parameter.data = tiny.clone()
    round_weights(bank)
    assert torch.equal(parameter, tiny), "-1e-9 would become 0, whose table entry is 1"
    parameter.data = torch.full_like(parameter, 1e6)
    round_weights(bank)
    assert torch.equal(parameter, torch.full_like(parameter, 1e6)), "half precision ends at 65504"


def test_a_large_network_fits_into_900_kilobytes(tmp_path: Path) -> None:
    encoder = {"name": "distributive_thermometer", "num_bits": 3}
    model = build_model(ModelConfig("feedforward", "learnable", "dwn", encoder, 6, [3000, 2000], 10, input_size=784))
    model.fit_encoder(torch.randint(0, 256, (100, 784), generator=torch.Generator().manual_seed(4)).float())
    save_model(freeze_model(model), tmp_path / "large.pth", compact=True)
    assert (tmp_path / "large.pth").stat().st_size < 900_000


def test_a_compact_file_is_as_carefully_read(make_model: ModelMaker, tmp_path: Path) -> None:
    save_model(make_model(), tmp_path / "model.pth", compact=True)
    content = torch.load(tmp_path / "model.pth", weights_only=True)
    assert content["state"]["layers.0.mapping_indices"].dtype == torch.uint8
    for name, value in {
        "layers.0.mapping_indices": torch.zeros(14, 4, dtype=torch.bool),
        "layers.0.bank.luts": torch.zeros(14, 1, 16, dtype=torch.int16),
        "encoder.thresholds": torch.zeros(5, 3, dtype=torch.bfloat16),
    }.items():
        torch.save({**content, "state": {**content["state"], name: value}}, tmp_path / "bad.pth")
        with pytest.raises(CheckpointError, match=f"{name} has type"):
            load_model(tmp_path / "bad.pth")


def test_publishing_states_the_accuracy(make_model: ModelMaker, tmp_path: Path) -> None:
    model = make_model(layer_type="learnable", class_names=["0", "1", "2"])
    labels = model.predict(X)
    labels[:50] = (labels[:50] + 1) % 3
    path = publish_model(model, "mine", toy_data(labels), tmp_path)
    assert path == tmp_path / "feedforward" / "mine.yaml"
    info = get_pretrained_model_info("mine", tmp_path)
    assert info["metadata"] == {
        "test_accuracy": 0.75,
        "test_samples": 200,
        "test_sha256": digest_test_data(toy_data(labels)),
    }
    built = build_model("mine", pretrained_dir=tmp_path)
    assert torch.equal(built.class_counts(X), model.class_counts(X))
    assert (built.config.pretrained_name, built.config.dataset, built.config.class_names) == ("mine", "toy", None)
    assert digest_test_data(toy_data(labels)) != digest_test_data(toy_data(model.predict(X)))
    with pytest.raises(ConfigError, match="The data have the classes"):
        publish_model(make_model(class_names=["a", "b", "c"]), "mine", toy_data(labels), tmp_path)


def measure_again(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and output of the command that measures pretrained models."""
    monkeypatch.setattr(sys, "argv", ["pretrained.py", "--pretrained-dir", str(folder)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "benchmarks" / "pretrained.py"), run_name="__main__")
    return int(str(end.value.code)), capsys.readouterr().out


def test_the_command_and_the_measurement(
    make_model: ModelMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    digits = difflut.load_dataset("digits")
    encoder = {"name": "thermometer", "num_bits": 1}
    model = build_model(ModelConfig("feedforward", "random", "dwn", encoder, 4, [40], 10))
    model.fit_encoder(digits.x_train)
    save_model(model, tmp_path / "model.pth")
    command = ["publish", tmp_path / "model.pth", "--data", "digits", "-o", tmp_path / "models", "--json", "--name"]
    done = CliRunner().invoke(app, [*map(str, command), "some_digits"])
    figures = json.loads(done.stdout)
    assert figures["test_accuracy"] == measure_accuracy(model, digits)
    assert figures["bytes"] == Path(figures["weights"]).stat().st_size
    refused = CliRunner().invoke(app, [*map(str, command), "../elsewhere"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    code, output = measure_again(tmp_path / "models", monkeypatch, capsys)
    assert code == 0
    assert re.search(r"some_digits +stated .*: equal", output)
    config = Path(figures["config"])
    text = config.read_text()
    config.write_text(re.sub("test_accuracy: .*", "test_accuracy: 0.5", text))
    code, output = measure_again(tmp_path / "models", monkeypatch, capsys)
    assert code == 1
    assert "DIFFERENT" in output
    config.write_text(re.sub("test_sha256: .*", "test_sha256: abc", text))
    code, output = measure_again(tmp_path / "models", monkeypatch, capsys)
    assert code == 1
    assert "not measured" in output
    assert measure_again(tmp_path / "empty", monkeypatch, capsys)[0] == 1


# -- the models of the package -----------------------------------------------------------------------------------------


def test_all_models_together_are_small() -> None:
    assert SHIPPED
    assert sum(path.stat().st_size for path in PACKAGE_DIR.rglob("*")) <= 2 * 2**20


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_loads_and_is_listed_with_its_figures(name: str) -> None:
    info = get_pretrained_model_info(name, PACKAGE_DIR)
    assert info["has_weights"]
    assert name in difflut.list_pretrained_models()[info["model_type"]]
    model = build_model(name, pretrained_dir=PACKAGE_DIR)
    assert model.predict(torch.zeros(1, model.config.input_size)).shape == (1,)
    assert model.config == load_model(info["weights_path"]).config == info["config"]
    percent = f"{100 * info['metadata']['test_accuracy']:.2f} %"
    row = f"| `{name}` | {percent} | {info['metadata']['test_samples']:,} |"
    assert row in (PACKAGE_DIR / "README.md").read_text(encoding="utf-8")


def test_the_digits_reach_what_they_state() -> None:
    pytest.importorskip("sklearn")
    digits = difflut.load_dataset("digits")
    stated = get_pretrained_model_info("digits", PACKAGE_DIR)["metadata"]
    assert stated["test_sha256"] == digest_test_data(digits)
    assert measure_accuracy(build_model("digits", pretrained_dir=PACKAGE_DIR), digits) == stated["test_accuracy"]
    assert stated["test_accuracy"] > 0.97


def test_a_copy_that_answers_differently_is_not_written(
    make_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(bank: LutNode) -> None:
        for parameter in bank.parameters():
            parameter.data = 1 - parameter.data

    monkeypatch.setattr("difflut.models.publish.round_weights", spoil)
    with pytest.raises(RuntimeError, match=r"changed tables of layers\.0"):
        freeze_model(make_model())
