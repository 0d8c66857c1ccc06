"""Sweeps: what may vary, who runs which trial although workers die, freeze and race, and what is on the front."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from difflut_compiler.cli import app
from difflut_compiler.driver import CompileRequest, compile_model
from difflut_compiler.errors import CompilerError
from difflut_compiler.sweep import Sweep, SweepRequest, SweepResult, on_ray, read_sweep, run_sweep, write_sweep
from difflut_compiler.sweep.report import TrialResult
from difflut_compiler.sweep.space import OBJECTIVES, Choices, Dimension, Range
from difflut_compiler.sweep.study import SweepStudy
from difflut_compiler.sweep.trial import Figures, run_trial

optuna = pytest.importorskip("optuna")

BASE = {
    "data": {"source": "npz"},
    "model": {
        "model_type": "feedforward",
        "layer_type": "random",
        "node_type": "dwn",
        "encoder_config": {"name": "thermometer", "num_bits": 2},
        "node_input_dim": 3,
        "layer_widths": [9],
    },
    "training": {"epochs": 2, "batch_size": 16, "threads": 1},
}
SPACE: dict[str, Any] = {
    "model.layer_widths": [[9], [12, 9]],
    "model.encoder_config.num_bits": {"low": 1, "high": 3},
    "training.learning_rate": {"low": 0.01, "high": 0.1, "log": True},
}


def make_file(folder: Path, **changes: Any) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"base": BASE, "space": SPACE, "trials": 20, **changes}))
    return path


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    labels = np.arange(60) % 3
    rows = np.random.default_rng(0).normal(size=(60, 4)) + 2 * labels[:, None]
    np.savez(path, x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    return path


@pytest.fixture
def make_request(tmp_path: Path, data_path: Path) -> Callable[..., SweepRequest]:
    def make(**changes: Any) -> SweepRequest:
        sweep = read_sweep(make_file(tmp_path, **changes))
        return SweepRequest(sweep, tmp_path / "out", data_path=data_path, heartbeat_seconds=1)

    return make


def stored_trials(url: str) -> list[Any]:
    """All entries of the only study, read by Optuna alone."""
    storage = optuna.storages.RDBStorage(url)
    (study,) = storage.get_all_studies()
    trials: list[Any] = storage.get_all_trials(study._study_id)
    storage.remove_session()
    storage.engine.dispose()
    return trials


def count_complete(url: str) -> Counter[int]:
    """How often every number of the sweep was completed."""
    complete = [trial for trial in stored_trials(url) if trial.state is optuna.trial.TrialState.COMPLETE]
    return Counter(trial.user_attrs["number"] for trial in complete)


# -- workers -----------------------------------------------------------------------------------------------------------

WORKER = """
import os, signal, sys, time
from pathlib import Path
from difflut_compiler.sweep import SweepRequest, read_sweep, run as run_module, run_sweep, trial as trial_module
from difflut_compiler.sweep.study import SweepStudy
from difflut_compiler.sweep.trial import Figures, run_trial

file, out, data, log, url, behaviour = sys.argv[1:]
train, runs = trial_module.train, 0

def note(folder):
    with open(log, "a") as lines:
        print(Path(folder).name, os.getpid(), file=lines)

def train_noted(config, folder, **settings):
    global runs
    note(folder)
    runs += 1
    if behaviour == "die" and runs == 7:
        settings["on_epoch"] = lambda report: os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "freeze" and runs == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return train(config, folder, **settings)

def pretend(config, folder, **settings):
    note(folder)
    time.sleep(0.02)
    return Figures(0.5, 0.5, 10, 2, None)

trial_module.train = train_noted
if behaviour == "race":
    run_module.run_trial = pretend
    with open(log + ".ready", "a") as lines:
        print(os.getpid(), file=lines)
    while len(Path(log + ".ready").read_text().splitlines()) < 3:
        time.sleep(0.01)
