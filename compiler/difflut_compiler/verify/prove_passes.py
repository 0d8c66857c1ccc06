"""Proof that passes and schedule change nothing: step by step, net by net, for every input.

The record of a step says for every net what it was and what it is. A net that kept its id must still compute the same,
a net that was replaced must compute what its replacement does. Both are shown with all other nets as free inputs (cut
points), which is enough: operands come before readers, so induction over the graph's order does the rest. Nets that did
not change are equal by inspection; changed ones are proven by SAT (ABC). Two steps have rules of their own, because
SAT is the wrong tool for them: the adder tree of a popcount and the tournament of an argmax.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import LutGraph, Node, reads_signed
from difflut_compiler.ops import Add, ArgMax, Const, Greater, Input, Mux, Output, PopCount, Register
from difflut_compiler.passes import PassStep
from difflut_compiler.schedule import Schedule
from difflut_compiler.verify.equivalence import Circuit, check_equivalence
from difflut_compiler.verify.gates import Blif, Word, constant_word, write_gates


@dataclass(frozen=True)
class StepProof:
    """How the nets of one pass step were shown to be unchanged."""

    name: str
    by_inspection: int
    by_sat: int
    by_rule: int

    @property
    def comparisons(self) -> int:
        return self.by_inspection + self.by_sat + self.by_rule


@dataclass(frozen=True)
class _Obligation:
    """``before`` (with operands renamed to nets after the step) must compute the same as ``after``, or as a net."""

    net: int
    before: Node
    after: Node | int


def prove_step(step: PassStep, folder: Path) -> StepProof:
    """Prove one step; raises :class:`MismatchError` naming the step and a net if it changed a net's function."""
    _check_replacements(step)
    by_rule, equal = 0, 0
    by_sat: list[_Obligation] = []
    for net, node in step.before.items():
        before = node._replace(operands=tuple(_final(step.replaced, operand) for operand in node.operands))
        target = _final(step.replaced, net)
        after = step.after.get(target)
        if after is None or isinstance(node.op, Input):
            continue  # dead: the graph's own rules make sure that nothing reads it
        if (before.op, before.operands) == (after.op, after.operands):
            equal += 1
        elif isinstance(node.op, PopCount):
            _check_sum(step, before, target)
            by_rule += 1
        elif target not in step.before and isinstance(node.op, ArgMax):
            _check_tournament(step, before, target)
            by_rule += 1
        elif before.width != step.after[target].width:
            raise MismatchError(f"pass {step.name} changed the width of {node.origin}")
        else:
            by_sat.append(_Obligation(net, before, target if target in before.operands else after))
    _check_ports(step)
    _prove_by_sat(step, by_sat, folder)
    return StepProof(step.name, equal, len(by_sat), by_rule)


def _check_replacements(step: PassStep) -> None:
    """Only inner nets may be replaced; they must be gone, and what replaces them must be there."""
    for net, target in step.replaced.items():
        if isinstance(step.before[net].op, Input | Output) or net in step.after:
            raise MismatchError(f"pass {step.name} replaced {step.before[net].origin}, which must stay")
        if target in step.replaced or target not in step.after:
            raise MismatchError(f"pass {step.name} replaced {step.before[net].origin} by a net that is not there")


def _final(replaced: Mapping[int, int], net: int) -> int:
    return replaced.get(net, net)


def _check_ports(step: PassStep) -> None:
    for kind in ("input", "output"):
        before = {(net, node.op, node.width) for net, node in step.before.items() if node.op.kind == kind}
        after = {(net, node.op, node.width) for net, node in step.after.items() if node.op.kind == kind}
        if before != after:
            raise MismatchError(f"pass {step.name} changed the {kind}s of the circuit")


