"""A stand-in for CuPy that compiles GPU kernels for the CPU, and a GPU that is none, so that launches really happen."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import shutil
import subprocess
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from difflut.kernels import choice, cpu, cuda, ops

SHIM = Path(__file__).with_name("gpu_shim.h")
OPERATORS = [name for name in vars(ops) if isinstance(getattr(ops, name), torch._ops.OpOverloadPacket)]
MAX_SHARED_BYTES = 48 * 1024  # that a kernel may have without asking for more
STREAM = 0x5EED  # the current one
MAX_GRID = (2**31 - 1, 2**16 - 1, 2**16 - 1)

# What CuPy passes on, by the type of the argument that it is given.
_PASSED_AS: dict[type, Any] = {
    int: ctypes.c_uint64,
    np.int32: ctypes.c_int32,
    np.int64: ctypes.c_int64,
    np.float32: ctypes.c_float,
}
_TYPES = {"int": np.int32, "Index": np.int64, "float": np.float32}


class Kernel:
    """A kernel, called as one of CuPy's."""

    seed = 0

    def __init__(self, library: ctypes.CDLL, name: str, parameters: tuple[str, ...]) -> None:
        self.name = name
        self.types = [int if parameter.endswith("*") else _TYPES[parameter] for parameter in parameters]
        self.run = library[f"run_{name}"]
        self.run.restype = ctypes.c_char_p

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        assert [type(argument) for argument in arguments] == self.types, self.name
        grid, block = ((*size, 1, 1)[:3] for size in (grid, block))
        assert all(1 <= size <= limit for size, limit in zip(grid, MAX_GRID, strict=True)), self.name
        assert block[0] * block[1] * block[2] <= 1024
        assert shared_mem <= MAX_SHARED_BYTES
        assert Stream.entered == [STREAM]
        values = [_PASSED_AS[type(argument)](argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        Kernel.seed += 1
        sizes = [(ctypes.c_uint * 3)(*size) for size in (grid, block)]
        error = self.run(*sizes, pointers, ctypes.c_uint(shared_mem), ctypes.c_uint(Kernel.seed))
        if error is not None:
            raise RuntimeError(f"{self.name}: {error.decode()}")


class RawModule:
    """Kernels compiled by g++."""

    def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
        self.library = ctypes.CDLL(str(compile_for_cpu(code, options)))
        self.parameters = cuda.read_parameters("tables.cu") | cuda.read_parameters("rows.cu")

    def get_function(self, name: str) -> Kernel:
        return Kernel(self.library, name, self.parameters[name])


def compile_for_cpu(code: str, options: tuple[str, ...], flags: tuple[str, ...] = ()) -> Path:
    """Compile kernels with the shim and further flags of g++; returns the library."""
    exports = "".join(f"DL_EXPORT({name})\n" for name in kernel_names(code))
    name = hashlib.sha256(repr((code, options, flags)).encode()).hexdigest()
    library = scratch_folder() / f"{name}.so"
    command = ["g++", "-x", "c++", "-", "-O1", "-w", "-fPIC", "-shared", "-include", str(SHIM), "-o", str(library)]
    command += [*flags, *(option.replace("--std", "-std") for option in options)]
    done = subprocess.run(command, input=code + exports, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def kernel_names(code: str) -> list[str]:
    return [line.split()[1].partition("(")[0] for line in code.splitlines() if line.startswith("DL_KERNEL ")]


@cache
def scratch_folder() -> Path:
    folder = mkdtemp(prefix="difflut-shim-")
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


class Stream:
    """Where launches go; none may go elsewhere."""

    entered: ClassVar[list[int]] = []

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    @staticmethod
    def from_external(stream: Any) -> Stream:
        version, pointer = stream.__cuda_stream__()
        assert version == 0
        return Stream(pointer)

    def __enter__(self) -> None:
        Stream.entered.append(self.pointer)

    def __exit__(self, *_: object) -> None:
        Stream.entered.pop()


FAKE_CUPY = SimpleNamespace(
    __version__="0",
    RawModule=RawModule,
    cuda=SimpleNamespace(Device=lambda index: nullcontext(), Stream=Stream),
)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything treat CPU tensors as it would treat a GPU's."""
    monkeypatch.setattr(choice, "is_on_gpu", lambda tensor: True)
    monkeypatch.setattr(choice, "cuda_kernels_run", lambda: choice._asked_for() in {None, "cuda"})
    current = SimpleNamespace(cuda_stream=STREAM)
    monkeypatch.setattr(cuda, "import_cupy", lambda: FAKE_CUPY)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    for name in OPERATORS:
        monkeypatch.setattr(cpu, name, getattr(cuda, name))
