"""Rules on tables as the kernels run them: pins are read where they are, and their gradients go where they belong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from difflut.kernels import choice, chosen_for, cpu, ops
from difflut.kernels.cpu import DIFFERENCES, EXPECTED, SQUASHED, check_index_type, make_contiguous
from difflut.rules.pins import Pins, Routing, WiredPins, gather_pins


class TableRule(NamedTuple):
    """A training rule on tables (num_nodes, outputs, 2**n).

    Parameters
    ----------
    twin : the rule in torch, on gathered pins, differentiable as often as the rule is.
    reads_entries : it answers the entry at the thresholded pins, else the expectation of `multilinear`.
    diagonal : its pin gradients are differences of the tables after their Walsh transforms have been multiplied by
        this function of n, float64 (2**n,); None if its gradients are those of `multilinear`.
    of_logits : it is given the logits of the tables' entries instead of the tables.
    """

    twin: Callable[[Tensor, Tensor], Tensor]
    reads_entries: bool
    diagonal: Callable[[int], Tensor] | None
    of_logits: bool = False


def apply_rule(rule: TableRule, table: Tensor, pins: Pins, *, may_round: bool = True) -> Tensor:
    """Return the answers (num_nodes, outputs, batch), from a kernel if there is one for these tensors.

    Autocast has no effect unless `may_round`: a pin below 0.5 might become 0.5, which is a 1.

    Raises
    ------
    ValueError : there is no table of 2**n entries for each node.
    TypeError : the wiring is not int64.
    """
    if isinstance(pins, Tensor):
        nodes, n = pins.shape[:2]
        wiring = torch.arange(nodes * n, device=pins.device).view(nodes, n)
        wired = WiredPins(pins.flatten(0, 1), wiring)
    else:
        wired = pins
    nodes, n = wired.wiring.shape
    if table.dim() != 3 or (table.shape[0], table.shape[2]) != (nodes, 2**n):  # kernels read as many entries
        raise ValueError(f"Tables of shape {tuple(table.shape)} do not fit {nodes} nodes with {n} pins each.")
    check_index_type(wired.wiring)
    features = _choose_row_type(table, wired.features, may_round)
    candidates, logits, tau = wired.routing or (None, None, 1.0)
    learning = (table,) if logits is None else (table, logits)
    if not chosen_for(n, *learning, rows=(features,)):
        return rule.twin(table, gather_pins(pins))
    reads_only_bits = rule.reads_entries and rule.diagonal is not None and wired.routing is None
    if not reads_only_bits:  # several kernels read them
        features = _make_contiguous(features)
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


def _find_kernels(x: Tensor) -> Any:
    """The kernels as torch operators, or the functions behind these where torch need not see them: that is faster."""
    return ops if choice.is_on_gpu(x) or torch.compiler.is_compiling() else cpu


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        entries: Tensor,
        features: Tensor,
        logits: Tensor | None,
        wiring: Tensor,
        candidates: Tensor | None,
        tau: float,
        rule: TableRule,
    ) -> Tensor:
        kernels = _find_kernels(features)
        wiring, table = wiring.contiguous(), entries.contiguous()
        if rule.of_logits:
            table = kernels.squash(table)
        address = None
        if rule.reads_entries:
            values, address = kernels.read_tables(table, features, wiring)
        else:
            values = kernels.expect(table, features, wiring)
        ctx.save_for_backward(entries, features, logits, wiring, candidates, address, table)
        ctx.tau = tau
        ctx.rule = rule
        answers: Tensor = values.view(*table.shape[:2], features.shape[1])
        return answers.detach()  # autograd would let nobody change a view in place, as nn.ReLU(inplace=True) does

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        differentiate = _differentiate_twin if torch.is_grad_enabled() else _differentiate
        return *differentiate(ctx, grad), None, None, None, None


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of table, features and logits."""
    _, features, logits, wiring, candidates, address, table = ctx.saved_tensors
    wants_table, wants_features, wants_logits = ctx.needs_input_grad[:3]
    kernels = _find_kernels(features)
    kind = DIFFERENCES if ctx.rule.diagonal else SQUASHED if ctx.rule.of_logits else EXPECTED
    rows, n = grad.flatten(0, 1), wiring.shape[1]
    if kernels is cpu:
        rows = make_contiguous(rows)
    if address is None:
        address = wiring.new_empty(0, dtype=torch.uint8)
    grad_table = grad_features = grad_logits = None
    if wants_table and not wants_features and kind == DIFFERENCES:
        grad_table = kernels.sum_entries(rows, address, n)
    elif wants_table and not wants_features:
        grad_table = kernels.expect_table_gradient(kind, rows, table, features, wiring)
    if not wants_features and not wants_logits:
        return grad_table, None, None
    weights = kernels.spread(table, ctx.rule.diagonal(n).to(table)) if kind == DIFFERENCES else table
    pin_gradients = (kind, rows, weights, address, features, wiring)
    if wants_table and wants_features:
        grad_features, grad_table = kernels.differentiate(*pin_gradients)
    elif wants_features:
        grad_features = kernels.sum_by_feature(*pin_gradients)
    if wants_logits:
        gains = kernels.correlate(*pin_gradients, candidates.contiguous())
        grad_logits = kernels.differentiate_choice(gains, logits.contiguous(), ctx.tau)
    return grad_table, grad_features, grad_logits


def _differentiate_twin(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """As `_differentiate`, in a form that can be differentiated again."""
    entries, features, logits, wiring, candidates, *_ = ctx.saved_tensors
    routing = None if logits is None else Routing(candidates, logits, ctx.tau)
    pins = WiredPins(features.to(entries.dtype), wiring, routing).gather()
    values = ctx.rule.twin(entries, pins).to(grad.dtype)
    wanted = [x for x, needed in zip((entries, features, logits), ctx.needs_input_grad, strict=False) if needed]
    found = iter(torch.autograd.grad(values, wanted, grad, create_graph=True))
    grad_table, grad_features, grad_logits = (next(found) if n else None for n in ctx.needs_input_grad[:3])
    return grad_table, grad_features, grad_logits
