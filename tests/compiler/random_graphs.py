"""Random legal graphs, and a slow evaluator of graphs that shares no code with the compiler's own."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from difflut_compiler.graph import LutGraph, Node, Origin
from difflut_compiler.ops import (
    Add,
    ArgMax,
    Bit,
    Compare,
    Concat,
    Const,
    Greater,
    Input,
    Lut,
    Mux,
    Output,
    PopCount,
    Register,
    bits_for,
)

Inputs = NDArray[np.int64]
Nodes = Mapping[int, Node]


@dataclass(frozen=True)
class Shape:
    """How large a random graph is; what is in it follows from a seed."""

    features: int = 3
    bits: int = 4
    signed: bool = False
    thresholds: int = 4
    widths: tuple[int, ...] = (12, 10)
    max_fan_in: int = 5
    classes: int = 4


PLAIN = Shape()
SHAPES = st.builds(
    Shape,
    features=st.integers(1, 4),
    bits=st.integers(1, 8),
    signed=st.booleans(),
    thresholds=st.integers(1, 5),
    widths=st.lists(st.integers(1, 16), min_size=1, max_size=3).map(tuple),
    max_fan_in=st.integers(1, 7),
    classes=st.integers(1, 12),
)
SEEDS = st.integers(0, 2**32 - 1)


def make_graph(shape: Shape = PLAIN, seed: int = 0) -> LutGraph:
    """A legal graph as lowering makes them, with everything in it that passes look for.

    There are comparators that are never or always true, repeated pins, constant, duplicate and dead LUTs, pins that
    read several layers back, uneven and empty groups of classes.
    """
    chance = random.Random(seed)
    luts = [f"layers.{index}" for index in range(len(shape.widths))]
    graph = LutGraph("network", ["input", "encoder", *luts, "class_counts", "argmax", "output"])
    words = [
        graph.add(Input(f"feature_{index}", shape.bits, shape.signed), origin=Origin("input", index))
        for index in range(shape.features)
    ]
    lowest = -(1 << shape.bits - 1) if shape.signed else 0
    bits = [
        graph.add(
            Compare(chance.randint(lowest, lowest + (1 << shape.bits))),
            (word,),
            origin=Origin("encoder", number * shape.thresholds + level),
        )
        for number, word in enumerate(words)
        for level in range(shape.thresholds)
    ]
    latest = bits
    for layer, width in zip(luts, shape.widths, strict=True):
        latest = _add_layer(graph, chance, layer, width, shape.max_fan_in, bits, latest)
        bits = bits + latest
    _add_vote(graph, chance, latest, shape.classes)
    graph.verify()
    return graph


def _add_layer(
    graph: LutGraph,
    chance: random.Random,
    layer: str,
    width: int,
    max_fan_in: int,
    all_bits: Sequence[int],
    latest: Sequence[int],
) -> list[int]:
    made: list[tuple[Lut, tuple[int, ...]]] = []
    for _ in range(width):
        if made and chance.random() < 0.15:
            made.append(_permute(chance, *chance.choice(made)))
            continue
        fan_in = chance.randint(1, max_fan_in)
        table = chance.getrandbits(1 << fan_in)
        if chance.random() < 0.15:
            table = chance.choice([0, (1 << (1 << fan_in)) - 1])
        pins = chance.choices(latest if chance.random() < 0.8 else all_bits, k=fan_in)
        made.append((Lut(fan_in, table), tuple(pins)))
    return [graph.add(op, pins, origin=Origin(layer, index)) for index, (op, pins) in enumerate(made)]


def _permute(chance: random.Random, op: Lut, pins: tuple[int, ...]) -> tuple[Lut, tuple[int, ...]]:
    """The same function of the same nets with the pins in another order."""
    order = chance.sample(range(op.fan_in), op.fan_in)
    table = 0
    for address in range(1 << op.fan_in):
        old = sum((address >> new & 1) << position for new, position in enumerate(order))
        table |= (op.table >> old & 1) << address
    return Lut(op.fan_in, table), tuple(pins[position] for position in order)


def _add_vote(graph: LutGraph, chance: random.Random, bits: Sequence[int], classes: int) -> None:
    borders = [0, *sorted(chance.randint(0, len(bits)) for _ in range(classes - 1)), len(bits)]
    counts = []
    for index in range(classes):
        members = bits[borders[index] : borders[index + 1]]
        op = PopCount() if members else Const(0)
        counts.append(graph.add(op, members, origin=Origin("class_counts", index)))
    winner = graph.add(ArgMax(), counts, origin=Origin("argmax", 0))
    graph.add(Output("class_index"), (winner,), origin=Origin("output", 0))


def small_graph(signed: bool) -> LutGraph:
    """Two words of three bits, fourteen LUTs, and three classes of eight, two and four votes: all of it matters."""
    graph = LutGraph("network", ["input", "encoder", "layers.0", "class_counts", "argmax", "output"])
    words = [graph.add(Input(f"x{index}", 3, signed), origin=Origin("input", index)) for index in range(2)]
    lowest = -4 if signed else 0
    bits = [
        graph.add(Compare(lowest + 1 + 2 * level), (word,), origin=Origin("encoder", 3 * index + level))
        for index, word in enumerate(words)
        for level in range(3)
    ]
    tables = [0xE8, 0x1B, 0x96, 0x72, 0xD4, 0x2E, 0x69, 0xB2, 0x8D, 0x4E, 0x17, 0xCA, 0x53, 0x3A]
    luts = [
        graph.add(
            Lut(3, table),
            (bits[index % 6], bits[(2 * index + 1) % 6], bits[(index + 3 + index // 6) % 6]),
            origin=Origin("layers.0", index),
        )
        for index, table in enumerate(tables)
    ]
    groups = (luts[:8], luts[8:10], luts[10:])
    counts = [graph.add(PopCount(), group, origin=Origin("class_counts", index)) for index, group in enumerate(groups)]
    winner = graph.add(ArgMax(), counts, origin=Origin("argmax", 0))
    graph.add(Output("class_index"), (winner,), origin=Origin("output", 0))
    graph.verify()
    return graph


def with_adders(graph: LutGraph) -> LutGraph:
    """The same graph with counters of two to six bits and adders of them instead of popcounts.

    Adders come in graphs from files; no pass makes them.
    """
    summed = graph.copy()
    counts = {net: node for net, node in graph.snapshot().items() if isinstance(node.op, PopCount)}
    summed.redirect({net: _add_up(summed, node) for net, node in counts.items()})
    summed.verify()
    return summed


def _add_up(graph: LutGraph, count: Node) -> int:
    assert isinstance(count.op, PopCount)
    offset, origin = count.op.offset, count.origin
    parts: list[tuple[int, int]] = []  # a net and the greatest value it can have
    for start in range(0, len(count.operands), 6):
        bits = count.operands[start : start + 6]
        name = origin._replace(part=f"count{start // 6}")
        parts.append((bits[0] if len(bits) == 1 else _count(graph, bits, name), len(bits)))
    if offset:
        constant = Const(offset, bits_for(offset))
        parts.append((graph.add(constant, origin=origin._replace(part="offset")), offset))
    total, greatest = parts[0]
    for number, (part, more) in enumerate(parts[1:]):
        greatest += more
        total = graph.add(Add(bits_for(greatest)), (total, part), origin=origin._replace(part=f"sum{number}"))
    return total


def _count(graph: LutGraph, bits: Sequence[int], origin: Origin) -> int:
    """How many of two to six bits are ones, one LUT per bit of the number."""
    ones = [address.bit_count() for address in range(1 << len(bits))]
    tables = [
        sum((one >> place & 1) << address for address, one in enumerate(ones)) for place in range(bits_for(len(bits)))
    ]
    luts = [
        graph.add(Lut(len(bits), table), bits, origin=origin._replace(part=f"{origin.part}_bit{place}"))
        for place, table in enumerate(tables)
    ]
    return graph.add(Concat(), luts, origin=origin)


def random_inputs(graph: LutGraph, samples: int, seed: int = 0) -> Inputs:
    """Integers of the ports' ranges, ``(samples, inputs)``; the first rows are the corners of the range."""
    words = [op for net in graph.inputs() if isinstance(op := graph.node(net).op, Input)]
    low = [-(1 << word.bits - 1) if word.signed else 0 for word in words]
    high = [least + (1 << word.bits) - 1 for least, word in zip(low, words, strict=True)]
    chance = random.Random(seed)
    rows = [low, high] + [list(map(chance.randint, low, high)) for _ in range(max(0, samples - 2))]
    return np.array(rows[:samples], dtype=np.int64).reshape(samples, len(words))