def _prove_by_sat(step: PassStep, obligations: Sequence[_Obligation], folder: Path) -> None:
    if not obligations:
        return
    known = {**step.before, **step.after}

    def word(net: int) -> Word:
        op = known[net].op
        return (
            constant_word(op.value, op.bits)
            if isinstance(op, Const)
            else [f"n{net}.{b}" for b in range(known[net].width)]
        )

    golden, revised = Blif(), Blif()
    read: set[int] = set()
    outputs: list[str] = []
    for obligation in obligations:
        result = [f"o{obligation.net}.{bit}" for bit in range(obligation.before.width)]
        outputs += result
        for blif, side in ((golden, obligation.before), (revised, obligation.after)):
            if isinstance(side, int):
                for source, name in zip(word(side), result, strict=True):
                    blif.buffer(source, name)
                read.add(side)
            else:
                operands = [word(operand) for operand in side.operands]
                write_gates(blif, side.op, operands, reads_signed(side, known), result)
                read.update(side.operands)
    inputs = [bit for net in sorted(read) if not isinstance(known[net].op, Const) for bit in word(net)]
    verdict = check_equivalence(Circuit(inputs, outputs, golden.lines), Circuit(inputs, outputs, revised.lines), folder)
    if not verdict.equivalent:
        raise MismatchError(f"pass {step.name} changed the function of a net: {verdict.message}")


class _Sum(NamedTuple):
    """A sum of single bits and a constant."""

    bits: Counter[int]
    constant: int


def _check_sum(step: PassStep, count: Node, root: int) -> None:
    """A tree of adders and counts is the popcount if it counts the same bits, each once, and no adder can overflow.

    Each adder computes the sum of its operands (proven on the hardware, adder by adder); so the root is the sum of the
    leaves, and it remains to compare the leaves with the operands of the popcount, constants with constants.
    """
    if _total(step, root, frozenset(count.operands)) != _leaves(step, count):
        raise MismatchError(f"pass {step.name}: what replaced {count.origin} does not count its bits once each")


def _total(step: PassStep, net: int, operands: Set[int]) -> _Sum:
    """The bits and the constant that the tree below ``net`` adds up."""
    node = step.after[net]
    if net in operands:
        return _Sum(Counter([net]), 0)
    if isinstance(node.op, Const):
        return _Sum(Counter(), node.op.value)
    if isinstance(node.op, PopCount):
        return _leaves(step, node)
    if not isinstance(node.op, Add):
        raise MismatchError(f"pass {step.name}: {node.origin} in an adder tree is neither a sum nor a count")
    left, right = (_total(step, operand, operands) for operand in node.operands)
    total = _Sum(left.bits + right.bits, left.constant + right.constant)
    greatest = total.bits.total() + total.constant
    if greatest >= 1 << node.width:
        raise MismatchError(f"pass {step.name}: {node.origin} can overflow: {greatest} in {node.width} bits")
    return total


def _leaves(step: PassStep, count: Node) -> _Sum:
    """What a popcount counts: its bits, and its offset with its constant operands."""
    assert isinstance(count.op, PopCount)
    bits: Counter[int] = Counter()
    constant = count.op.offset
    for operand in count.operands:
        op = (step.after.get(operand) or step.before[operand]).op
        if isinstance(op, Const):
            constant += op.value
        else:
            bits[operand] += 1
    return _Sum(bits, constant)


def _check_tournament(step: PassStep, argmax: Node, root: int) -> None:
    """A tournament is the argmax if neighbours meet and the right one wins only when strictly greater.

    By induction each match yields score and position of the first greatest among the operands below it: the left side
    holds the lower positions and keeps the lead on a tie.
    """

    def fail(net: int) -> MismatchError:
        return MismatchError(f"pass {step.name}: {step.after[net].origin} is not a match of the tournament")

    def walk(index: int) -> tuple[int, range]:
        """The score net that belongs to an index net, and the range of positions that it decides between."""
        node = step.after[index]
        if isinstance(node.op, Const):
            position = node.op.value
            if position >= len(argmax.operands):
                raise fail(index)
            return argmax.operands[position], range(position, position + 1)
        if not isinstance(node.op, Mux):
            raise fail(index)
        wins, left, right = node.operands
        left_score, left_range = walk(left)
        right_score, right_range = walk(right)
        match = step.after[wins]
        if not isinstance(match.op, Greater) or match.operands != (left_score, right_score):
            raise fail(wins)
        if left_range.stop != right_range.start:
            raise fail(index)
        # The final has no score, and nothing asks for it.
        score = scores.get((wins, left_score, right_score), -1)
        return score, range(left_range.start, right_range.stop)

    scores = {node.operands: net for net, node in step.after.items() if isinstance(node.op, Mux)}
    _, positions = walk(root)
    if positions != range(len(argmax.operands)) or step.after[root].width != argmax.width:
        raise MismatchError(f"pass {step.name}: the tournament of {argmax.origin} leaves out operands")


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
