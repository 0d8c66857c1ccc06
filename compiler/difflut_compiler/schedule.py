"""The schedule: which clock cycle each operation belongs to, and the registers that follow from it.

Time is counted in stages, and between two stages is a register; the outputs are registered, the inputs are not. A new
sample can enter on every clock. A net that is read in a later stage is carried there by registers, one per stage,
shared by all its readers. How operations are put into stages is the choice of a pipeline:

* ``none``: a single stage without registers, a combinational circuit;
* ``layers``: every layer of the graph is a stage of its own;
* a number: so many stages, as equally long as can be, registers inside sums and the argmax included;
* ``period:NS`` or ``period:NS:FAMILY``: as few stages as keep every path within so many nanoseconds, by the delays
  estimated for a family (:mod:`difflut_compiler.costs.estimate`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from difflut_compiler.costs.estimate import node_delays, timed_families
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Node, Origin
from difflut_compiler.ops import Const, Output, Register

PIPELINES = ("layers", "none")
"""The pipelines that have a name; others are a number of stages or a clock period."""
DEFAULT_FAMILY = "ecp5"
MAX_STAGES = 10_000
PERIOD = re.compile(r"period:(\d+(?:\.\d+)?)(?::([a-z0-9_]+))?")


@dataclass(frozen=True)
class Schedule:
    """A graph with its registers in place.

    A sample presented before a rising clock edge has its outputs ``latency_cycles`` edges later; 0 is combinational, as
    is a circuit whose outputs are constants: it has nothing to register.
    """

    graph: LutGraph
    pipeline: str
    latency_cycles: int


@dataclass(frozen=True)
class _Stages:
    """The stage of every net, counted from 0, and how many stages there are; ``home`` is where a register belongs:
    the origin of the register behind a net at the end of a stage.
    """

    number: Mapping[int, int]
    count: int
    home: Callable[[Origin, int], Origin]


def check_pipeline(pipeline: str) -> None:
    """Raise :class:`CompilerError` unless ``pipeline`` is one."""
    if pipeline in PIPELINES or _stage_count(pipeline) or _period(pipeline):
        return
    raise CompilerError(
        f"there is no pipeline {pipeline!r}; choose {', '.join(PIPELINES)}, a number of stages from 1 to {MAX_STAGES}, "
        "or period:NS for a clock period in nanoseconds"
    )


def schedule(graph: LutGraph, pipeline: str) -> Schedule:
    """Place registers in a copy of ``graph``."""
    check_pipeline(pipeline)
    scheduled = graph.copy()
    if pipeline == "none":
        return Schedule(scheduled, pipeline, 0)
    stages = _put_into_stages(graph, pipeline)
    registers = _place_registers(scheduled, stages)
    return Schedule(scheduled, pipeline, stages.count if registers else 0)


def _stage_count(pipeline: str) -> int | None:
    wanted = int(pipeline) if pipeline.isascii() and pipeline.isdigit() and len(pipeline) < 6 else 0
    return wanted if 0 < wanted <= MAX_STAGES else None


def _period(pipeline: str) -> tuple[float, str] | None:
    """The clock period in nanoseconds and the family whose delays count."""
    found = PERIOD.fullmatch(pipeline)
    if not found:
        return None
    family = found[2] or DEFAULT_FAMILY
    if family not in timed_families():
        known = ", ".join(timed_families())
        raise CompilerError(f"no delays are known for the family {family!r}; choose one of {known}")
    return float(found[1]), family


def _put_into_stages(graph: LutGraph, pipeline: str) -> _Stages:
    if pipeline == "layers":
        return _stages_of_layers(graph)
    count, period = _stage_count(pipeline), _period(pipeline)
    if period is not None:
        return _stages_within(graph, *period)
    assert count is not None
    return _equal_stages(graph, count)


def _stages_within(graph: LutGraph, period_ns: float, family: str) -> _Stages:
    delays, path = node_delays(graph, family)
    slowest = max(delays, key=lambda net: delays[net])
    if path + delays[slowest] > period_ns:
        shortest_ns = math.ceil(100 * (path + delays[slowest])) / 100
        raise CompilerError(
            f"no pipeline makes a period of {period_ns} ns: {graph.describe(slowest)} alone takes {shortest_ns:.2f} ns "
            f"on {family}; ask for period:{shortest_ns:.2f}:{family}, or more"
        )
    return _fill_stages(graph, delays, period_ns - path)


def _stages_of_layers(graph: LutGraph) -> _Stages:
    """A stage per layer; inputs and encoder share the first. A register belongs to the layer whose stage it ends.

    A graph file may have inputs and outputs in any layer; all of a sample still enters and leaves at once. Registers
    are with what they delay then, since an output may not read from a layer after its own.
    """
    place = {layer: max(number, 1) - 1 for number, layer in enumerate(graph.layers)}
    number = {net: place[graph.node(net).origin.layer] for net in graph}
    count = max(len(graph.layers) - 2, 0)
    ports = dict.fromkeys(graph.inputs(), 0) | dict.fromkeys(graph.outputs(), count)
    at_the_ends = all(number[net] == stage for net, stage in ports.items())

    def home(origin: Origin, stage: int) -> Origin:
        layer = graph.layers[stage + 1]
        part = origin.part if layer == origin.layer else f"{origin.layer}.{origin.part}".rstrip(".")
        return origin._replace(layer=layer, part=part)

    return _Stages(number | ports, count, home if at_the_ends else _end_of_stage)


def _equal_stages(graph: LutGraph, count: int) -> _Stages:
    """So many stages with the shortest longest one, by bisection of its delay; stages to spare are at the end."""
    delays, _ = node_delays(graph, DEFAULT_FAMILY)
    low, high = max(delays.values()), sum(delays.values())
    stages = _fill_stages(graph, delays, high)
    while high - low > 0.01 * low:
        middle = (low + high) / 2
        found = _fill_stages(graph, delays, middle)
        if found.count <= count:
            high, stages = middle, found
        else:
            low = middle
    number = {net: count if isinstance(graph.node(net).op, Output) else stage for net, stage in stages.number.items()}
    return _Stages(number, count, stages.home)


def _fill_stages(graph: LutGraph, delays: Mapping[int, float], budget: float) -> _Stages:
    """Put every net into the earliest stage in which its path still ends within ``budget``."""
    number: dict[int, int] = {}
    end: dict[int, float] = {}
    for net in graph.order():
        operands = graph.node(net).operands
        stage = max((number[operand] for operand in operands), default=0)
        start = max((end[operand] for operand in operands if number[operand] == stage), default=0.0)
        if start > 0 and start + delays[net] > budget:
            stage, start = stage + 1, 0.0
        number[net], end[net] = stage, start + delays[net]
    count = 1 + max(number.values())
    number.update(dict.fromkeys(graph.outputs(), count))
    return _Stages(number, count, _end_of_stage)


def _end_of_stage(origin: Origin, stage: int) -> Origin:
    return origin._replace(part=f"{origin.part}.stage{stage}".lstrip("."))


def _place_registers(graph: LutGraph, stages: _Stages) -> int:
    """Let every node read its operands as they are in its own stage; returns how many registers that took.

    The registers behind a net have neighbouring numbers, the one for the next stage first.
    """
    arrays = graph.arrays()
    stage = arrays.gather(lambda net, _: stages.number[net])
    delay = stage[arrays.readers] - stage[arrays.operands]
    delay[np.isin(arrays.operands, arrays.rows_where(Const))] = 0
    longest = np.zeros(len(arrays), dtype=np.int64)
    np.maximum.at(longest, arrays.operands, delay)
    delayed = np.flatnonzero(longest)
    first = np.full(len(arrays), -1, dtype=np.int64)
    first[delayed] = graph.next_net + np.cumsum(longest[delayed]) - longest[delayed]
    registers = [
        Node(
            Register(),
            (first_net + number - 1 if number else net,),
            node.width,
            stages.home(node.origin, stages.number[net] + number),
        )
        for net, node, first_net, length in zip(
            arrays.nets[delayed].tolist(),
            [arrays.nodes[row] for row in delayed.tolist()],
            first[delayed].tolist(),
            longest[delayed].tolist(),
            strict=True,
        )
        for number in range(length)
    ]
    graph.extend(registers)
    reads = np.where(delay > 0, first[arrays.operands] + delay - 1, arrays.nets[arrays.operands])
    rewired = np.flatnonzero(arrays.has_pin(delay > 0))
    graph.rewire(
        {
            net: tuple(reads[start:end].tolist())
            for net, start, end in zip(
                arrays.nets[rewired].tolist(),
                arrays.starts[rewired].tolist(),
                (arrays.starts + arrays.pin_counts)[rewired].tolist(),
                strict=True,
            )
        }
    )
    return len(registers)
