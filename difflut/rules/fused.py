"""Rules on tables as the kernels run them: pins are read where they are, and their gradients go where they belong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from difflut.kernels import choice, chosen_for, ops
from difflut.kernels.cpu import DIFFERENCES, EXPECTED, make_contiguous
from difflut.rules.pins import Pins, Routing, WiredPins, gather_pins


class TableRule(NamedTuple):
    """A training rule on tables (num_nodes, outputs, 2**n).

    Parameters
    ----------
    twin : the rule in torch, on gathered pins, differentiable as often as the rule is.
    reads_entries : it answers the entry at the thresholded pins, else the expectation of `multilinear`.
    diagonal : its pin gradients are differences of the tables after their Walsh transforms have been multiplied by
        this function of n, float64 (2**n,); None if its gradients are those of `multilinear`.
    """

    twin: Callable[[Tensor, Tensor], Tensor]
    reads_entries: bool
    diagonal: Callable[[int], Tensor] | None


def apply_rule(rule: TableRule, table: Tensor, pins: Pins, *, may_round: bool = True) -> Tensor:
    """Return the answers (num_nodes, outputs, batch), from a kernel if there is one for these tensors.

    Autocast has no effect unless `may_round`: a pin below 0.5 might become 0.5, which is a 1.
    """
    if isinstance(pins, Tensor):
        nodes, n = pins.shape[:2]
        wiring = torch.arange(nodes * n, device=pins.device).view(nodes, n)
        wired = WiredPins(pins.flatten(0, 1), wiring)
    else:
        wired = pins
    features = _choose_row_type(table, wired.features, may_round)
    if not chosen_for(wired.wiring.shape[1], table, rows=(features,)):
        return rule.twin(table, gather_pins(pins))
    reads_only_bits = rule.reads_entries and rule.diagonal is not None and wired.routing is None
    if not reads_only_bits:  # several kernels read them
        features = _make_contiguous(features)
    candidates, logits, tau = wired.routing or (None, None, 1.0)
    result: Tensor = _Fused.apply(table, features, logits, wired.wiring, candidates, tau, rule)  # type: ignore[no-untyped-call]
    return result


def _choose_row_type(table: Tensor, features: Tensor, may_round: bool) -> Tensor:
    """Return the features in the type that the kernels read and answer in.

    Under autocast to bfloat16, a GPU's kernels read and write bfloat16, which halves the memory that they move; they
    compute in float32. Half types elsewhere become the table's.
    """
    if may_round and choice.is_on_gpu(features) and torch.is_autocast_enabled("cuda"):
        if torch.get_autocast_dtype("cuda") == torch.bfloat16 and features.dtype == torch.float32:
            return features.to(torch.bfloat16)
        if features.dtype == torch.bfloat16:
            return features
    if table.dtype == torch.float32 and features.dtype in (torch.float16, torch.bfloat16):
        return features.to(torch.float32)
    return features


def _make_contiguous(x: Tensor) -> Tensor:
    if x.is_contiguous() or x.device.type != "cpu" or torch.compiler.is_compiling():
        return x.contiguous()
    copy: Tensor = _Copy.apply(x)  # type: ignore[no-untyped-call]
    return copy


class _Copy(torch.autograd.Function):
    """`Tensor.contiguous` of something that is not, which the kernels do faster on the CPU."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return make_contiguous(x)

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return grad


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        features: Tensor,
        logits: Tensor | None,
        wiring: Tensor,
        candidates: Tensor | None,
        tau: float,
        rule: TableRule,
    ) -> Tensor:
        address = None
        if rule.reads_entries:
            values, address = ops.read_tables(table, features, wiring)
        else:
            values = ops.expect(table, features, wiring)
        ctx.save_for_backward(table, features, logits, wiring, candidates, address)
        ctx.tau = tau
        ctx.rule = rule
        answers: Tensor = values.view(*table.shape[:2], features.shape[1])
        return answers

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        differentiate = _differentiate_twin if torch.is_grad_enabled() else _differentiate
        return *differentiate(ctx, grad), None, None, None, None


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of table, features and logits."""
    table, features, logits, wiring, candidates, address = ctx.saved_tensors
    wants_table, wants_features, wants_logits = ctx.needs_input_grad[:3]
    is_expectation = ctx.rule.diagonal is None
    rows, n = grad.flatten(0, 1), wiring.shape[1]
    if address is None:
        address = wiring.new_empty(0, dtype=torch.uint8)
    grad_table = grad_features = grad_logits = None
    if wants_table and not wants_features and is_expectation:
        grad_table = ops.expect_table_gradient(rows, features, wiring)
    elif wants_table and not wants_features:
        grad_table = ops.sum_entries(rows, address, n)
    if not wants_features and not wants_logits:
        return grad_table, None, None
    if is_expectation:
        kind, weights = EXPECTED, ops.find_coefficients(table)
    else:
        kind, weights = DIFFERENCES, ops.spread(table, ctx.rule.diagonal(n).to(table))
    pin_gradients = (kind, rows, weights, address, features, wiring)
    if wants_table and wants_features:
        grad_features, grad_table = ops.differentiate(*pin_gradients)
    elif wants_features:
        grad_features = ops.sum_by_feature(*pin_gradients)
    if wants_logits:
        gains = ops.correlate(*pin_gradients, candidates)
        grad_logits = ops.differentiate_choice(gains, logits, ctx.tau)
    return grad_table, grad_features, grad_logits


def _differentiate_twin(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """As `_differentiate`, in a form that can be differentiated again."""
    table, features, logits, wiring, candidates, _ = ctx.saved_tensors
    routing = None if logits is None else Routing(candidates, logits, ctx.tau)
    pins = WiredPins(features.to(table.dtype), wiring, routing).gather()
    values = ctx.rule.twin(table, pins).to(grad.dtype)
    wanted = [x for x, needed in zip((table, features, logits), ctx.needs_input_grad, strict=False) if needed]
    found = iter(torch.autograd.grad(values, wanted, grad, create_graph=True))
    grad_table, grad_features, grad_logits = (next(found) if n else None for n in ctx.needs_input_grad[:3])
    return grad_table, grad_features, grad_logits
