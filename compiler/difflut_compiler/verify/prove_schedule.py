"""Proof that a schedule changes nothing: it only adds registers, the same number on every path."""

from __future__ import annotations

from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Input, Register
from difflut_compiler.schedule import Schedule


def check_schedule(graph: LutGraph, scheduled: Schedule) -> int:
    """Check that a schedule only adds registers, the same number on every path; returns the nets looked at.

    A pipeline without feedback computes the same as its graph without registers, ``latency_cycles`` later, exactly if
    all operands of every node come from the same clock cycle.
    """
    if (scheduled.graph.inputs(), scheduled.graph.outputs()) != (graph.inputs(), graph.outputs()):
        raise MismatchError("the schedule changed the ports of the circuit")
    time: dict[int, int | None] = {}
    for net in scheduled.graph.order():
        node = scheduled.graph.node(net)
        times = {time[operand] for operand in node.operands} - {None}
        if len(times) > 1:
            raise MismatchError(
                f"{scheduled.graph.describe(net)} mixes samples of the clock cycles {sorted(times, key=str)}"
            )
        arrival = next(iter(times), 0 if isinstance(node.op, Input) else None)
        time[net] = arrival + 1 if isinstance(node.op, Register) and arrival is not None else arrival
        if not isinstance(node.op, Register):
            _check_unregistered(graph, scheduled.graph, net)
    for net in scheduled.graph.outputs():
        if time[net] not in (scheduled.latency_cycles, None):
            raise MismatchError(
                f"{scheduled.graph.describe(net)} is late by {time[net]}, not {scheduled.latency_cycles}"
            )
    return len(scheduled.graph)


def _check_unregistered(graph: LutGraph, scheduled: LutGraph, net: int) -> None:
    node = scheduled.node(net)
    operands = list(node.operands)
    for position, operand in enumerate(operands):
        while isinstance(scheduled.node(operand).op, Register):
            operand = scheduled.node(operand).operands[0]
        operands[position] = operand
    if net not in graph or (node.op, tuple(operands)) != (graph.node(net).op, graph.node(net).operands):
        raise MismatchError(f"the schedule changed {scheduled.describe(net)}")
