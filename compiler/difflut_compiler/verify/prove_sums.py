"""Rules for what SAT is the wrong tool for: the counters that a popcount becomes, and the tournament of an argmax."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import Node
from difflut_compiler.ops import AnyOp, Concat, Const, Greater, Lut, Mux, PopCount, table_to_bools
from difflut_compiler.passes import PassStep


class _Sum(NamedTuple):
    """Bits, how often each is added, and a constant, all of them modulo a power of two."""

    bits: Counter[int]
    constant: int


def check_sum(step: PassStep, count: Node, root: int) -> None:
    """What replaced a popcount is one if, taken apart down to the bits that are counted, it adds each of them once.

    The root is a sum of bits with weights. LUTs with the same pins are replaced together by a weighted sum of these
    pins that equals their own on every address; so it goes on until only counted bits are left. All this is modulo two
    to the width of the root, which is no loss: neither side reaches that.
    """
    modulus = 1 << step.after[root].width
    expected = _leaves(step, count)
    if expected.bits.total() + expected.constant >= modulus:
        raise MismatchError(f"pass {step.name}: {count.origin} does not fit the width of what replaced it")
    if _take_apart(step, root, frozenset(expected.bits), modulus) != expected:
        raise MismatchError(f"pass {step.name}: what replaced {count.origin} does not count its bits once each")


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


def _take_apart(step: PassStep, root: int, counted: Set[int], modulus: int) -> _Sum:
    """The value of ``root`` as a weighted sum of counted bits."""
    factors: Counter[int] = Counter({root: 1})
    constant = 0
    # From the root down, level by level: when a net is taken apart, all that read it have been.
    for nets in _levels(step.after, root, counted):
        luts: dict[tuple[int, ...], list[int]] = {}
        for net in nets:
            node = step.after[net]
            match node.op:
                case Const():
                    constant += factors.pop(net) * node.op.value
                case Concat():
                    factor = factors.pop(net)
                    for place, bit in enumerate(node.operands):
                        factors[bit] += factor << place
                case PopCount():
                    factor = factors.pop(net)
                    constant += factor * node.op.offset
                    for bit in node.operands:
                        factors[bit] += factor
                case Lut():
                    luts.setdefault(node.operands, []).append(net)
                case _:
                    raise MismatchError(f"pass {step.name}: {node.origin} in a count is no part of one")
        for pins, group in luts.items():
            total = _weighted_pins([(step.after[net].op, factors.pop(net)) for net in group], len(pins), modulus)
            if total is None:
                raise MismatchError(f"pass {step.name}: {step.after[group[0]].origin} is no part of a count")
            constant += total[0]
            for pin, factor in zip(pins, total[1:], strict=True):
                factors[pin] += factor
    bits = Counter({net: factor % modulus for net, factor in factors.items() if factor % modulus})
    return _Sum(bits, constant % modulus)


def _levels(nodes: Mapping[int, Node], root: int, counted: Set[int]) -> list[list[int]]:
    """The nets between ``root`` and the counted bits, each in a level before those of the nets that it reads."""
    level: dict[int, int] = dict.fromkeys(counted, -1)
    pending = [root]
    while pending:
        operands = nodes[pending[-1]].operands
        missing = [operand for operand in operands if operand not in level]
        if pending[-1] in level:
            pending.pop()
        elif missing:
            pending += missing
        else:
            level[pending.pop()] = 1 + max((level[operand] for operand in operands), default=-1)
    levels: list[list[int]] = [[] for _ in range(1 + max(level.values()))]
    for net, place in level.items():
        if place >= 0:
            levels[-1 - place].append(net)
    return levels


def _weighted_pins(luts: Sequence[tuple[AnyOp, int]], pins: int, modulus: int) -> list[int] | None:
    """A constant and a factor per pin that make the same as the factors given to the LUTs; None if there are none."""
    totals = np.zeros(1 << pins, dtype=np.int64)
    for op, factor in luts:
        assert isinstance(op, Lut)
        totals += table_to_bools(op.table, pins) * (factor % modulus)
    constant = int(totals[0])
    factors = [int(totals[1 << pin]) - constant for pin in range(pins)]
    linear = constant + (np.arange(1 << pins)[:, np.newaxis] >> np.arange(pins) & 1) @ np.array(factors)
    return [constant, *factors] if ((totals - linear) % modulus == 0).all() else None


def check_tournament(step: PassStep, argmax: Node, root: int) -> None:
    """A tournament is the argmax if neighbours meet and the right one wins only when strictly greater.

    By induction each choice yields score and position of the first greatest among the operands below it: the left side
    holds the lower positions and keeps the lead on a tie. Where the left side is itself a choice, the right one may
    meet both that it is between; then the choice says which of these comparisons counts.
    """

    def fail(net: int) -> MismatchError:
        return MismatchError(f"pass {step.name}: {step.after[net].origin} is no part of the tournament")

    def walk(index: int) -> range:
        """Find the score net of an index net; returns the range of positions that it decides between."""
        node = step.after[index]
        if isinstance(node.op, Const):
            position = node.op.value
            if position >= len(argmax.operands):
                raise fail(index)
            score_of[index] = argmax.operands[position]
            return range(position, position + 1)
        if not isinstance(node.op, Mux):
            raise fail(index)
        wins, left, right = node.operands
        left_range, right_range = walk(left), walk(right)
        check_comparison(wins, left, score_of[right])
        if left_range.stop != right_range.start:
            raise fail(index)
        # The final has no score, and nothing asks for it.
        score_of[index] = scores.get((wins, score_of[left], score_of[right]), -1)
        return range(left_range.start, right_range.stop)

    def check_comparison(wins: int, left: int, right_score: int) -> None:
        """Make sure that ``wins`` says whether ``right_score`` is greater than the score of the index net ``left``."""
        match, choice = step.after[wins], step.after[left]
        if isinstance(match.op, Greater) and match.operands == (score_of[left], right_score):
            return
        if not (isinstance(match.op, Mux) and isinstance(choice.op, Mux) and match.operands[0] == choice.operands[0]):
            raise fail(wins)
        for comparison, side in zip(match.operands[1:], choice.operands[1:], strict=True):
            check_comparison(comparison, side, right_score)

    scores = {node.operands: net for net, node in step.after.items() if isinstance(node.op, Mux)}
    score_of: dict[int, int] = {}
    positions = walk(root)
    if positions != range(len(argmax.operands)) or step.after[root].width != argmax.width:
        raise MismatchError(f"pass {step.name}: the tournament of {argmax.origin} leaves out operands")
