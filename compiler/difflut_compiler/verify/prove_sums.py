"""Rules for what SAT is the wrong tool for: the adder tree of a popcount and the tournament of an argmax."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import NamedTuple

from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import Node
from difflut_compiler.ops import Add, Const, Greater, Mux, PopCount
from difflut_compiler.passes import PassStep


class _Sum(NamedTuple):
    """A sum of single bits and a constant."""

    bits: Counter[int]
    constant: int


def check_sum(step: PassStep, count: Node, root: int) -> None:
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


def check_tournament(step: PassStep, argmax: Node, root: int) -> None:
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