heartbeat_seconds = 60 if behaviour == "race" else 1  # nobody dies in a race, however busy the machine is
run_sweep(SweepRequest(read_sweep(Path(file)), Path(out), url or None, "sweep", Path(data), heartbeat_seconds))
"""


@pytest.fixture
def start_worker(tmp_path: Path, data_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A function that starts a worker in a process of its own; what it runs is noted in runs.txt."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(behaviour: str, url: str = "") -> subprocess.Popen[bytes]:
        files = [tmp_path / "sweep.yaml", tmp_path / "out", data_path, tmp_path / "runs.txt"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WORKER, *map(str, files), url, behaviour]
        workers.append(subprocess.Popen(command, env=environment))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


def runs_noted(folder: Path) -> list[str]:
    """The folders of the trials that were begun, in order."""
    return [line.split()[0] for line in (folder / "runs.txt").read_text().splitlines()]


def test_a_killed_sweep_resumes_to_every_trial_once(
    make_request: Callable[..., SweepRequest],
    start_worker: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = make_request()
    assert start_worker("die").wait() == -signal.SIGKILL
    assert runs_noted(tmp_path) == [f"trial-{number:04}-{number}" for number in range(7)]
    assert count_complete(request.url) == Counter(range(6))
    (killed,) = (t for t in stored_trials(request.url) if t.state is optuna.trial.TrialState.RUNNING)

    resumed: list[str] = []
    real = run_trial

    def run_noted(config: Any, folder: Path, **settings: Any) -> Figures:
        if settings["continues"] is not None:
            assert (settings["continues"] / "last.ckpt").is_file()
            resumed.append(settings["continues"].name)
        return real(config, folder, **settings)

    monkeypatch.setattr("difflut_compiler.sweep.run.run_trial", run_noted)
    result = run_sweep(request)
    assert count_complete(request.url) == Counter(range(20))
    assert [trial.number for trial in result.trials] == list(range(20))
    assert all(trial.figures is not None for trial in result.trials)
    assert resumed == ["trial-0006-6"]
    (again,) = (t for t in stored_trials(request.url) if t.user_attrs.get("continues") == 6)
    assert again.params == killed.params
    metrics = json.loads((request.out / f"trial-0006-{again.number}" / "metrics.json").read_text())
    assert len(metrics["epochs"]) == 2
    before = len(stored_trials(request.url))
    assert run_sweep(request) == result  # nothing is left to do
    assert len(stored_trials(request.url)) == before


def check_race(start: Callable[[], subprocess.Popen[bytes]], url: str, folder: Path, trials: int) -> None:
    """Workers that start at once run every trial once."""
    workers = [start() for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert count_complete(url) == Counter(range(trials))
    numbers = [run.split("-")[1] for run in runs_noted(folder)]
    assert sorted(numbers) == [f"{number:04}" for number in range(trials)]


def test_workers_on_one_file_never_run_the_same_trial(
    make_request: Callable[..., SweepRequest], start_worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    request = make_request(trials=30)
    check_race(lambda: start_worker("race"), request.url, tmp_path, 30)
    workers = {line.split()[1] for line in (tmp_path / "runs.txt").read_text().splitlines()}
    assert len(workers) > 1, "one worker did everything, so nothing was tried"


@pytest.fixture
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server of our own, on loopback."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # Not in pytest's folder, which every session of pytest that starts closes to other users, such as the server's.
    with tempfile.TemporaryDirectory(prefix="difflut-postgresql-") as name:
        folder = Path(name)
        as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            as_user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(folder, "postgres")
        bin_folder, data, port = folders[-1], folder / "data", free_port()
        control = [*as_user, str(bin_folder / "pg_ctl"), "-D", str(data), "--wait", "--timeout=600"]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        initdb = [*as_user, str(bin_folder / "initdb"), "-D", str(data), "-U", "sweep", "--auth=trust"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
        subprocess.run(
            [*control, "-l", str(folder / "log"), "-o", options, "start"],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield f"postgresql+psycopg://sweep@127.0.0.1:{port}/postgres"
        stop = [*control, "--mode=immediate", "stop"]
        stopped = subprocess.run(stop, check=False, capture_output=True, text=True, cwd=folder)
        assert stopped.returncode == 0, f"{stopped.stdout}{stopped.stderr}{(folder / 'log').read_text()}"


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.slow
def test_workers_on_postgresql_never_run_the_same_trial_and_one_may_be_killed(
    make_request: Callable[..., SweepRequest],
    start_worker: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    postgresql: str,
) -> None:
    pytest.importorskip("psycopg")
    request = replace(make_request(), storage=postgresql)
    assert start_worker("die", postgresql).wait() == -signal.SIGKILL
    assert count_complete(postgresql) == Counter(range(6))
    workers = [start_worker("", postgresql) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert count_complete(postgresql) == Counter(range(20))
    numbers = Counter(run.split("-")[1] for run in runs_noted(tmp_path))
    assert numbers == Counter({f"{number:04}": 1 + (number == 6) for number in range(20)})
    make_file(tmp_path, trials=50)
    (tmp_path / "runs.txt").unlink()
    workers = [start_worker("race", postgresql) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert count_complete(postgresql) == Counter(range(50))
    assert sorted(run.split("-")[1] for run in runs_noted(tmp_path)) == [f"{number:04}" for number in range(20, 50)]
    assert len(run_sweep(replace(request, sweep=read_sweep(tmp_path / "sweep.yaml"))).trials) == 50


def running_workers(url: str) -> dict[int, int]:
    """The process of the worker of every trial that runs."""
    running = [trial for trial in stored_trials(url) if trial.state is optuna.trial.TrialState.RUNNING]
    return {
        trial.user_attrs["number"]: int(trial.user_attrs["worker"].rpartition(":")[2])
        for trial in running
        if "worker" in trial.user_attrs
    }


@pytest.mark.slow
def test_a_ray_cluster_runs_every_trial_once_and_makes_up_for_a_killed_worker(data_path: Path, tmp_path: Path) -> None:
    """The cluster is of two processes on this machine; the storage, read by Optuna alone, says who did what."""
    pytest.importorskip("ray")
    base = {**BASE, "training": {"epochs": 40, "batch_size": 16, "threads": 1}}
    file, out = make_file(tmp_path, base=base, trials=8), tmp_path / "out"
    url = f"sqlite:///{out / 'sweep.sqlite'}"
    program = "from difflut_compiler.cli import main; main()"
    command = [sys.executable, "-c", program, "sweep", str(file), "-o", str(out), "--data", str(data_path)]
    command += ["--heartbeat", "1", "--ray-workers", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        first = driver.stdout.readline()
        assert first.startswith("trial "), first + driver.communicate()[1]
        running: dict[int, int] = {}
        while not running and driver.poll() is None:
            running = running_workers(url)
        number, process = running.popitem()
        os.kill(process, signal.SIGKILL)
        output, error = driver.communicate()
    finally:
        driver.kill()
    assert driver.returncode == 0, error
    assert "8 of 8 trials complete, 0 failed" in output
    assert count_complete(url) == Counter(range(8))
    entries = Counter(trial.user_attrs["number"] for trial in stored_trials(url))
    assert entries == Counter({one: 1 + (one == number) for one in range(8)})
    assert len({trial.user_attrs["worker"] for trial in stored_trials(url)}) >= 2


def test_a_cluster_that_does_not_start_is_an_error_of_one_line(
    make_request: Callable[..., SweepRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray raises what it likes when its processes take too long on a busy machine."""

    def fail(**settings: object) -> None:
        raise Exception("The current node timed out during startup.")  # noqa: TRY002 - what Ray raises

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=fail))
    monkeypatch.setattr("difflut_compiler.sweep.on_ray.find_spec", lambda name: object())
    for address, place in ((None, "on this machine"), ("head:6379", "at 'head:6379'")):
        with pytest.raises(CompilerError, match=f"there is no Ray cluster {place}: The current node timed out"):
            on_ray.run_sweep_on_ray(make_request(), 2, address)


