"""Running passes: the runner checks, times and records, so that a pass contains only its idea.

Rules that the runner enforces after every pass that changed something:

* the graph keeps the rules of :meth:`LutGraph.verify`;
* the inputs and the outputs are the ones from before;
* every net that is still there computes what it computed before, and a net that went away without being dead has a
  replacement in ``PassResult.replaced`` that does. The runner compares outputs on sample vectors at once;
  :mod:`difflut_compiler.verify.prove_passes` proves it net by net from the recorded steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.errors import CompilerError, GraphError, MismatchError
from difflut_compiler.graph import LutGraph, Node

PATIENCE_ROUNDS = 8
"""So many rounds of all passes in which the graph does not shrink can only be passes that undo one another."""


@dataclass(frozen=True)
class PassResult:
    """What a pass did: whether anything, and which removed nets are now computed by which others.

    ``opened`` are nets of the graph before whose operations the proof must look at, because the pass used them; it is
    a hint that a wrong pass cannot misuse: all other nets are free in the proof, which can only make it fail.
    """

    changed: bool
    replaced: Mapping[int, int] = field(default_factory=dict)
    opened: Set[int] = frozenset()


class Pass(Protocol):
    """A frozen dataclass with a ``name`` whose fields are its options; ``apply`` changes the graph in place."""

    name: ClassVar[str]

    def apply(self, graph: LutGraph) -> PassResult: ...


@dataclass(frozen=True)
class PassStep:
    """One application of a pass that changed the graph, with all that is needed to prove it afterwards."""

    name: str
    before: Mapping[int, Node]
    after: Mapping[int, Node]
    replaced: Mapping[int, int]
    seconds: float
    opened: Set[int] = frozenset()

    @cached_property
    def targets(self) -> Set[int]:
        """The nets that replaced others."""
        return frozenset(self.replaced.values())


Observer = Callable[[PassStep, LutGraph], None]


def run_passes(
    graph: LutGraph,
    passes: Sequence[Pass],
    vectors: NDArray[np.int64],
    *,
    repeat: bool = True,
    observer: Observer | None = None,
) -> list[PassStep]:
    """Apply ``passes`` in order, again until nothing changes if ``repeat``; returns the steps that changed something.

    ``vectors`` are integer inputs ``(samples, inputs)`` on which the outputs are compared after every step. Raises
    :class:`MismatchError` if they differ and :class:`CompilerError` if the passes do not settle.
    """
    expected = graph.evaluate(vectors)
    steps: list[PassStep] = []
    sizes = [_count_nets_and_pins(graph)]
    while True:
        settled = True
        for one in passes:
            step = _run_pass(graph, one)
            if step is None:
                continue
            settled = False
            steps.append(step)
            _check_step(graph, steps, vectors, expected)
            if observer is not None:
                observer(step, graph)
        if settled or not repeat:
            return steps
        sizes.append(_count_nets_and_pins(graph))
        if len(sizes) > PATIENCE_ROUNDS and sizes[-1] >= sizes[-1 - PATIENCE_ROUNDS]:
            names = ", ".join(one.name for one in passes)
            raise CompilerError(
                f"the passes {names} still change the graph after {PATIENCE_ROUNDS} rounds without making it smaller: "
                f"one undoes another"
            )


def _count_nets_and_pins(graph: LutGraph) -> int:
    arrays = graph.arrays()
    return len(arrays) + len(arrays.operands)


def _run_pass(graph: LutGraph, one: Pass) -> PassStep | None:
    before = graph.snapshot()
    start = time.perf_counter()
    result = one.apply(graph)
    seconds = time.perf_counter() - start
    after = graph.snapshot()
    if not result.changed:
        if before != after:
            raise MismatchError(f"pass {one.name} changed the graph and says that it did not")
        return None
    return PassStep(one.name, before, after, dict(result.replaced), seconds, frozenset(result.opened))


def _check_step(
    graph: LutGraph, steps: Sequence[PassStep], vectors: NDArray[np.int64], expected: Mapping[str, NDArray[np.int64]]
) -> None:
    history = " -> ".join(step.name for step in steps)
    try:
        graph.verify(steps[-1].before)
    except GraphError as error:
        raise GraphError(f"after the passes {history}: {error}") from None
    found = graph.evaluate(vectors)
    if found.keys() != expected.keys():
        raise MismatchError(f"after the passes {history}: outputs are {sorted(found)}, were {sorted(expected)}")
    for name, values in expected.items():
        wrong = np.flatnonzero(values != found[name])
        if wrong.size:
            raise MismatchError(
                f"after the passes {history}: output {name} differs on {wrong.size} of {values.size} vectors, "
                f"first on vector {wrong[0]}"
            )
