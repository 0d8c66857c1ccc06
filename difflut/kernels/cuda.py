"""The GPU kernels, as functions of CUDA tensors; what they compute is said in `difflut.kernels.cpu`.

CuPy compiles csrc/*.cu on first use, for each number of pins, and launches on torch's current stream. Torch allocates
everything, nothing waits for the device, and how sums are split depends on shapes alone, so equal arguments give equal
bits. Features, values and their gradients are float32 or bfloat16, all of one type; tables and theirs are float32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from difflut._resources import kernel_sources
from difflut.errors import KernelError
from difflut.kernels.choice import import_cupy
from difflut.kernels.cpu import DIFFERENCES, GIVEN, LANES, SQUASHED

OPTIONS = ("--std=c++17",)
ROW_OPTIONS = {torch.float32: (), torch.bfloat16: ("-DDL_ROWS_BF16",)}
WARP = 32
WARPS = 4  # in a block of kernels that give each warp work of its own
THREADS = 256  # in a block of the others
ENOUGH_WARPS = 8192  # about as many as an H100 holds; if nodes are fewer, several warps share the samples of one
SAMPLES_PER_WARP = 128  # at least, and a multiple of what any kernel takes at a time
BUFFER_BYTES = 2**25  # of pin gradients at a time; they fit the L2 cache of a large GPU
MAX_BATCH = 2**30

_TYPES = {"float*": torch.float32, "Index*": torch.int64, "unsigned char*": torch.uint8}
_NUMBERS: dict[str, Callable[[float], np.generic]] = {"int": np.int32, "Index": np.int64, "float": np.float32}


class Source(NamedTuple):
    """What a module of kernels is compiled from."""

    file: str
    options: tuple[str, ...]
    rows: torch.dtype


def table_kernels(n: int, rows: torch.dtype) -> Source:
    """Return the kernels for nodes with `n` pins."""
    return Source("tables.cu", (*OPTIONS, f"-DDL_PINS={n}", *ROW_OPTIONS[rows]), rows)


def row_kernels(rows: torch.dtype) -> Source:
    """Return the kernels that do not depend on the number of pins."""
    return Source("rows.cu", (*OPTIONS, *ROW_OPTIONS[rows]), rows)


@cache
def read_source(file: str) -> str:
    """Return the text of a file of kernels, after the headers it needs."""
    folder = kernel_sources()
    names = ("lookup.h", "gpu.h", file)
    return "".join(f'#line 1 "{name}"\n{(folder / name).read_text(encoding="utf-8")}' for name in names)


@cache
def read_parameters(file: str) -> dict[str, tuple[str, ...]]:
    """Return the types of the parameters of every kernel in a file, without ``const``, as in ``("Row*", "int")``."""
    kernels = re.findall(r"DL_KERNEL (\w+)\(([^)]*)\)", read_source(file))
    parameter = re.compile(r"(?:const )?([\w ]+?\*?) ?(?:__restrict__ )?\w+$")
    found = {name: [parameter.match(" ".join(text.split())) for text in listed.split(",")] for name, listed in kernels}
    return {name: tuple(match[1] for match in matches if match) for name, matches in found.items()}


def read_tables(table: Tensor, features: Tensor, wiring: Tensor) -> tuple[Tensor, Tensor]:
    """See `cpu.read_tables`."""
    nodes, outputs, _ = table.shape
    features = features.contiguous()
    inputs, batch = features.shape
    padded = -(-batch // LANES) * LANES
    values = features.new_empty(nodes * outputs, batch)
    address = torch.empty(nodes, padded, dtype=torch.uint8, device=features.device)
    sizes = (nodes, outputs, inputs, batch, padded)
    kernels = table_kernels(wiring.shape[1], features.dtype)
    _launch(kernels, "dl_read_tables", _tiles(nodes, batch), table, features, wiring, values, address, *sizes)
    return values, address


def expect(table: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    """See `cpu.expect`."""
    nodes, outputs, entries = table.shape
    inputs, batch = features.shape
    values = features.new_empty(nodes * outputs, batch)
    kernels = table_kernels(wiring.shape[1], features.dtype)
    arguments = (table, features, wiring, values, nodes, outputs, inputs, batch)
    _launch(kernels, "dl_expect", _tiles(nodes, batch), *arguments, shared=WARPS * entries)
    return values


def sum_entries(grad: Tensor, address: Tensor, n: int) -> Tensor:
    """See `cpu.sum_entries`."""
    rows, batch = grad.shape
    nodes, padded = address.shape
    warps = min(WARPS, 2**8 // 2**n)  # 32 KiB of shared memory
    slices, size = _slice(rows, batch)
    parts = torch.empty(slices, rows * 2**n, dtype=torch.float32, device=grad.device)
    arguments = (grad, address, parts, rows, rows // nodes, batch, padded, size)
    grid = (-(-rows // warps), slices)
    kernels = table_kernels(n, grad.dtype)
    _launch(kernels, "dl_sum_entries", grid, *arguments, block=(WARP, warps), shared=warps * WARP * 2**n)
    return _add_slices(parts).view(nodes, rows // nodes, 2**n)


def expect_table_gradient(kind: int, grad: Tensor, table: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    """See `cpu.expect_table_gradient`."""
    rows, batch = grad.shape
    nodes, n = wiring.shape
    slices, size = _slice(rows, batch)
    parts = torch.empty(slices, rows * 2**n, dtype=torch.float32, device=grad.device)
    arguments = (grad, features, wiring, parts, rows, rows // nodes, features.shape[0], batch, size)
    grid = (-(-rows // WARPS), slices, max(1, 2**n // 64))  # a warp sums 64 entries
    _launch(table_kernels(n, grad.dtype), "dl_expect_table_gradient", grid, *arguments)
    result = _add_slices(parts).view(nodes, rows // nodes, 2**n)
    return result * table * (1 - table) if kind == SQUASHED else result


def squash(logits: Tensor) -> Tensor:
    """See `cpu.squash`."""
    return torch.sigmoid(logits)


def spread(table: Tensor, diagonal: Tensor) -> Tensor:
    """See `cpu.spread`."""
    nodes, outputs, entries = table.shape
    n = entries.bit_length() - 1
    result = table.new_empty(nodes, outputs, n, entries // 2)
    _launch_on_entries("dl_spread", n, table, diagonal, result, nodes * outputs)
    return result


def sum_by_feature(kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    """See `cpu.sum_by_feature`."""
    inputs, batch = features.shape
    nodes, n = wiring.shape
    result = torch.empty_like(features)
    readers, offsets = _find_readers(wiring, inputs)
    if kind == DIFFERENCES:
        sizes = (grad.shape[0] // nodes, inputs, batch, address.shape[1])
        tensors = (grad, table, address, readers, offsets, result)
        _launch(table_kernels(n, grad.dtype), "dl_sum_reads", _tiles(inputs, batch), *tensors, *sizes)
        return result
    for begin, pin_grad in _pin_gradients(kind, grad, table, address, features, wiring):
        width = pin_grad.shape[1]
        arguments = (pin_grad, readers, offsets, result, inputs, batch, begin, width)
        _launch(row_kernels(grad.dtype), "dl_sum_rows", _tiles(inputs, width), *arguments)
    return result


def differentiate(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor
) -> tuple[Tensor, Tensor]:
    """See `cpu.differentiate`."""
    if kind == DIFFERENCES:
        table_grad = sum_entries(grad, address, wiring.shape[1])
    else:
        table_grad = expect_table_gradient(kind, grad, table, features, wiring)
    return sum_by_feature(kind, grad, table, address, features, wiring), table_grad


def correlate(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor, candidates: Tensor
) -> Tensor:
    """See `cpu.correlate`."""
    inputs, batch = features.shape
    choices = candidates.shape[2]
    pins = candidates.numel() // choices
    parts = []
    for begin, pin_grad in _pin_gradients(kind, grad, table, address, features, wiring):
        width = pin_grad.shape[1]
        groups = -(-choices // 16)
        slices, size = _slice(pins * groups, width)
        parts.append(torch.empty(slices, pins * choices, dtype=torch.float32, device=grad.device))
        sizes = (pins, choices, inputs, batch, begin, width, size)
        grid = (-(-pins // WARPS), groups, slices)
        _launch(row_kernels(grad.dtype), "dl_correlate", grid, pin_grad, features, candidates, parts[-1], *sizes)
    return _add_slices(torch.cat(parts)).view(candidates.shape)


def differentiate_choice(gains: Tensor, logits: Tensor, tau: float) -> Tensor:
    """See `cpu.differentiate_choice`."""
    result = torch.empty_like(logits)
    choices = logits.shape[-1]
    pins = logits.numel() // choices
    arguments = (gains, logits, result, pins, choices, float(tau))
    _launch(row_kernels(torch.float32), "dl_differentiate_choice", (-(-pins // WARPS),), *arguments)
    return result


def choose(logits: Tensor, candidates: Tensor) -> Tensor:
    """See `cpu.choose`."""
    chosen = candidates.new_empty(candidates.shape[:2])
    choices = candidates.shape[2]
    pins = chosen.numel()
    arguments = (logits, candidates, chosen, pins, choices)
    _launch(row_kernels(torch.float32), "dl_choose", (-(-pins // WARPS),), *arguments)
    return chosen


def _pin_gradients(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Yield the gradients (pins, width) of all pins at samples of the batch, with the first of these samples."""
    if kind == GIVEN:
        yield 0, grad
        return
    inputs, batch = features.shape
    nodes, n = wiring.shape
    outputs = grad.shape[0] // nodes
    kernels = table_kernels(n, grad.dtype)
    coefficients = table if kind == DIFFERENCES else _find_coefficients(table)
    at_a_time = max(1, BUFFER_BYTES // (nodes * n * grad.element_size() * SAMPLES_PER_WARP)) * SAMPLES_PER_WARP
    for begin in range(0, batch, at_a_time):
        width = min(at_a_time, batch - begin)
        pin_grad = grad.new_empty(nodes * n, width)
        grid = _tiles(nodes, width)
        if kind == DIFFERENCES:
            sizes = (nodes, outputs, batch, address.shape[1], begin, width)
            _launch(kernels, "dl_differentiate_reads", grid, grad, table, address, pin_grad, *sizes)
        else:
            sizes = (nodes, outputs, inputs, batch, begin, width)
            arguments = (grad, coefficients, features, wiring, pin_grad, *sizes)
            _launch(kernels, "dl_differentiate_expected", grid, *arguments, shared=WARPS * 2**n)
        yield begin, pin_grad


def _find_coefficients(table: Tensor) -> Tensor:
    """Return the coefficients (nodes, outputs, 2**n) of the polynomials of multilinear extensions."""
    nodes, outputs, entries = table.shape
    result = torch.empty_like(table)
    _launch_on_entries("dl_find_coefficients", entries.bit_length() - 1, table, result, nodes * outputs)
    return result


_readers = WeakTensorKeyDictionary()


def _find_readers(wiring: Tensor, inputs: int) -> tuple[Tensor, Tensor]:
    """Return the pins in the order of the inputs that they read, and where those of each input begin, int64.

    They are kept as long as a wiring lives and does not change. What a CUDA graph computes while it is captured is
    there only after a replay, so it is not kept.
    """
    version = (wiring._version, inputs)  # noqa: SLF001 -- torch has no public name for it
    kept = _readers.get(wiring)  # type: ignore[no-untyped-call]
    if kept is None or kept[0] != version:
        reads, readers = wiring.flatten().sort(stable=True)
        offsets = torch.searchsorted(reads, torch.arange(inputs + 1, device=wiring.device))
        kept = (version, readers, offsets)
        if not torch.cuda.is_current_stream_capturing():
            _readers[wiring] = kept
    return kept[1], kept[2]


def _add_slices(parts: Tensor) -> Tensor:
    """Return the sums (count,) of parts (slices, count), in the order of the slices."""
    slices, count = parts.shape
    if slices == 1:
        return parts[0]
    sums = parts.new_empty(count)
    arguments = (parts, sums, count, slices)
    _launch(row_kernels(torch.float32), "dl_add_slices", (-(-count // THREADS),), *arguments, block=(THREADS,))
    return sums


def _tiles(rows: int, batch: int) -> tuple[int, int]:
    """Return a grid with a warp for each row, or for each row's part of the batch if rows are few."""
    shares = min(-(-ENOUGH_WARPS // rows), -(-batch // SAMPLES_PER_WARP), 2**15)
    return -(-rows // WARPS), shares


def _slice(rows: int, batch: int) -> tuple[int, int]:
    """Return into how many slices the batch is cut for sums of so many rows, and samples in a slice."""
    shares = min(-(-ENOUGH_WARPS // rows), -(-batch // (2 * SAMPLES_PER_WARP)), 2**15)
    size = -(-batch // (shares * WARP)) * WARP
    return -(-batch // size), size


def _launch_on_entries(kernel: str, n: int, *arguments: Tensor | float) -> None:
    """Launch a kernel with a thread for each table entry; the last argument is the number of tables."""
    grid = (-(-int(arguments[-1]) * 2**n // THREADS),)
    _launch(table_kernels(n, torch.float32), kernel, grid, *arguments, block=(THREADS,), shared=THREADS)


def _launch(
    source: Source,
    kernel: str,
    grid: tuple[int, ...],
    *arguments: Tensor | float,
    block: tuple[int, ...] = (WARP, WARPS),
    shared: int = 0,
) -> None:
    """Launch a kernel, with `shared` floats of shared memory for each block."""
    device = next(x.device for x in arguments if isinstance(x, Tensor))
    values = _convert(source, kernel, device, arguments)
    cupy = import_cupy()
    with torch.cuda.device(device), cupy.cuda.Device(device.index):
        stream = torch.cuda.current_stream(device)
        with _wrap_stream(_TorchStream(stream.cuda_stream, device.index)):
            _find_kernel(source, kernel, device.index)(grid, block, values, shared_mem=4 * shared)


def _convert(
    source: Source, kernel: str, device: torch.device, arguments: tuple[Tensor | float, ...]
) -> tuple[Any, ...]:
    """Return the arguments in the types of the kernel's parameters, which CuPy cannot check."""
    values: list[Any] = []
    for number, (parameter, argument) in enumerate(zip(read_parameters(source.file)[kernel], arguments, strict=True)):
        if not isinstance(argument, Tensor):
            values.append(_NUMBERS[parameter](argument))
            continue
        wanted = source.rows if parameter == "Row*" else _TYPES[parameter]
        if argument.dtype != wanted or argument.device != device or not argument.is_contiguous():
            raise KernelError(
                f"{kernel}: argument {number} is {argument.dtype} on {argument.device}, "
                f"{'' if argument.is_contiguous() else 'not '}contiguous; expected {wanted} on {device}, contiguous."
            )
        if argument.dim() == 2 and argument.shape[1] > MAX_BATCH:
            raise KernelError(f"{kernel}: a batch of {argument.shape[1]} samples; GPU kernels take up to {MAX_BATCH}.")
        values.append(argument.data_ptr())
    return tuple(values)


@cache
def _find_kernel(source: Source, kernel: str, device_index: int) -> Any:
    """Return a kernel for the current device, compiled if it is not in CuPy's cache."""
    if torch.cuda.is_current_stream_capturing():
        raise KernelError(
            f"{kernel} is not compiled yet for GPU {device_index}; run a step once before capturing it in a CUDA graph."
        )
    return _load_module(source).get_function(kernel)


@cache
def _load_module(source: Source) -> Any:
    return import_cupy().RawModule(code=read_source(source.file), options=source.options)


class _TorchStream(NamedTuple):
    """A stream of torch, for CuPy."""

    pointer: int
    device_index: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


@lru_cache(maxsize=64)
def _wrap_stream(stream: _TorchStream) -> Any:
    return import_cupy().cuda.Stream.from_external(stream)
