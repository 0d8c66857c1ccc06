"""Training runs: what they write, and that an interrupted one ends like any other."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from difflut import load_model
from difflut.errors import CheckpointError, ConfigError, DataError
from difflut.layers import LearnableLayer
from difflut.registry import REGISTRY
from difflut.rules.pins import WiredPins
from difflut.training import EpochReport, StepReport, TrainingConfig, load_training_config, train
from difflut.training.run_state import RunState
from difflut.training.trainer import _shuffle

ROOT = Path(__file__).parents[2]


def make_settings(**training: Any) -> dict[str, Any]:
    return {
        "data": {"source": "npz"},
        "model": {
            "model_type": "feedforward",
            "layer_type": "learnable",
            "node_type": "dwn",
            "encoder_config": {"name": "thermometer", "num_bits": 2},
            "node_input_dim": 3,
            "layer_widths": [20, 12],
            "runtime": {"output_tau": 2.0},
        },
        "training": {"epochs": 4, "batch_size": 16, "threads": 1, **training},
    }


def make_config(**training: Any) -> TrainingConfig:
    return TrainingConfig.from_dict(make_settings(**training))


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two features per class; a sample's class has the larger values."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    y = generator.integers(0, 3, 260)
    x = generator.normal(size=(260, 6)) + 3 * (np.arange(6) // 2 == y[:, None])
    np.savez(path, x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    return path


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).state_dict()


def equal_states(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_run_learns_reports_and_writes(data_path: Path, tmp_path: Path) -> None:
    epochs: list[EpochReport] = []
    steps: list[StepReport] = []
    out = tmp_path / "deep" / "run"
    result = train(make_config(epochs=12), out, data_path=data_path, on_epoch=epochs.append, on_step=steps.append)
    assert result.test_accuracy > 0.8
    assert sorted(path.name for path in out.iterdir()) == ["last.ckpt", "metrics.json", "model.pth"]
    assert result.model_path == out / "model.pth"

    assert [report.epoch for report in epochs] == list(range(1, 13))
    assert [(report.epoch, report.step) for report in steps] == [(e, s) for e in range(1, 13) for s in range(1, 13)]
    assert all((report.epochs, report.steps) == (12, 12) for report in steps)
    assert epochs[0].train_loss == pytest.approx(
        sum(report.loss * rows for report, rows in zip(steps[:12], [16] * 11 + [3], strict=True)) / 179
    )
    best = max(report.validation_accuracy for report in epochs)
    assert result.validation_accuracy == best
    assert result.best_epoch == [report.epoch for report in epochs if report.validation_accuracy == best][-1]
    assert [report.epoch for report in epochs if report.is_best][-1] == result.best_epoch


def test_figures_are_those_of_the_saved_model(data_path: Path, tmp_path: Path) -> None:
    result = train(make_config(), tmp_path, data_path=data_path)
    model = load_model(result.model_path)
    with np.load(data_path) as arrays:
        x, y = torch.from_numpy(arrays["x_test"]).float(), torch.from_numpy(arrays["y_test"])
    assert result.test_accuracy == int((model.predict(x) == y).sum()) / 60
    assert model.config.dataset == "toy"
    assert model.class_names == ["0", "1", "2"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["result"]["test_accuracy"] == result.test_accuracy
    assert metrics["result"]["model_path"] == "model.pth"
    assert len(metrics["epochs"]) == 4
    assert metrics["config"] == make_config().to_dict()
    assert str(tmp_path) not in (tmp_path / "metrics.json").read_text()


def test_learning_rate_follows_the_schedule(data_path: Path, tmp_path: Path) -> None:
    rates: list[float] = []
    train(
        make_config(learning_rate=0.5), tmp_path, data_path=data_path, on_epoch=lambda r: rates.append(r.learning_rate)
    )
    last_steps = [12 * epoch - 1 for epoch in range(1, 5)]
    assert rates == pytest.approx([0.25 * (1 + math.cos(math.pi * step / 48)) for step in last_steps])
    rates.clear()
    config = make_config(learning_rate=0.5, schedule="constant")
    train(config, tmp_path, data_path=data_path, on_epoch=lambda r: rates.append(r.learning_rate))
    assert rates == [0.5] * 4


def test_equal_runs_give_equal_weights_and_leave_global_randomness_alone(data_path: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    train(make_config(), tmp_path / "a", data_path=data_path)
    torch.rand(3)
    after = torch.get_rng_state()
    train(make_config(), tmp_path / "b", data_path=data_path)
    assert torch.equal(torch.get_rng_state(), after)
    torch.set_rng_state(state)
    assert (tmp_path / "a/model.pth").read_bytes() == (tmp_path / "b/model.pth").read_bytes()
    train(make_config(seed=1), tmp_path / "c", data_path=data_path)
    assert not equal_states(weights_of(tmp_path / "a/model.pth"), weights_of(tmp_path / "c/model.pth"))


def test_the_order_of_samples_is_a_function_of_seed_and_epoch() -> None:
    order = _shuffle(50, 1, 1)
    assert sorted(order.tolist()) == list(range(50))
    assert torch.equal(_shuffle(50, 1, 1), order)
    assert not torch.equal(_shuffle(50, 1, 2), order)
    assert not torch.equal(_shuffle(50, 2, 1), order)


KILLED_RUN = """
import os, signal, sys, yaml
from difflut.training import TrainingConfig, train

