"""Two processes that train one model: the course of one process, whoever dies and whoever goes on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from difflut import load_model
from difflut.training import EpochReport, StepReport, TrainingConfig, train
from difflut.training.processes import Processes
from difflut.training.run_state import RunState
from difflut.training.trainer import _Run

# Sums over half batches are rounded differently; the training rule of this node is smooth, so that this stays small.
TOLERANCE = 1e-4

WORKER = """
import json, os, signal, sys
from dataclasses import asdict
from difflut.training import TrainingConfig, train

settings, out, data, log, resume, victim = sys.argv[1:]
rank, restarts = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]

def note(kind):
    def write(report):
        with open(f"{log}.{rank}", "a") as file:
            print(json.dumps({"kind": kind, **asdict(report)}), file=file)
        if (rank, restarts, kind, report.epoch) == (victim, "0", "step", 3) and report.step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return write

config = TrainingConfig.from_dict(json.loads(settings))
train(config, out, data_path=data, resume=bool(resume), on_step=note("step"), on_epoch=note("epoch"))
"""


def make_settings(**training: Any) -> dict[str, Any]:
    return {
        "data": {"source": "npz"},
        "model": {
            "model_type": "feedforward",
            "layer_type": "random",
            "node_type": "probabilistic",
            "encoder_config": {"name": "thermometer", "num_bits": 2},
            "node_input_dim": 3,
            "layer_widths": [20, 12],
            "runtime": {"output_tau": 2.0, "regularizers": {"l2": 0.1, "entropy": 0.01}},
        },
        "training": {"epochs": 4, "batch_size": 25, "threads": 1, **training},
    }


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    y = np.arange(84) % 3
    x = generator.normal(size=(84, 6)) + 2 * (np.arange(6) // 2 == y[:, None])
    np.savez(path, x_train=x, y_train=y, x_test=x[:30], y_test=y[:30])
    return path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def run_job(
    settings: dict[str, Any],
    out: Path,
    data: Path,
    *,
    resume: bool = False,
    victim: str = "",
    restarts: int = 0,
    machines: int = 1,
) -> list[dict[str, Any]]:
    """Train in two processes by torchrun, or by one torchrun per machine; return what the main one reported."""
    script = out.parent / "worker.py"
    script.write_text(WORKER)
    log = out.parent / f"{out.name}.log"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(2 // machines)]
    if machines == 1:
        command += ["--standalone"]
    else:
        command += ["--nnodes", str(machines), "--rdzv-backend", "c10d", "--rdzv-id", "test"]
        command += ["--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--local-addr", "127.0.0.1"]
    command += ["--max-restarts", str(restarts), str(script)]
    arguments = [json.dumps(settings), str(out), str(data), str(log), "yes" if resume else "", victim]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    if machines > 1:
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    jobs = [
        subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(machines)
    ]
    for job in jobs:
        error = job.communicate()[1]
        assert job.returncode == 0, error
    first, second = ([json.loads(line) for line in Path(f"{log}.{rank}").read_text().splitlines()] for rank in (0, 1))
    if not victim:
        assert [one["train_loss"] for one in first if one["kind"] == "epoch"] == [
            one["train_loss"] for one in second if one["kind"] == "epoch"
        ]
    return first


def run_alone(settings: dict[str, Any], out: Path, data: Path, **more: Any) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []

    def on_step(report: StepReport) -> None:
        reports.append({"kind": "step", **asdict(report)})

    def on_epoch(report: EpochReport) -> None:
        reports.append({"kind": "epoch", **asdict(report)})

    train(TrainingConfig.from_dict(settings), out, data_path=data, on_step=on_step, on_epoch=on_epoch, **more)
    return reports


def losses(reports: list[dict[str, Any]]) -> list[float]:
    return [one["loss"] for one in reports if one["kind"] == "step"]


def assert_same_run(first: Path, second: Path) -> None:
    """Weights, optimizer and history of two states agree."""
    one, other = RunState.load(first / "last.ckpt"), RunState.load(second / "last.ckpt")
    assert one.model.keys() == other.model.keys()
    for name, value in one.model.items():
        torch.testing.assert_close(value, other.model[name], rtol=TOLERANCE, atol=TOLERANCE)
    assert [report.train_loss for report in one.history] == pytest.approx(
        [report.train_loss for report in other.history], rel=TOLERANCE
    )


def test_two_processes_take_the_course_of_one_and_their_files_are_used_by_either(
    data_path: Path, tmp_path: Path
) -> None:
    """75 samples in batches of 37: uneven shares, and a last batch of one, of which one process has nothing."""
    settings = make_settings(batch_size=37, epochs=3)
    alone = run_alone(settings, tmp_path / "alone", data_path)
    together = run_job(settings, tmp_path / "together", data_path)
    assert [step["step"] for step in together if step["kind"] == "step"] == [1, 2, 3] * 3
    assert losses(together) == pytest.approx(losses(alone), rel=TOLERANCE)
    for one, other in zip(alone, together, strict=True):
        for name in ("train_accuracy", "eval_train_accuracy", "validation_accuracy"):
            assert one.get(name) == other.get(name)
    assert_same_run(tmp_path / "alone", tmp_path / "together")
    files = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert sorted(path.name for path in (tmp_path / "together").iterdir()) == files
    config = TrainingConfig.from_dict(settings)
    again = train(config, tmp_path / "together", data_path=data_path, resume=True)
    assert again.test_accuracy == json.loads((tmp_path / "alone/metrics.json").read_text())["result"]["test_accuracy"]
    load_model(tmp_path / "together/model.pth")


def test_two_processes_go_on_where_one_stopped(data_path: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise StopError

    settings = make_settings()
    with pytest.raises(StopError):
        train(TrainingConfig.from_dict(settings), tmp_path / "both", data_path=data_path, on_epoch=stop)
    reports = run_job(settings, tmp_path / "both", data_path, resume=True)
    assert [one["epoch"] for one in reports if one["kind"] == "epoch"] == [3, 4]
    run_alone(settings, tmp_path / "alone", data_path)
    assert_same_run(tmp_path / "alone", tmp_path / "both")


@pytest.mark.parametrize("victim", ["0", "1"])
def test_after_a_death_torchrun_goes_on_after_the_last_epoch(victim: str, data_path: Path, tmp_path: Path) -> None:
    """A worker is killed in the middle of epoch 3; both are started again and repeat that epoch only."""
    reports = run_job(make_settings(), tmp_path / "killed", data_path, victim=victim, restarts=1)
    assert [one["epoch"] for one in reports if one["kind"] == "epoch"] == [1, 2, 3, 4]
    begun = [one["epoch"] for one in reports if one["kind"] == "step" and one["step"] == 1]
    assert begun == [1, 2, 3, 3, 4]
    run_alone(make_settings(), tmp_path / "alone", data_path)
    assert_same_run(tmp_path / "alone", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["0", "1"])
def test_after_a_death_on_one_of_two_machines_both_go_on(victim: str, data_path: Path, tmp_path: Path) -> None:
    """Two torchruns on this machine, one process each; only one of them knows that a process has died."""
    run_job(make_settings(), tmp_path / "killed", data_path, victim=victim, restarts=1, machines=2)
    lines = [line for rank in (0, 1) for line in (tmp_path / f"killed.log.{rank}").read_text().splitlines()]
    begun = [one["epoch"] for one in map(json.loads, lines) if one["kind"] == "step" and one["step"] == 1]
    assert sorted(begun) == [1, 1, 2, 2, 3, 3, 3, 3, 4, 4]
    run_alone(make_settings(), tmp_path / "alone", data_path)
    assert_same_run(tmp_path / "alone", tmp_path / "killed")


def test_each_process_flips_bits_of_its_own(data_path: Path, tmp_path: Path) -> None:
    settings = make_settings()
    settings["model"]["runtime"] = {"flip_probability": 0.3}
    config = TrainingConfig.from_dict(settings)
    dataset, scores = config.data.load(data_path), []
    for rank in (0, 1, 1):
        run = _Run(config, dataset, tmp_path / "run", Processes(rank, 1))
        run.start()
        scores.append(run.model.train()(dataset.x_train))
    assert not torch.equal(scores[0], scores[1])
    assert torch.equal(scores[1], scores[2])


def test_shares_cover_a_batch_once() -> None:
    rows = torch.arange(10, 17)
    for count in (1, 2, 3, 7, 9):
        shares = [Processes(rank, count).take_share(rows) for rank in range(count)]
        taken = torch.cat([part for part, share in shares if share])
        assert sorted(taken.tolist()) == rows.tolist()
        assert sum(share for _, share in shares) == pytest.approx(1)
        assert all(len(part) for part, _ in shares)