def all_inputs(graph: LutGraph) -> Inputs:
    """Every input there is, ``(samples, inputs)``."""
    words = [op for net in graph.inputs() if isinstance(op := graph.node(net).op, Input)]
    ranges = [range(word.min_value, word.max_value + 1) for word in words]
    return np.stack([axis.ravel() for axis in np.meshgrid(*map(list, ranges), indexing="ij")], axis=1)


def slow_outputs(graph: LutGraph | Nodes, inputs: Inputs) -> dict[str, list[int]]:
    """What the outputs are, node by node and sample by sample in plain Python; registers are looked through."""
    nodes = graph.snapshot() if isinstance(graph, LutGraph) else graph
    values = [slow_values(nodes, row) for row in inputs.tolist()]
    outputs = [(net, node.op.name) for net, node in nodes.items() if isinstance(node.op, Output)]
    return {name: [row[net] for row in values] for net, name in outputs}


def slow_values(nodes: Nodes, row: Sequence[int], state: Mapping[int, int] | None = None) -> dict[int, int]:
    """The value of every net for one sample; with ``state``, registers have the values given there."""
    inputs = (net for net in sorted(nodes) if isinstance(nodes[net].op, Input))
    values = dict(zip(inputs, row, strict=True)) | dict(state or {})
    pending = list(nodes)
    while pending:
        net = pending[-1]
        missing = [operand for operand in nodes[net].operands if operand not in values]
        if missing and net not in values:
            pending.extend(missing)
            continue
        pending.pop()
        if net not in values:
            values[net] = slow_value(nodes[net], [values[operand] for operand in nodes[net].operands])
    return values


