"""Proof that passes change nothing: step by step, net by net, for every input.

The record of a step says for every net what it was and what it is. A net that kept its id must still compute the same,
a net that was replaced must compute what its replacement does. Both are shown with other nets as free inputs (cut
points): a net stands for one variable on both sides, a replaced one for the variable of its replacement. Nets that the
step names as ``opened`` are not free but computed from theirs by the operation that they had before, and nets that the
step made by the operation that they have now.

Why that is enough: let the nets before and after be ordered such that every net comes after what it read, what it reads
and what replaced it (:func:`_check_order` makes sure that there is such an order). If every net before a net in it has
kept its value, then so have all variables of the net's proof, which holds for all their values; so the net has kept
its own. Nets that did not change are equal by inspection; changed ones are proven by SAT (ABC). Two kinds have rules of
their own (:mod:`.prove_sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import zip_longest
from pathlib import Path

from difflut_compiler.circuits.blif import Circuit
from difflut_compiler.circuits.gates import ZERO, Blif, Word, constant_word, write_gates
from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import Node, reads_signed
from difflut_compiler.ops import ArgMax, Const, Input, Output, PopCount
from difflut_compiler.passes import PassStep
from difflut_compiler.verify.equivalence import check_equivalence
from difflut_compiler.verify.prove_sums import check_sum, check_tournament


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
    _check_ports(step)
    _check_order(step)
    by_rule, equal = 0, 0
    by_sat: list[_Obligation] = []
    for net, node in step.before.items():
        before = _renamed(step, node)
        target = step.replaced.get(net, net)
        after = step.after.get(target)
        if after is None or isinstance(node.op, Input):
            continue  # dead: the graph's own rules make sure that nothing reads it
        if (before.op, before.operands) == (after.op, after.operands):
            equal += 1
        elif isinstance(node.op, PopCount):
            check_sum(step, before, target)
            by_rule += 1
        elif target not in step.before and isinstance(node.op, ArgMax):
            check_tournament(step, before, target)
            by_rule += 1
        else:
            # What another net replaced is compared with that net's variable, which may be free or opened.
            by_sat.append(_Obligation(net, before, target if target in step.before and target != net else after))
    _prove_by_sat(step, by_sat, folder)
    return StepProof(step.name, equal, len(by_sat), by_rule)


def _renamed(step: PassStep, node: Node) -> Node:
    """A node from before the step, reading replacements instead of the nets that they replaced."""
    if not step.replaced:
        return node
    return node._replace(operands=tuple(step.replaced.get(operand, operand) for operand in node.operands))


def _check_replacements(step: PassStep) -> None:
    """Only inner nets may be replaced; they must be gone, and what replaces them must be there."""
    for net, target in step.replaced.items():
        if isinstance(step.before[net].op, Input | Output) or net in step.after:
            raise MismatchError(f"pass {step.name} replaced {step.before[net].origin}, which must stay")
        if target in step.replaced or target not in step.after:
            raise MismatchError(f"pass {step.name} replaced {step.before[net].origin} by a net that is not there")


def _check_ports(step: PassStep) -> None:
    for kind in ("input", "output"):
        before = {(net, node.op, node.width) for net, node in step.before.items() if node.op.kind == kind}
        after = {(net, node.op, node.width) for net, node in step.after.items() if node.op.kind == kind}
        if before != after:
            raise MismatchError(f"pass {step.name} changed the {kind}s of the circuit")


def _check_order(step: PassStep) -> None:
    """There is an order in which every net comes after its operands, before and after, and after its replacement."""
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for nodes in (step.before, step.after):
        for net, node in nodes.items():
            sorter.add(net, *node.operands)
    for net, target in step.replaced.items():
        sorter.add(net, target)
    try:
        sorter.prepare()
    except CycleError:
        raise MismatchError(f"pass {step.name} made a net depend on one that depended on it") from None


class _Variables:
    """What the nets of a step stand for in its proof: free words, constants, or words computed from those."""

    def __init__(self, step: PassStep) -> None:
        self._step = step
        self._known = {**step.before, **step.after}
        self._words: dict[int, Word] = {}
        self._defined: list[int] = []
        self.inputs: list[str] = []

    def word(self, net: int) -> Word:
        """The bits of a net's variable, as many as the net had at all times: its value fits them."""
        if net not in self._words:
            self._words[net] = self._new_word(net)
        return self._words[net]

    def _new_word(self, net: int) -> Word:
        op = self._known[net].op
        if isinstance(op, Const):
            return constant_word(op.value, op.bits)
        widths = [nodes[net].width for nodes in (self._step.before, self._step.after) if net in nodes]
        word = [f"n{net}.{bit}" for bit in range(min(widths))]
        if self._definition(net) is None:
            self.inputs += word
        else:
            self._defined.append(net)
        return word

    def _definition(self, net: int) -> Node | None:
        """By what a net is computed; None for one that is free. A new net may be free if it replaces one."""
        step = self._step
        if net not in step.before:
            return step.after[net] if net in step.opened or net not in step.targets else None
        opened = net in step.opened and not isinstance(step.before[net].op, Input)
        return _renamed(step, step.before[net]) if opened else None

    def write(self, blif: Blif, node: Node, result: Word) -> None:
        """Write the gates of a node that reads variables."""
        operands = [self.word(operand) for operand in node.operands]
        write_gates(blif, node.op, operands, reads_signed(node, self._known), result)

    def write_definitions(self, blif: Blif) -> None:
        """Write the gates of every variable that is computed and has been asked for, and of those that they need."""
        for net in self._defined:  # grows while it is walked
            definition = self._definition(net)
            assert definition is not None
            self.write(blif, definition, self.word(net))


def _prove_by_sat(step: PassStep, obligations: Sequence[_Obligation], folder: Path) -> None:
    if not obligations:
        return
    variables = _Variables(step)
    golden, revised = Blif(), Blif()
    outputs: list[str] = []
    for obligation in obligations:
        sides = (obligation.before, obligation.after)
        width = max(side.width if isinstance(side, Node) else len(variables.word(side)) for side in sides)
        result = [f"o{obligation.net}.{bit}" for bit in range(width)]
        outputs += result
        for blif, side in zip((golden, revised), sides, strict=True):
            if isinstance(side, Node):
                variables.write(blif, side, result)
            else:
                for source, name in zip_longest(variables.word(side), result, fillvalue=ZERO):
                    blif.buffer(source, name)
    for blif in (golden, revised):
        variables.write_definitions(blif)
    before, after = (Circuit(variables.inputs, outputs, blif.lines) for blif in (golden, revised))
    verdict = check_equivalence(before, after, folder)
    if not verdict.equivalent:
        raise MismatchError(f"pass {step.name} changed the function of a net: {verdict.message}")
