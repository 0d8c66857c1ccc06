"""The GPU kernels as NVRTC compiles them, with the options that CuPy gives it; no GPU is needed."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import pytest
import torch

from difflut.kernels import choice, cuda

REGISTERS_OF_SM = 65536
BLOCKS_PER_SM = 3  # at least, of four warps each, so that some compute while others wait for memory


class Usage(NamedTuple):
    """What a kernel takes of a multiprocessor."""

    registers: int
    stack_bytes: int
    spilled_bytes: int


@cache
def load_nvrtc() -> ctypes.CDLL:
    return ctypes.CDLL(str(files("nvidia.cuda_nvrtc") / "lib" / "libnvrtc.so.12"))


def compile_kernels(source: cuda.Source, architecture: int, *options: str) -> dict[str, Usage]:
    """Compile kernels for a GPU; a RuntimeError with NVRTC's messages if that fails."""
    nvrtc = load_nvrtc()
    program = ctypes.c_void_p()
    text = cuda.read_source(source.file).encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, source.file.encode(), 0, None, None) == 0
    given = [*source.options, "-ftz=true", f"--gpu-architecture=sm_{architecture}"]
    given += ["--device-as-default-execution-space", "--ptxas-options=-v", *options]
    failed = nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*map(str.encode, given)))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(log.value.decode())
    assert "warning" not in log.value.decode()
    return read_usage(log.value.decode())


def read_usage(log: str) -> dict[str, Usage]:
    pattern = (
        r"Function properties for (\w+)\n"
        r".*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
        r".*Used (\d+) registers"
    )
    return {
        name: Usage(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in re.findall(pattern, log)
    }


def assert_fits(source: cuda.Source, architecture: int) -> None:
    usage = compile_kernels(source, architecture)
    assert usage.keys() == cuda.read_parameters(source.file).keys()
    for name, used in usage.items():
        assert (used.stack_bytes, used.spilled_bytes) == (0, 0), name
        assert used.registers * cuda.WARP * cuda.WARPS * BLOCKS_PER_SM <= REGISTERS_OF_SM, name


TYPES_AND_ARCHITECTURES = [
    pytest.param(torch.float32, 80, id="float32-sm_80"),
    pytest.param(torch.float32, 90, id="float32-sm_90"),
    pytest.param(torch.bfloat16, 80, id="bfloat16-sm_80", marks=pytest.mark.slow),
    pytest.param(torch.bfloat16, 90, id="bfloat16-sm_90", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("rows", "architecture"), TYPES_AND_ARCHITECTURES)
@pytest.mark.parametrize("n", range(1, choice.MAX_PINS + 1))
def test_kernels_on_tables_fit_the_registers(n: int, rows: torch.dtype, architecture: int) -> None:
    assert_fits(cuda.table_kernels(n, rows), architecture)


@pytest.mark.parametrize(("rows", "architecture"), TYPES_AND_ARCHITECTURES)
def test_kernels_on_rows_fit_the_registers(rows: torch.dtype, architecture: int) -> None:
    assert_fits(cuda.row_kernels(rows), architecture)


def test_registers_that_do_not_suffice_are_noticed() -> None:
    usage = compile_kernels(cuda.table_kernels(6, torch.float32), 90, "--maxrregcount=40")
    assert usage["dl_expect_table_gradient"].spilled_bytes > 0


def test_a_mistake_in_a_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = cuda.read_source("rows.cu").replace("count) dl_trap()", "count) dl_stop()")
    monkeypatch.setattr(cuda, "read_source", lambda file: text)
    with pytest.raises(RuntimeError, match=r"gpu.h\(\d+\): error: identifier \"dl_stop\" is undefined"):
        compile_kernels(cuda.row_kernels(torch.float32), 90)
