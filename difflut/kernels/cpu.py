"""The CPU kernels, as functions of tensors.

Tensors are contiguous float32, indices int64. A batch may have any size: the kernels take multiples of 16, so others
are padded with zeros, which add nothing to a sum over the batch.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from difflut.errors import KernelError
from difflut.kernels.buffers import empty
from difflut.kernels.choice import library_path

LANES = 16
GIVEN, DIFFERENCES, EXPECTED = range(3)
"""Kinds of rules, by what the gradient of a pin is computed from; as in cpu_kernels.cpp."""

SQUASHED = 3
"""As EXPECTED, of tables whose gradient is wanted in the logits of their entries."""


_FLOATS, _BYTES, _INDICES = torch.float32, torch.uint8, torch.int64
_RULE_TENSORS = {"grad": _FLOATS, "table": _FLOATS, "address": _BYTES, "features": _FLOATS, "wiring": _INDICES}


class _RuleArguments(ctypes.Structure):
    """As in cpu_kernels.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _RULE_TENSORS),
        ("nodes", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("batch", ctypes.c_int64),
    )


_RULE, _COUNT, _INT, _FLOAT = ctypes.POINTER(_RuleArguments), ctypes.c_int64, ctypes.c_int, ctypes.c_float
_Parameter = torch.dtype | type[Any]
_PARAMETERS: dict[str, tuple[_Parameter, ...]] = {
    "dl_threshold": (_FLOATS, _BYTES, _COUNT),
    "dl_threshold_transposed": (_FLOATS, _COUNT, _BYTES, *[_COUNT] * 2),
    "dl_read_tables": (_INT, _FLOATS, _BYTES, _INDICES, _FLOATS, _BYTES, *[_COUNT] * 3),
    "dl_sum_entries": (_INT, _FLOATS, _BYTES, _FLOATS, *[_COUNT] * 3),
    "dl_expect": (_INT, _FLOATS, _FLOATS, _INDICES, _FLOATS, *[_COUNT] * 4),
    "dl_expect_table_gradient": (_INT, _FLOATS, _FLOATS, _INDICES, _FLOATS, *[_COUNT] * 3),
    "dl_spread": (_INT, *[_FLOATS] * 3, _COUNT),
    "dl_find_coefficients": (_INT, *[_FLOATS] * 2, _COUNT),
    "dl_squash": (*[_FLOATS] * 2, _COUNT),
    "dl_differentiate_squash": (*[_FLOATS] * 2, _COUNT),
    "dl_repeat_rows": (*[_FLOATS] * 2, *[_COUNT] * 3),
    "dl_choose": (_FLOATS, _INDICES, _INDICES, *[_COUNT] * 2),
    "dl_sum_by_feature": (_INT, _INT, _RULE, _FLOATS, _FLOATS, _COUNT),
    "dl_correlate": (_INT, _INT, _RULE, _INDICES, _FLOATS, *[_COUNT] * 2),
    "dl_differentiate_choice": (*[_FLOATS] * 3, *[_COUNT] * 2, _FLOAT),
    "dl_transpose": (_FLOATS, _COUNT, _FLOATS, *[_COUNT] * 2),
}
"""What each kernel takes, but for the number of threads, which is last; a tensor's type stands for a pointer to it."""


def make_contiguous(x: Tensor) -> Tensor:
    """Return what `Tensor.contiguous` does, faster for a transposed matrix of float32."""
    if not _is_transposed(x):
        return x.contiguous()
    result = empty(*x.shape)
    run_kernel("dl_transpose", x, x.stride(1), result, x.shape[1], x.shape[0])
    return result


def _is_transposed(x: Tensor) -> bool:
    """Whether it is a matrix of float32, a column of which lies in one piece."""
    return x.dim() == 2 and x.dtype == torch.float32 and x.stride(0) == 1 and 1 != x.stride(1) >= x.shape[0]


def read_tables(table: Tensor, features: Tensor, wiring: Tensor) -> tuple[Tensor, Tensor]:
    """Return the entries (nodes * outputs, batch) at the thresholded pins, and their addresses.

    Parameters
    ----------
    table : (nodes, outputs, 2**n).
    features : (inputs, batch), in any layout.
    wiring : (nodes, n).

    Returns
    -------
    values, and addresses uint8 (nodes, padded batch).
    """
    _check_indices(wiring, features.shape[0])
    nodes, outputs, _ = table.shape
    bits = _threshold(features)
    batch = bits.shape[1]
    values = empty(nodes * outputs, batch)
    address = empty(nodes, batch, dtype=torch.uint8)
    run_kernel("dl_read_tables", wiring.shape[1], table, bits, wiring, values, address, nodes, outputs, batch)
    return _cut(values, features.shape[1]), address