def die(report):
    if (report.epoch, report.step) == (3, 5):
        os.kill(os.getpid(), signal.SIGKILL)

config = TrainingConfig.from_dict(yaml.safe_load(sys.argv[1]))
train(config, sys.argv[2], data_path=sys.argv[3], on_step=die)
"""


def test_training_cools_what_is_told_to_cool(data_path: Path, tmp_path: Path) -> None:
    """Steps are counted over the whole run; what is told nothing stays as it is."""
    settings = make_settings(epochs=2, batch_size=60)  # 3 steps per epoch
    settings["model"]["layer_kwargs"] = {"routing_tau": 2.0, "tau_decay_iters": 4, "tau_min": 0.2}
    settings["model"]["node_type"] = "neurallut"
    settings["model"]["node_kwargs"] = {"tau_start": 8.0, "tau_decay_iters": 2, "tau_min": 0.05}
    taus: list[float] = []
    choose = LearnableLayer.select_pins

    def note(layer: LearnableLayer, features: torch.Tensor) -> WiredPins:
        if layer.training:
            taus.append(layer.routing_tau)
        return choose(layer, features)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LearnableLayer, "select_pins", note)
        train(TrainingConfig.from_dict(settings), tmp_path / "cooled", data_path=data_path)
    assert taus[::2] == taus[1::2] == pytest.approx([max(2.0 * 0.1 ** (step / 4), 0.2) for step in range(6)])
    state = RunState.load(tmp_path / "cooled/last.ckpt").model
    assert state["layers.0.bank.tau"].item() == pytest.approx(max(8.0 * 0.1 ** (5 / 2), 0.05))


def test_cooling_changes_what_is_learned_and_no_cooling_does_not(data_path: Path, tmp_path: Path) -> None:
    states = []
    settings = make_settings(epochs=1)
    settings["model"]["node_type"] = "neurallut"
    train(TrainingConfig.from_dict(settings), tmp_path / "neurallut", data_path=data_path)
    assert RunState.load(tmp_path / "neurallut/last.ckpt").model["layers.0.bank.tau"] == 1.0
    for number, layer_kwargs in enumerate([{}, {"routing_tau": 1.0}, {"tau_min": 1.0}, {"tau_decay_iters": 5}]):
        settings = make_settings(epochs=2)
        settings["model"]["layer_kwargs"] = layer_kwargs
        train(TrainingConfig.from_dict(settings), tmp_path / str(number), data_path=data_path)
        states.append(RunState.load(tmp_path / str(number) / "last.ckpt").model)
    assert [equal_states(states[0], other) for other in states[1:]] == [True, True, False]


@pytest.mark.parametrize(
    ("node_type", "runtime"),
    [
        ("dwn", {}),
        ("neurallut", {}),  # trains with noise
        ("dwn", {"flip_probability": 0.1, "grad_stabilization": "layerwise"}),
        ("neurallut", {"regularizers": {"l2": 0.01}}),
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(
    data_path: Path, tmp_path: Path, node_type: str, runtime: dict[str, Any]
) -> None:
    settings = make_settings()
    settings["model"]["node_type"] = node_type
    settings["model"]["runtime"].update(runtime)
    config = TrainingConfig.from_dict(settings)
    arguments = [yaml.safe_dump(settings, sort_keys=False), str(tmp_path / "killed"), str(data_path)]
    process = subprocess.run([sys.executable, "-c", KILLED_RUN, *arguments], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL
    assert len(RunState.load(tmp_path / "killed/last.ckpt").history) == 2

    epochs: list[int] = []
    resumed = train(
        config, tmp_path / "killed", data_path=data_path, resume=True, on_epoch=lambda r: epochs.append(r.epoch)
    )
    assert epochs == [3, 4]
    straight = train(config, tmp_path / "straight", data_path=data_path)
    first, second = RunState.load(tmp_path / "killed/last.ckpt"), RunState.load(tmp_path / "straight/last.ckpt")
    assert equal_states(first.model, second.model)
    assert resumed.model_path.read_bytes() == straight.model_path.read_bytes()
    assert resumed.best_epoch == straight.best_epoch
    assert resumed.test_accuracy == straight.test_accuracy


def test_shifted_images_are_new_in_every_epoch_and_the_same_in_every_run(tmp_path: Path) -> None:
    """With every pixel moved out or about, training sees other images than those that were given."""
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 9, (60, 3, 2)).astype(np.float32), np.arange(60) % 2
    path = tmp_path / "images.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    losses = {}
    for name, pixels in {"plain": 0, "moved": 1, "again": 1}.items():
        reports: list[StepReport] = []
        config = make_config(max_shift_pixels=pixels, epochs=2)
        train(config, tmp_path / name, data_path=path, on_step=reports.append)
        losses[name] = [report.loss for report in reports]
    assert losses["moved"] == losses["again"]
    assert losses["moved"][0] != losses["plain"][0]
    flat = tmp_path / "toy.npz"
    np.savez(flat, x_train=images.reshape(60, 6), y_train=labels, x_test=images.reshape(60, 6), y_test=labels)
    with pytest.raises(ConfigError, match="max_shift_pixels is 1, but the samples of toy are not images"):
        train(make_config(max_shift_pixels=1), tmp_path / "flat", data_path=flat)


def test_configured_regularisers_are_part_of_the_loss_and_act(data_path: Path, tmp_path: Path) -> None:
    sensitivity, losses = [], []
    for weight in (0.0, 20.0):
        settings = make_settings()
        settings["model"]["runtime"]["regularizers"] = {"l2": weight}
        steps: list[StepReport] = []
        config = TrainingConfig.from_dict(settings)
        result = train(config, tmp_path, data_path=data_path, on_step=steps.append)
        losses.append(steps[0].loss)
        layers = load_model(result.model_path).lut_layers()
        sensitivity.append(sum(REGISTRY.get_regularizer("spectral")(layer.bank).item() for layer in layers))
    assert losses[1] > losses[0] + 1
    assert sensitivity[1] < 0.8 * sensitivity[0]


def test_resuming_a_finished_run_repeats_its_result(data_path: Path, tmp_path: Path) -> None:
    first = train(make_config(), tmp_path, data_path=data_path)
    digest = hashlib.sha256(first.model_path.read_bytes()).hexdigest()
    assert train(make_config(), tmp_path, data_path=data_path, resume=True) == first
    assert hashlib.sha256(first.model_path.read_bytes()).hexdigest() == digest


def test_resuming_something_else_is_refused(data_path: Path, tmp_path: Path) -> None:
    train(make_config(), tmp_path / "run", data_path=data_path)
    with pytest.raises(ConfigError, match="section 'training'"):
        train(make_config(epochs=5), tmp_path / "run", data_path=data_path, resume=True)
    with np.load(data_path) as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, "x_train": arrays["x_train"] + 1})
    with pytest.raises(ConfigError, match="other data"):
        train(make_config(), tmp_path / "run", data_path=tmp_path / "other.npz", resume=True)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: there is no such file"):
        train(make_config(), tmp_path / "nothing", data_path=data_path, resume=True)
    (tmp_path / "run/last.ckpt").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=r"last\.ckpt.*damaged"):
        train(make_config(), tmp_path / "run", data_path=data_path, resume=True)
    (tmp_path / "run/last.ckpt").write_bytes((tmp_path / "run/model.pth").read_bytes())
    with pytest.raises(CheckpointError, match=r"last\.ckpt.*not a difflut-training file"):
        train(make_config(), tmp_path / "run", data_path=data_path, resume=True)


def test_output_directories(data_path: Path, tmp_path: Path) -> None:
    train(make_config(epochs=1), tmp_path / "run", data_path=data_path)
    train(make_config(epochs=2), tmp_path / "run", data_path=data_path)  # an earlier run may be replaced
    assert len(json.loads((tmp_path / "run/metrics.json").read_text())["epochs"]) == 2

    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/dear.txt").write_text("dear")
    with pytest.raises(ConfigError, match="letters holds files that no training run wrote"):
        train(make_config(), tmp_path / "letters", data_path=data_path)
    with pytest.raises(ConfigError, match=r"dear\.txt cannot be used as output directory"):
        train(make_config(), tmp_path / "letters/dear.txt", data_path=data_path)
    assert (tmp_path / "letters/dear.txt").read_text() == "dear"


def test_an_earlier_run_stays_until_the_first_epoch_is_done(data_path: Path, tmp_path: Path) -> None:
    class InterruptionError(Exception):
        pass

    def interrupt(report: object) -> None:
        raise InterruptionError

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}

    train(make_config(epochs=2), tmp_path / "run", data_path=data_path)
    before = files()
    with pytest.raises(InterruptionError):
        train(make_config(epochs=3), tmp_path / "run", data_path=data_path, on_step=interrupt)
    assert files() == before
    with pytest.raises(InterruptionError):
        train(make_config(epochs=3), tmp_path / "run", data_path=data_path, on_epoch=interrupt)
    assert sorted(files()) == ["last.ckpt", "model.pth"]
    assert train(make_config(epochs=3), tmp_path / "run", data_path=data_path, resume=True).epochs == 3


def test_data_and_model_must_fit(data_path: Path, tmp_path: Path) -> None:
    settings = make_settings()
    settings["model"]["num_classes"] = 4
    settings["model"]["class_names"] = list("abcd")
    with pytest.raises(ConfigError, match=r"model\.num_classes is 4 but the data have 3"):
        train(TrainingConfig.from_dict(settings), tmp_path / "a", data_path=data_path)
    with pytest.raises(DataError, match="needs the path"):
        train(make_config(), tmp_path / "b")


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("training", {"epochs": 0}, "training.epochs is 0"),
        ("training", {"batch_size": 1.5}, "training.batch_size"),
        ("training", {"learning_rate": 0}, "training.learning_rate is 0"),
        ("training", {"learning_rate": float("nan")}, "training.learning_rate"),
        ("training", {"weight_decay": -1}, "training.weight_decay"),
        ("training", {"schedule": "wild"}, "training.schedule is 'wild'; available: constant, cosine"),
        ("training", {"validation_fraction": 1}, "training.validation_fraction"),
        ("training", {"threads": 0}, "training.threads"),
        ("training", {"speed": 1}, "'speed'; known: batch_size"),
        ("data", {"source": "web"}, "data.source is 'web'; available: csv, digits, npz"),
        ("data", {"path": 3}, "data.path"),
        ("data", {"options": 3}, "data.options"),
        ("data", {"place": 1}, "'place'"),
    ],
)
def test_bad_settings_are_named(section: str, changes: dict[str, Any], message: str) -> None:
    settings = make_settings()
    settings[section].update(changes)
    with pytest.raises(ConfigError, match=message):
        TrainingConfig.from_dict(settings)


def test_missing_sections_and_settings_are_named() -> None:
    for section in ("data", "model", "training"):
        settings = make_settings()
        del settings[section]
        with pytest.raises(ConfigError, match=f"section '{section}' is missing"):
            TrainingConfig.from_dict(settings)
    with pytest.raises(ConfigError, match=r"training\.epochs is missing"):
        TrainingConfig.from_dict({**make_settings(), "training": {}})
    with pytest.raises(ConfigError, match="'extra'"):
        TrainingConfig.from_dict({**make_settings(), "extra": {}})


def test_config_files(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(make_settings()))
    assert load_training_config(path) == make_config()
    path.write_text("training: [")
    with pytest.raises(ConfigError, match=r"run\.yaml: the file is not valid YAML"):
        load_training_config(path)
    path.write_text("training: 3")
    with pytest.raises(ConfigError, match=r"run\.yaml: .*missing"):
        load_training_config(path)
    with pytest.raises(ConfigError, match=r"absent\.yaml: the file cannot be read"):
        load_training_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.yaml")))
def test_shipped_configurations_are_valid(name: str) -> None:
    config = load_training_config(ROOT / "examples" / name)
    assert config.model["num_classes"] if "num_classes" in config.model else config.model["layer_widths"]
