"""Which implementation of the training rules runs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from difflut.errors import KernelError
from difflut.kernels.build import build_library, compiler_version, find_compiler

IMPLEMENTATIONS = ("torch", "cpu")
MAX_PINS = 8
"""Pins per node that the kernels are compiled for; wider tables are left to torch."""

_VARIABLE = "DIFFLUT_KERNELS"
_forced: list[str] = []


@dataclass(frozen=True)
class KernelInfo:
    """What computes the training rules on the CPU, and why."""

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
    _forced.append(implementation)
    try:
        yield
    finally:
        _forced.pop()


def describe() -> KernelInfo:
    """Say which implementation runs; the kernels are compiled now if they were not yet.

    Raises
    ------
    KernelError : as `use`, and if compiling the kernels fails.
    """
    asked = _asked_for()
    if asked == "torch":
        return KernelInfo("torch", f"{_VARIABLE} or difflut.kernels.use asks for it")
    library = _find_library(required=asked == "cpu")
    if library is None:
        return KernelInfo("torch", "there is no C++ compiler; install g++, and training is many times faster")
    compiler = find_compiler()
    version = compiler_version(compiler) if compiler else None
    return KernelInfo("cpu", f"kernels compiled for this machine, {library}", version, library)


def chosen_for(pins: int, *tensors: Tensor) -> bool:
    """Return whether a kernel computes a rule on these tensors, for nodes with so many pins."""
    return (
        pins <= MAX_PINS
        and all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
        and all(tensor.numel() > 0 for tensor in tensors)
        and kernels_run()
    )


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def kernels_run() -> bool:
    """Return whether the CPU kernels are to be used; a warning says once why not, if nobody decided so."""
    asked = _asked_for()
    return asked != "torch" and _find_library(required=asked == "cpu") is not None


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