def slow_clocked(graph: LutGraph, inputs: Inputs, latency: int) -> dict[str, list[int]]:
    """The outputs that belong to each sample if one enters per clock cycle and answers take ``latency`` cycles."""
    nodes = graph.snapshot()
    registers = [net for net, node in nodes.items() if isinstance(node.op, Register)]
    outputs = {net: node.op.name for net, node in nodes.items() if isinstance(node.op, Output)}
    found: dict[str, list[int]] = {name: [] for name in outputs.values()}
    state = dict.fromkeys(registers, 0)
    rows = inputs.tolist()
    for cycle, row in enumerate([*rows, *[rows[-1]] * latency]):
        values = slow_values(nodes, row, state)
        state = {net: values[nodes[net].operands[0]] for net in registers}
        if cycle >= latency:
            for net, name in outputs.items():
                found[name].append(values[net])
    return found


def slow_value(node: Node, operands: Sequence[int]) -> int:
    """What an operation makes of its operands, written from its description."""
    match node.op:
        case Const(value):
            return value
        case Compare(threshold):
            return 1 if operands[0] >= threshold else 0
        case Bit(place):
            return bits_of(operands[0], place + 1)[place]
        case Lut(_, table):
            address = "".join(str(bit) for bit in reversed(operands))
            return table >> int(address, 2) & 1
        case PopCount(offset):
            return offset + list(operands).count(1)
        case Concat():
            return value_of(operands)
        case Add(bits):
            return (operands[0] + operands[1]) % (1 << bits)
        case Greater():
            return 1 if operands[1] > operands[0] else 0
        case Mux():
            return operands[2] if operands[0] == 1 else operands[1]
        case ArgMax():
            return list(operands).index(max(operands))
        case Register() | Output():
            return operands[0]
    raise AssertionError(f"no value for {node.op}")


def as_lists(outputs: Mapping[str, NDArray[np.int64]]) -> dict[str, list[int]]:
    return {name: values.tolist() for name, values in outputs.items()}


def bits_of(value: int, width: int) -> list[int]:
    """The bits of a word in two's complement, least significant first."""
    return [value >> bit & 1 for bit in range(width)]


def value_of(bits: Iterable[int]) -> int:
    return sum(bit << place for place, bit in enumerate(bits))