def test_without_ray_a_sweep_on_it_says_what_to_install(
    make_request: Callable[..., SweepRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("difflut_compiler.sweep.on_ray.find_spec", lambda name: None)
    command = ["sweep", str(make_request().out.parent / "sweep.yaml"), "-o", "out", "--ray-workers", "2"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 3
    assert result.stderr == "error: ray is not installed: pip install 'difflut[sweep,ray]'\n"


def test_an_address_of_ray_needs_a_number_of_workers(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sweep", "any.yaml", "-o", str(tmp_path), "--ray-address", "auto"])
    assert result.exit_code == 2
    assert "add --ray-workers" in result.stderr


class Cluster:
    """Stands in for Ray on two machines."""

    @staticmethod
    def nodes() -> list[dict[str, Any]]:
        return [{"NodeManagerAddress": f"10.0.0.{index}", "Alive": index < 2} for index in range(3)]


def test_machines_of_a_cluster_do_not_share_an_sqlite_file(make_request: Callable[..., SweepRequest]) -> None:
    with pytest.raises(CompilerError, match="the cluster has 2 machines, which cannot share an SQLite file"):
        on_ray._check_storage(make_request(), Cluster)
    on_ray._check_storage(replace(make_request(), storage="postgresql+psycopg://host/name"), Cluster)


def test_a_frozen_worker_does_not_finish_what_another_took_over(
    make_request: Callable[..., SweepRequest], start_worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    request = make_request(trials=3)
    frozen = start_worker("freeze")
    os.waitpid(frozen.pid, os.WUNTRACED)
    result = run_sweep(request)
    assert count_complete(request.url) == Counter(range(3))
    frozen.send_signal(signal.SIGCONT)
    assert frozen.wait() == 0
    assert count_complete(request.url) == Counter(range(3))
    assert run_sweep(request) == result
    assert runs_noted(tmp_path)[0] == "trial-0000-0"
    assert result.trials[0].folder == "trial-0000-3"


def test_an_entry_that_was_queued_twice_is_run_once(make_request: Callable[..., SweepRequest]) -> None:
    """Two workers that notice a death at the same moment both queue the trial again."""
    request = make_request(trials=2)
    request.out.mkdir()
    study = SweepStudy(request.sweep, request.url, request.name, 1)
    study._study.enqueue_trial({}, user_attrs={"number": 1})
    study._study.enqueue_trial({}, user_attrs={"number": 1})
    study._study.enqueue_trial({}, user_attrs={"number": 7})  # of a sweep that was longer
    study.close()
    result = run_sweep(request)
    assert count_complete(request.url) == Counter(range(2))
    assert [trial.folder for trial in result.trials] == ["trial-0000-3", "trial-0001-0"]


def test_an_interrupted_trial_is_run_again_and_is_no_death(
    make_request: Callable[..., SweepRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, real = make_request(trials=1), run_trial

    def interrupt(*arguments: Any, **settings: Any) -> Figures:
        raise KeyboardInterrupt

    for _ in range(6):
        monkeypatch.setattr("difflut_compiler.sweep.run.run_trial", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(request)
    monkeypatch.setattr("difflut_compiler.sweep.run.run_trial", real)
    assert run_sweep(request).trials[0].figures is not None


def test_a_trial_that_kills_its_workers_is_given_up(
    make_request: Callable[..., SweepRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FaultError(Exception):
        pass

    def fail(*arguments: Any, **settings: Any) -> Figures:
        raise FaultError

    request = make_request(trials=1)
    monkeypatch.setattr("difflut_compiler.sweep.run.run_trial", fail)
    for _ in range(4):
        with pytest.raises(FaultError):
            run_sweep(request)
    assert run_sweep(request).trials[0].error == "its worker died 4 times"


def test_a_trial_that_cannot_be_trained_fails_once_and_says_why(make_request: Callable[..., SweepRequest]) -> None:
    request = make_request(space={"model.encoder_config.num_bits": [2, 9999]}, sampler="grid", trials=None)
    lines: list[str] = []
    result = run_sweep(request, on_trial=lambda done, total, line: lines.append(f"{done}/{total} {line}"))
    good, bad = result.trials
    assert good.figures is not None
    assert bad.figures is None
    assert "encoder_config.num_bits is 9999" in str(bad.error)
    assert len(lines) == 2
    assert lines[1].startswith("2/2 trial 1: num_bits 9999: failed: ")
    assert run_sweep(request) == result
    assert len(stored_trials(request.url)) == 2


def test_more_trials_may_be_wanted_later_but_no_other_sweep(make_request: Callable[..., SweepRequest]) -> None:
    first = run_sweep(make_request(trials=2))
    second = run_sweep(make_request(trials=3))
    assert second.trials[:2] == first.trials
    with pytest.raises(CompilerError, match="the storage holds another sweep named 'sweep'"):
        run_sweep(make_request(trials=3, seed=1))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is not the address of a database"),
        ("sqlite:////no/such/folder/sweep.sqlite", "cannot be used: unable to open database file"),
    ],
)
def test_a_storage_that_cannot_be_used_is_named(
    url: str, message: str, make_request: Callable[..., SweepRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("difflut_compiler.sweep.study.CONNECTION_TRIES", 1)
    with pytest.raises(CompilerError, match=message):
        run_sweep(replace(make_request(), storage=url))


# -- figures -----------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_the_trained_model_and_its_compile(make_request: Callable[..., SweepRequest]) -> None:
    request = make_request(trials=1, family="ecp5", yosys=True)
    (trial,) = run_sweep(request).trials
    assert trial.figures is not None
    folder = request.out / str(trial.folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert trial.figures["accuracy"] == metrics["result"]["validation_accuracy"]
    assert trial.figures["test_accuracy"] == metrics["result"]["test_accuracy"]
    compiled = compile_model(CompileRequest(folder / "model.pth", "verilog", "network", count_luts=True))
    assert compiled.synthesis is not None
    assert trial.figures["luts"] == compiled.synthesis.luts
    assert trial.figures["depth"] == compiled.size.levels
    assert trial.figures["fmax_mhz"] == compiled.estimates["ecp5"].estimated_fmax_mhz


# -- the front ---------------------------------------------------------------------------------------------------------


def make_result(rows: list[tuple[int, int, int]]) -> SweepResult:
    sweep = Sweep({}, {"a.b": Range(0, 1)}, len(rows), "random", 0, ("accuracy", "luts", "depth"), None, False)
    trials = [
        TrialResult(number, {"a.b": 0.5}, {"accuracy": a, "test_accuracy": 0.0, "luts": b, "depth": c}, None, "f", "w")
        for number, (a, b, c) in enumerate(rows)
    ]
    return SweepResult(sweep, tuple(trials))


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_front_is_what_no_other_trial_beats(rows: list[tuple[int, int, int]]) -> None:
    front = {trial.number for trial in make_result(rows).front}
    for number, (a, b, c) in enumerate(rows):
        beaten = any(x >= a and y <= b and z <= c and (x, y, z) != (a, b, c) for x, y, z in rows)
        repeated = (a, b, c) in rows[:number]
        assert (number in front) == (not beaten and not repeated)


def test_results_are_written_and_the_plot_has_every_point(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = make_result([(1, 20, 3), (0, 10, 3), (0, 30, 3)])
    assert write_sweep(result, tmp_path) == [tmp_path / "results.json", tmp_path / "front.svg"]
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["front"] == [0, 1]
    assert written["objectives"] == {"accuracy": "maximize", "luts": "minimize", "depth": "minimize"}
    before = (tmp_path / "front.svg").read_text()
    write_sweep(result, tmp_path)
    assert (tmp_path / "front.svg").read_text() == before
    write_sweep(make_result([(1, 20, 3), (0, 10, 3), (0, 35, 3)]), tmp_path)
    assert (tmp_path / "front.svg").read_text() != before


# -- what may vary -----------------------------------------------------------------------------------------------------


def test_the_grid_is_every_combination_once(tmp_path: Path) -> None:
    space = {"model.layer_widths": [[9], [12], [15]], "training.seed": [1, 2], "training.schedule": ["cosine"]}
    sweep = read_sweep(make_file(tmp_path, space=space, sampler="grid", trials=None))
    assert sweep.trials == 6
    configs = [sweep.configure(sweep.planned_point(number) or {}) for number in range(6)]
    assert {(tuple(one.model["layer_widths"]), one.training.seed) for one in configs} == {
        ((width,), seed) for width in (9, 12, 15) for seed in (1, 2)
    }


SCHEDULES = Choices(('"cosine"', '"constant"'))


@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_drawn_points_lie_in_the_space_and_depend_on_seed_and_number(number: int, integer: bool, log: bool) -> None:
    bounds: tuple[float, float] = (1, 9) if integer else (0.5, 9.5)
    space: dict[str, Dimension] = {
        "training.epochs": Range(bounds[0], bounds[1], log),
        "training.schedule": Choices(('"cosine"', '"constant"')),
    }
    sweep = Sweep(BASE, space, 10_001, "random", 3, ("luts",), None, False)
    point = sweep.planned_point(number)
    assert point == sweep.planned_point(number)
    assert point is not None
    assert bounds[0] <= float(point["training.epochs"]) <= bounds[1]
    assert isinstance(point["training.epochs"], int) == integer
    assert point["training.schedule"] in SCHEDULES.texts


def test_every_value_of_a_small_range_is_drawn_evenly(tmp_path: Path) -> None:
    sweep = read_sweep(make_file(tmp_path, space={"training.epochs": {"low": 1, "high": 4}}, sampler="random"))
    drawn = Counter(
        (replace(sweep, trials=4000).planned_point(number) or {})["training.epochs"] for number in range(4000)
    )
    assert set(drawn) == {1, 2, 3, 4}
    assert all(900 < count < 1100 for count in drawn.values())


def test_fields_that_the_base_leaves_out_can_vary(tmp_path: Path) -> None:
    sweep = read_sweep(make_file(tmp_path, space={"model.runtime.output_tau": [1.0, 2.0]}))
    assert sweep.configure({"model.runtime.output_tau": "2.0"}).model["runtime"] == {"output_tau": 2.0}
    assert "runtime" not in sweep.base["model"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "absent.yaml"}, "absent.yaml|cannot be read"),
        ({"speed": 1}, "also known: base"),
        ({"space": {}}, "space must be a table"),
        ({"space": {"training.epochs": 3}}, r"space\.training\.epochs must be a list of values"),
        ({"space": {"training.epochs": [1, 1]}}, r"space\.training\.epochs has a value twice"),
        ({"space": {"training.epochs": {"low": 3, "high": 1}}}, "low below high"),
        ({"space": {"training.epochs": {"low": 0, "high": 1, "log": True}}}, "low must be above 0"),
        ({"space": {"training.speed": [1]}}, "'speed'; known: batch_size"),
        ({"space": {"training.epochs.more": [1]}}, "epochs is not a table"),
        ({"space": {"training.epochs": {"low": 0, "high": 5}}}, r"training\.epochs is 0"),
        ({"trials": None}, "trials is missing"),
        ({"trials": 0}, "trials is 0"),
        ({"sampler": "grid"}, "num_bits is a range; the sampler grid needs lists"),
        ({"sampler": "grid", "space": {"training.epochs": [1, 2]}}, "the grid has 2 combinations"),
        ({"sampler": "magic"}, "sampler is 'magic'; choose one of tpe, random, grid"),
        ({"seed": -1}, "seed is -1"),
        ({"objectives": ["beauty"]}, f"choose one of {', '.join(OBJECTIVES)}"),
        ({"objectives": []}, "objectives must be a list"),
        ({"objectives": ["fmax_mhz"]}, "fmax_mhz needs a family, one of ecp5"),
        ({"family": "abacus"}, "family is 'abacus'"),
        ({"yosys": "yes please"}, "yosys is 'yes please'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match=rf"(?s){message}") as caught:
        read_sweep(make_file(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)


def test_the_command_shows_the_front_and_goes_on(data_path: Path, tmp_path: Path) -> None:
    command = ["sweep", str(make_file(tmp_path, trials=2)), "-o", str(tmp_path / "out"), "--data", str(data_path)]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "trial 0: " in first.stdout
    assert "2 of 2 trials complete, 0 failed" in first.stdout
    again = CliRunner().invoke(app, command)
    assert "trial 0: " not in again.stdout
    assert "2 of 2 trials complete, 0 failed" in again.stdout
    assert json.loads((tmp_path / "out/results.json").read_text())["front"]


def test_without_optuna_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("difflut_compiler.cli.training.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["sweep", "any.yaml", "-o", str(tmp_path)])
    assert result.exit_code == 3
    assert "pip install 'difflut[sweep]'" in result.stderr
