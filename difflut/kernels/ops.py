"""The kernels as torch operators ``torch.ops.difflut.*`` for both devices, which torch.compile can see the shapes of.

They take tensors of any layout and have no gradient of their own: `difflut.rules.fused` joins them to rules.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from difflut.kernels import cpu, cuda

_RULE = "int kind, Tensor grad, Tensor table, Tensor address, Tensor features, Tensor wiring"
_TAKEN_AS_IT_LIES = {"read_tables": 1}
"""The places of arguments that kernels take in any layout; all others are made contiguous for them."""

_library = torch.library.Library("difflut", "DEF")  # type: ignore[no-untyped-call]


def _define(schema: str, shapes: Callable[..., object]) -> None:
    name = schema[: schema.index("(")]
    _library.define(schema)  # type: ignore[no-untyped-call]
    for key, kernels, make_contiguous in (("CPU", cpu, cpu.make_contiguous), ("CUDA", cuda, Tensor.contiguous)):
        _library.impl(name, _implement(kernels, name, make_contiguous), key)  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"difflut::{name}", shapes, lib=_library)


def _implement(kernels: ModuleType, name: str, make_contiguous: Callable[[Tensor], Tensor]) -> Callable[..., object]:
    def run(*arguments: object) -> object:
        left = _TAKEN_AS_IT_LIES.get(name)
        given = [make_contiguous(x) if isinstance(x, Tensor) and i != left else x for i, x in enumerate(arguments)]
        return getattr(kernels, name)(*given)

    return run


def _rows(table: Tensor, features: Tensor) -> Tensor:
    return features.new_empty(table.shape[0] * table.shape[1], features.shape[1])


def _shapes_read_tables(table: Tensor, features: Tensor, wiring: Tensor) -> tuple[Tensor, Tensor]:
    padded = (features.shape[1] + cpu.LANES - 1) // cpu.LANES * cpu.LANES
    return _rows(table, features), features.new_empty(wiring.shape[0], padded, dtype=torch.uint8)


def _shapes_expect(table: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    return _rows(table, features)


def _shapes_sum_entries(grad: Tensor, address: Tensor, n: int) -> Tensor:
    nodes = address.shape[0]
    return grad.new_empty(nodes, grad.shape[0] // nodes, 2**n, dtype=torch.float32)


def _shapes_expect_table_gradient(kind: int, grad: Tensor, table: Tensor, features: Tensor, wiring: Tensor) -> Tensor:
    nodes, n = wiring.shape
    return grad.new_empty(nodes, grad.shape[0] // nodes, 2**n, dtype=torch.float32)


def _shapes_spread(table: Tensor, diagonal: Tensor) -> Tensor:
    nodes, outputs, entries = table.shape
    return table.new_empty(nodes, outputs, entries.bit_length() - 1, entries // 2)


def _shapes_squash(logits: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _shapes_sum_by_feature(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor
) -> Tensor:
    return features.new_empty(features.shape)


def _shapes_differentiate(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor
) -> tuple[Tensor, Tensor]:
    return features.new_empty(features.shape), _shapes_expect_table_gradient(kind, grad, table, features, wiring)


def _shapes_correlate(
    kind: int, grad: Tensor, table: Tensor, address: Tensor, features: Tensor, wiring: Tensor, candidates: Tensor
) -> Tensor:
    return features.new_empty(candidates.shape, dtype=torch.float32)


def _shapes_differentiate_choice(gains: Tensor, logits: Tensor, tau: float) -> Tensor:
    return torch.empty_like(logits)


def _shapes_choose(logits: Tensor, candidates: Tensor) -> Tensor:
    return candidates.new_empty(candidates.shape[:2])


_define(
    "read_tables(Tensor table, Tensor features, Tensor wiring) -> (Tensor, Tensor)",
    _shapes_read_tables,
)
_define("expect(Tensor table, Tensor features, Tensor wiring) -> Tensor", _shapes_expect)
_define("sum_entries(Tensor grad, Tensor address, int n) -> Tensor", _shapes_sum_entries)
_define(
    "expect_table_gradient(int kind, Tensor grad, Tensor table, Tensor features, Tensor wiring) -> Tensor",
    _shapes_expect_table_gradient,
)
_define("spread(Tensor table, Tensor diagonal) -> Tensor", _shapes_spread)
_define("squash(Tensor logits) -> Tensor", _shapes_squash)
_define(f"sum_by_feature({_RULE}) -> Tensor", _shapes_sum_by_feature)
_define(f"differentiate({_RULE}) -> (Tensor, Tensor)", _shapes_differentiate)
_define(f"correlate({_RULE}, Tensor candidates) -> Tensor", _shapes_correlate)
_define(
    "differentiate_choice(Tensor gains, Tensor logits, float tau) -> Tensor",
    _shapes_differentiate_choice,
)
_define("choose(Tensor logits, Tensor candidates) -> Tensor", _shapes_choose)

read_tables = torch.ops.difflut.read_tables
expect = torch.ops.difflut.expect
sum_entries = torch.ops.difflut.sum_entries
expect_table_gradient = torch.ops.difflut.expect_table_gradient
spread = torch.ops.difflut.spread
squash = torch.ops.difflut.squash
sum_by_feature = torch.ops.difflut.sum_by_feature
differentiate = torch.ops.difflut.differentiate
correlate = torch.ops.difflut.correlate
differentiate_choice = torch.ops.difflut.differentiate_choice
choose = torch.ops.difflut.choose
