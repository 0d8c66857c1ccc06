"""The schedule: which clock cycle each operation belongs to, and the registers that follow from it.

Time is counted in stages. With ``layers``, every layer of the graph is a stage of its own and its results are
registered, so a new sample can enter on every clock. A net that is read more than one stage later is carried by
further registers, shared by all its readers. With ``none`` the circuit stays combinational.
"""

from __future__ import annotations

from dataclasses import dataclass

from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Const, Register

PIPELINES = ("layers", "none")


@dataclass(frozen=True)
class Schedule:
    """A graph with its registers in place.

    A sample presented before a rising clock edge has its outputs ``latency_cycles`` edges later; 0 is combinational, as
    is a circuit whose outputs are constants: it has nothing to register.
    """

    graph: LutGraph
    pipeline: str
    latency_cycles: int


def check_pipeline(pipeline: str) -> None:
    if pipeline not in PIPELINES:
        raise CompilerError(f"there is no pipeline {pipeline!r}; choose one of {', '.join(PIPELINES)}")


def schedule(graph: LutGraph, pipeline: str) -> Schedule:
    """Place registers in a copy of ``graph``, whose first layer holds the inputs and whose last one the outputs."""
    check_pipeline(pipeline)
    scheduled = graph.copy()
    if pipeline == "none":
        return Schedule(scheduled, pipeline, 0)
    stages = _Stages(scheduled)
    for net in graph.order():
        node = scheduled.node(net)
        operands = tuple(stages.delayed(operand, stages.of(net)) for operand in node.operands)
        if operands != node.operands:
            scheduled.replace(net, node.op, operands)
    return Schedule(scheduled, pipeline, stages.count if stages.registers else 0)


class _Stages:
    """Stage numbers of nets, and the register chains made so far."""

    def __init__(self, graph: LutGraph) -> None:
        self._graph = graph
        self._number = {layer: place for place, layer in enumerate(graph.layers)}
        self._chains: dict[int, list[int]] = {}

    @property
    def registers(self) -> int:
        return sum(len(chain) - 1 for chain in self._chains.values())

    @property
    def count(self) -> int:
        """Stages between the inputs' layer and the outputs' layer."""
        return len(self._graph.layers) - 2

    def of(self, net: int) -> int:
        return self._number[self._graph.node(net).origin.layer]

    def delayed(self, net: int, reader_stage: int) -> int:
        """``net`` as a reader in ``reader_stage`` must read it: behind one register per stage in between.

        The inputs come from outside and are read in the first stage without a register.
        """
        if isinstance(self._graph.node(net).op, Const):
            return net
        chain = self._chains.setdefault(net, [net])
        first_stage = max(self.of(net), 1)
        while len(chain) <= reader_stage - first_stage:
            layer = self._graph.layers[first_stage + len(chain) - 1]
            origin = self._graph.node(net).origin
            part = origin.part if layer == origin.layer else f"{origin.layer}.{origin.part}".rstrip(".")
            register = self._graph.add(Register(), (chain[-1],), origin=origin._replace(layer=layer, part=part))
            chain.append(register)
        return chain[reader_stage - first_stage]
