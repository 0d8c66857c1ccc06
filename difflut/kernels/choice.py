"""Which implementation of the training rules runs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from difflut.errors import KernelError
from difflut.kernels.build import build_library, compiler_version, find_compiler

IMPLEMENTATIONS = ("torch", "cpu", "cuda")
"""``cpu`` and ``cuda`` are the kernels for tensors on these devices; torch does everything that they do not do."""

MAX_PINS = 8
"""Pins per node that the kernels are compiled for; wider tables are left to torch."""

_VARIABLE = "DIFFLUT_KERNELS"
_forced: list[str] = []


@dataclass(frozen=True)
class KernelInfo:
    """What computes the training rules on a device, and why."""

    implementation: str
    reason: str
    compiler: str | None = None
    library: Path | None = None

    def __str__(self) -> str:
        return f"{self.implementation}: {self.reason}"


@contextmanager
def use(implementation: str) -> Iterator[None]:
    """Force one of `IMPLEMENTATIONS` in this process for a while, whatever ``DIFFLUT_KERNELS`` says.

    Raises
    ------
    KernelError : there is no such implementation, or it cannot run on this machine.
    """
    _check_name(implementation, "implementation")
    if implementation == "cpu":
        _find_library(required=True)
    if implementation == "cuda" and (missing := _missing_for_cuda()):
        raise KernelError(f"The GPU kernels cannot run: {missing}.")
    _forced.append(implementation)
    try:
        yield
    finally:
        _forced.pop()


def describe(device: str = "cpu") -> KernelInfo:
    """Say which implementation runs on a device, ``cpu`` or ``cuda``; CPU kernels are compiled if they were not yet.

    Raises
    ------
    KernelError : as `use`, and if compiling the kernels fails.
    ValueError : there is no such device.
    """
    if device not in {"cpu", "cuda"}:
        raise ValueError(f"device is {device!r}; it must be cpu or cuda.")
    asked = _asked_for()
    if asked not in {None, device}:
        return KernelInfo("torch", f"{_VARIABLE} or difflut.kernels.use asks for {asked}")
    return _describe_cuda() if device == "cuda" else _describe_cpu()


def _describe_cpu() -> KernelInfo:
    library = _find_library(required=_asked_for() == "cpu")
    if library is None:
        return KernelInfo("torch", "there is no C++ compiler; install g++, and training is many times faster")
    compiler = find_compiler()
    version = compiler_version(compiler) if compiler else None
    return KernelInfo("cpu", f"kernels compiled for this machine, {library}", version, library)


def _describe_cuda() -> KernelInfo:
    if missing := _missing_for_cuda():
        return KernelInfo("torch", missing)
    return KernelInfo("cuda", f"kernels compiled by CuPy {import_cupy().__version__} for the GPU, on first use")


def chosen_for(pins: int, *tensors: Tensor, rows: tuple[Tensor, ...] = ()) -> bool:
    """Return whether a kernel computes a rule on these tensors, for nodes with so many pins.

    `rows` are those that are a row per feature, output or pin: on a GPU, they may be bfloat16.
    """
    given = (*tensors, *rows)
    if pins > MAX_PINS or any(x.device != given[0].device or x.numel() == 0 for x in given):
        return False
    if any(x.dtype != torch.float32 for x in tensors) or any(x.dtype != rows[0].dtype for x in rows):
        return False
    row_type = rows[0].dtype if rows else torch.float32
    if is_on_gpu(given[0]):
        return row_type in {torch.float32, torch.bfloat16} and cuda_kernels_run()
    return given[0].device.type == "cpu" and row_type == torch.float32 and kernels_run()


def is_on_gpu(tensor: Tensor) -> bool:
    """Whether the GPU kernels are those for a tensor."""
    return tensor.device.type == "cuda"


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def kernels_run() -> bool:
    """Return whether the CPU kernels are to be used; a warning says once why not, if nobody decided so."""
    asked = _asked_for()
    return asked in {None, "cpu"} and _find_library(required=asked == "cpu") is not None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def cuda_kernels_run() -> bool:
    """Return whether the GPU kernels are to be used; a warning says once if CuPy is missing.

    Raises
    ------
    KernelError : they are asked for, and CuPy is missing.
    """
    asked = _asked_for()
    if asked not in {None, "cuda"}:
        return False
    missing = _missing_cupy()
    if missing and asked == "cuda":
        raise KernelError(f"The GPU kernels cannot run: {missing}.")
    if missing:
        _warn_once(f"On the GPU, training runs on torch alone: {missing}.")
    return not missing


def import_cupy() -> Any:
    """Return the module cupy; a KernelError if it is not installed."""
    if missing := _missing_cupy():
        raise KernelError(f"The GPU kernels cannot run: {missing}.")
    return importlib.import_module("cupy")


def _missing_cupy() -> str | None:
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed; install difflut[gpu], or difflut[gpu-cuda13] for CUDA 13"
    return None


def _missing_for_cuda() -> str | None:
    return _missing_cupy() if torch.cuda.is_available() else "there is no CUDA device"


@lru_cache
def _warn_once(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


def library_path() -> Path:
    """Return the compiled kernels; a KernelError if there cannot be any."""
    path = _find_library(required=True)
    assert path is not None
    return path


def _asked_for() -> str | None:
    if _forced:
        return _forced[-1]
    name = os.environ.get(_VARIABLE)
    if name:
        _check_name(name, f"The environment variable {_VARIABLE}")
    return name or None


def _check_name(name: str, what: str) -> None:
    if name not in IMPLEMENTATIONS:
        raise KernelError(f"{what} is {name!r}; available: {', '.join(IMPLEMENTATIONS)}.")


def _find_library(*, required: bool) -> Path | None:
    library = _build_once()
    if library is None and required:
        raise KernelError("The CPU kernels need a C++ compiler, and there is none; install g++, or set CXX to one.")
    return library


@lru_cache(maxsize=1)
def _build_once() -> Path | None:
    compiler = find_compiler()
    if compiler is None:
        warnings.warn(
            "There is no C++ compiler, so training runs on torch alone, which is many times slower; install g++.",
            UserWarning,
            stacklevel=2,
        )
        return None
    return build_library(compiler)
