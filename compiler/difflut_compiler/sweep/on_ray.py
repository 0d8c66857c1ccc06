"""Workers of a sweep on a Ray cluster: Ray starts them, and starts them again if they die; it knows nothing of trials.

Each worker does what one that was started by hand does, with the same storage, which alone says who runs what.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from difflut_compiler.errors import CompilerError, ToolMissingError
from difflut_compiler.sweep.report import SweepResult
from difflut_compiler.sweep.run import OnTrial, SettledTrials, SweepRequest, make_result, open_study, run_sweep

MAX_RESTARTS = 3
"""So often Ray starts a worker again that died."""
POLL_SECONDS = 1.0
FAREWELL_SECONDS = 20.0
"""So long interrupted workers have to write down that they were."""


def run_sweep_on_ray(
    request: SweepRequest, workers: int, address: str | None = None, *, on_trial: OnTrial = lambda *_: None
) -> SweepResult:
    """Run a sweep by so many workers as tasks of a Ray cluster, and return all results.

    ``address`` is the cluster's, ``auto`` for one on this machine; without it, one is started here for the sweep alone.
    ``on_trial`` is that of :func:`run_sweep`. Others may work on the storage at the same time.

    Raises :class:`ToolMissingError` without Ray, and :class:`CompilerError` if the cluster cannot be reached or its
    machines do not share the storage.
    """
    if find_spec("ray") is None:
        raise ToolMissingError("ray is not installed: pip install 'difflut[sweep,ray]'")
    data = None if request.data_path is None else request.data_path.absolute()
    request = replace(request, out=request.out.absolute(), storage=request.url, data_path=data)
    with closing(open_study(request)) as study, _cluster(workers, address) as ray:
        _check_storage(request, ray)
        announce = SettledTrials(study, request, on_trial)
        start = ray.remote(num_cpus=1, max_retries=MAX_RESTARTS)(_work)
        tasks = [start.remote(request) for _ in range(workers)]
        pending, failures = tasks, []
        try:
            while pending:
                done, pending = ray.wait(pending, timeout=POLL_SECONDS)
                failures += [failure for task in done if (failure := _failure(ray, task))]
                announce(study.entries())
        except KeyboardInterrupt:
            for task in pending:
                ray.cancel(task)  # the worker sees Ctrl-C
            ray.wait(tasks, num_returns=len(tasks), timeout=FAREWELL_SECONDS)
            raise
        entries = study.entries()
        if len(announce(entries)) < len(entries):
            raise failures[0]
        return make_result(request, entries)


def _work(request: SweepRequest) -> None:
    """What a task does; results are in the storage."""
    run_sweep(request)


@contextmanager
def _cluster(workers: int, address: str | None) -> Iterator[Any]:
    """Ray, connected."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave CUDA_VISIBLE_DEVICES as it is
    import ray

    on_terminate = signal.getsignal(signal.SIGTERM)
    here = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **here)
    except Exception as error:  # noqa: BLE001 - Ray has no narrower class for a cluster that does not start in time
        place = "on this machine" if address is None else f"at {address!r}"
        raise CompilerError(f"there is no Ray cluster {place}: {error}") from None
    signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own there
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_storage(request: SweepRequest, ray: Any) -> None:
    machines = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if len(machines) > 1 and request.url.startswith("sqlite"):
        raise CompilerError(
            f"the cluster has {len(machines)} machines, which cannot share an SQLite file; give the address of a "
            f"database with --storage"
        )


def _failure(ray: Any, task: object) -> Exception | None:
    """Why a task has failed; None if it has not."""
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause: Exception = error.cause
        return cause
    except ray.exceptions.RayError as error:
        return CompilerError(
            f"a worker died {1 + MAX_RESTARTS} times ({type(error).__name__}); the same command goes on"
        )
    return None