def _threshold(features: Tensor) -> Tensor:
    """Return the features as bits (inputs, padded batch)."""
    inputs, batch = features.shape
    bits = empty(inputs, batch + -batch % LANES, dtype=torch.uint8)
    if _is_transposed(features):
        run_kernel("dl_threshold_transposed", features, features.stride(1), bits, batch, inputs)
    else:
        run_kernel("dl_threshold", _pad(features.contiguous()), bits, bits.numel())
    return bits


def expect(table: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    """Return the multilinear extensions (nodes * outputs, batch) at the pins; shapes as in `read_tables`."""
    _check_indices(wiring, features.shape[0])
    padded = _pad(features)
    nodes, outputs, _ = table.shape
    inputs, batch = padded.shape
    values = empty(nodes * outputs, batch)
    run_kernel("dl_expect", wiring.shape[1], table, padded, wiring, values, inputs, nodes, outputs, batch)
    return _cut(values, features.shape[1])


def sum_entries(grad: Tensor, address: Tensor, n: int) -> Tensor:
    """Return the table gradient (nodes, outputs, 2**n) of `read_tables`, for that of its values."""
    padded = _pad(grad)
    nodes, batch = address.shape
    outputs = grad.shape[0] // nodes
    result = empty(nodes, outputs, 2**n)
    run_kernel("dl_sum_entries", n, padded, address, result, nodes, outputs, batch)
    return result


def expect_table_gradient(kind: int, grad: Tensor, table: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    """Return the table gradient (nodes, outputs, 2**n) of `expect`, for that of its values.

    `kind` is EXPECTED or SQUASHED.
    """
    padded, padded_grad = _pad(features), _pad(grad)
    nodes, n = wiring.shape
    outputs = grad.shape[0] // nodes
    result = empty(nodes, outputs, 2**n)
    run_kernel("dl_expect_table_gradient", n, padded_grad, padded, wiring, result, nodes, outputs, padded.shape[1])
    return _unsquash(kind, result, table)


def _unsquash(kind: int, grad: Tensor, table: Tensor) -> Tensor:
    """Return the gradient that a kind of rule wants, for that of the table; may overwrite it."""
    if kind == SQUASHED:
        run_kernel("dl_differentiate_squash", grad, table, grad.numel())
    return grad


def squash(logits: Tensor) -> Tensor:
    """Return the table of these logits, `torch.sigmoid` of them."""
    result = empty(*logits.shape)
    run_kernel("dl_squash", logits, result, logits.numel())
    return result


def spread(table: Tensor, diagonal: Tensor) -> Tensor:
    """Return differences (nodes, outputs, n, 2**(n - 1)) across each address bit of the tables spread over addresses.

    Spreading multiplies a table's Walsh transform by `diagonal` (2**n).
    """
    nodes, outputs, entries = table.shape
    n = entries.bit_length() - 1
    result = empty(nodes, outputs, n, entries // 2)
    run_kernel("dl_spread", n, table, diagonal, result, nodes * outputs)
    return result


def repeat_rows(x: Tensor, times: int) -> Tensor:
    """Return (rows * times, batch): every row of x (rows, batch) that many times."""
    rows, batch = x.shape
    result = empty(rows * times, batch)
    run_kernel("dl_repeat_rows", make_contiguous(x), result, rows, times, batch)
    return result


def sum_by_feature(kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    """Return the gradient (inputs, batch) of the features, summed over the pins that read them.

    Parameters
    ----------
    kind : what the gradient of a pin is computed from: GIVEN, it is `grad` (nodes * n, batch); DIFFERENCES, `table` is
        what `spread` returned; EXPECTED or SQUASHED, it is the table.
    grad : gradient of the values, (nodes * outputs, batch).
    address : as `read_tables` returned it; not read unless `kind` is DIFFERENCES.
    features, wiring : as in `read_tables`.
    """
    return _sum_by_feature(kind, grad, table, address, features, wiring, None)


def differentiate(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what `sum_by_feature` does, and the table gradient (nodes, outputs, 2**n), faster than one by one.

    `kind` is not GIVEN.
    """
    nodes, n = wiring.shape
    table_grad = empty(nodes, grad.shape[0] // nodes, 2**n)
    sums = _sum_by_feature(kind, grad, table, address, features, wiring, table_grad)
    return sums, _unsquash(kind, table_grad, table)


def correlate(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor, candidates: Tensor
) -> Tensor:
    """Return (nodes, n, choices): sums over the batch of a pin's gradient times each of its candidate features.

    `candidates` is int64 (nodes, n, choices); all else as in `sum_by_feature`.
    """
    _check_indices(candidates, features.shape[0])
    padded, padded_grad = _pad(features), _pad(grad)
    result = empty(*candidates.shape)
    sizes = (features.shape[0], candidates.shape[2])
    kind, weights = _find_weights(kind, table)
    arguments = _rule_arguments(padded_grad, weights, address, padded, wiring)
    run_kernel("dl_correlate", kind, wiring.shape[1], arguments, candidates, result, *sizes)
    return result


def differentiate_choice(gains: Tensor, logits: Tensor, tau: float) -> Tensor:
    """Return the gradient of sum_k softmax(logits / tau)_k * gains_k in the logits; all are (nodes, n, choices)."""
    result = torch.empty_like(logits)
    choices = logits.shape[-1]
    run_kernel("dl_differentiate_choice", gains, logits, result, logits.numel() // choices, choices, tau)
    return result


def choose(logits: Tensor, candidates: Tensor) -> Tensor:
    """Return int64 (nodes, n): the candidate with the largest logit, the first of equals."""
    chosen = candidates.new_empty(candidates.shape[:2])
    run_kernel("dl_choose", logits, candidates, chosen, chosen.numel(), candidates.shape[2])
    return chosen


def _sum_by_feature(
    kind: int,
    grad: Tensor,
    table: Tensor,
    address: Tensor,
    features: Tensor,
    wiring: Tensor,
    table_grad: Tensor | None,
) -> Tensor:
    """`sum_by_feature`, which fills in the table gradient as well if there is memory for it."""
    padded, padded_grad = _pad(features), _pad(grad)
    result = empty(*padded.shape)
    kind, weights = _find_weights(kind, table)
    arguments = _rule_arguments(padded_grad, weights, address, padded, wiring)
    run_kernel("dl_sum_by_feature", kind, wiring.shape[1], arguments, result, table_grad, features.shape[0])
    return _cut(result, features.shape[1])


def _find_weights(kind: int, table: Tensor) -> tuple[int, Tensor]:
    """Return the kind that the library computes, and what it reads for the table.

    For multilinear extensions, that are the coefficients (nodes, outputs, 2**n) of their polynomials; coefficient a is
    that of the product of the pins whose bits are set in a.
    """
    if kind not in {EXPECTED, SQUASHED}:
        return kind, table
    nodes, outputs, entries = table.shape
    result = empty(*table.shape)
    run_kernel("dl_find_coefficients", entries.bit_length() - 1, table, result, nodes * outputs)
    return EXPECTED, result


def _rule_arguments(grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor) -> ctypes.Structure:
    nodes = wiring.shape[0]
    given = zip(_RULE_TENSORS.items(), (grad, table, address, features, wiring), strict=True)
    pointers = [_point(tensor, dtype, name) for (name, dtype), tensor in given]
    return _RuleArguments(*pointers, nodes, grad.shape[0] // nodes, features.shape[1])


def run_kernel(name: str, *arguments: Tensor | ctypes.Structure | float | None) -> None:
    """Run a function of the compiled library, on as many threads as torch; every kernel starts here.

    Raises
    ------
    KernelError : a tensor is not of the type that the kernel reads or writes, which is memory of another size.
    """
    values = [
        _point(argument, parameter, name)
        if isinstance(argument, Tensor)
        else ctypes.byref(argument)
        if isinstance(argument, ctypes.Structure)
        else argument
        for parameter, argument in zip(_PARAMETERS[name], arguments, strict=True)
    ]
    getattr(_library(), name)(*values, torch.get_num_threads())


def _point(tensor: Tensor, dtype: _Parameter, where: str) -> int:
    if tensor.dtype != dtype:
        raise KernelError(
            f"The CPU kernels got {tensor.dtype} for {where}, where they take {dtype}; convert it, or set "
            f"DIFFLUT_KERNELS=torch to do without them."
        )
    return tensor.data_ptr()


def check_index_type(indices: Tensor) -> None:
    """Raise TypeError unless these are indices as every implementation takes them."""
    if indices.dtype != torch.int64:
        raise TypeError(f"Pins are wired by indices of type {indices.dtype}; they must be torch.int64.")


def _check_indices(indices: Tensor, limit: int) -> None:
    check_index_type(indices)
    if not _library().dl_all_below(indices.data_ptr(), indices.numel(), limit):
        raise IndexError(f"A pin is wired to an input that does not exist; there are {limit}.")


def _pad(rows: Tensor) -> Tensor:
    missing = -rows.shape[1] % LANES
    return torch.nn.functional.pad(rows, (0, missing)) if missing else rows


def _cut(rows: Tensor, batch: int) -> Tensor:
    return rows if rows.shape[1] == batch else rows[:, :batch].contiguous()


def count_walks() -> int:
    """Return for how many wirings the kernels keep an order of the nodes, with 32 bytes per pin each."""
    count: int = _library().dl_count_walks()
    return count


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(library_path()))
    for name, parameters in _PARAMETERS.items():
        function = getattr(library, name)
        function.argtypes = [*(ctypes.c_void_p if isinstance(x, torch.dtype) else x for x in parameters), ctypes.c_int]
        function.restype = None
    library.dl_all_below.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    library.dl_all_below.restype = ctypes.c_int
    library.dl_count_walks.restype = ctypes.c_int64
    return library
