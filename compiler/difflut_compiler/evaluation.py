"""Running a LUT graph on arrays: the oracle for every pass, every target and the trained model.

Where there is a C++ compiler, :mod:`difflut_compiler.packed` does it; what follows is its twin in numpy, which that is
tested against. Here nets are evaluated level by level, all LUTs of one level and fan-in in one array operation, 64
samples per machine word. What an operation means is asked of its class in :mod:`difflut_compiler.ops`; this module only
moves arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from difflut_compiler.arrays import distinct
from difflut_compiler.errors import CompilerError
from difflut_compiler.ops import (
    Add,
    ArgMax,
    Bit,
    Bits,
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
    Words,
)
from difflut_compiler.packed import can_pack, pack_network

if TYPE_CHECKING:
    from difflut_compiler.graph import LutGraph, Node

SAMPLES_PER_CHUNK = 4096
LUT_SCRATCH_BYTES = 64 << 20


@dataclass(frozen=True)
class _Group:
    """Nodes that are evaluated in one go: same operation, same number of operands, no one reads another.

    LUTs are only ``nets``, ``operands`` and ``tables``; others are asked what they mean, so that there are ``nodes``.
    """

    nodes: tuple[Node, ...]
    nets: NDArray[np.int64]
    operands: NDArray[np.int64]
    tables: NDArray[np.bool_]


def evaluate_nets(graph: LutGraph, inputs: ArrayLike, nets: Sequence[int]) -> Words:
    """Values of ``nets`` for integer ``inputs`` of shape ``(samples, inputs)``; returns ``(nets, samples)``."""
    return evaluator(graph, nets)(inputs)


def evaluator(graph: LutGraph, nets: Sequence[int]) -> Callable[[ArrayLike], Words]:
    """:func:`evaluate_nets` for many calls, as long as the graph stays as it is."""
    packed = pack_network(graph, nets) if can_pack(graph) else None

    def evaluate(inputs: ArrayLike) -> Words:
        integers = np.asarray(inputs)
        _check_inputs(graph, integers)
        if packed is None:
            return evaluate_in_numpy(graph, integers, nets)
        return packed.run(integers.astype(np.float32))

    return evaluate


def evaluate_in_numpy(graph: LutGraph, inputs: NDArray[np.int64], nets: Sequence[int]) -> Words:
    """What :func:`evaluate_nets` returns, without compiled code; the inputs are not checked."""
    words = np.ascontiguousarray(inputs.T, dtype=np.int64)
    groups = _groups(graph)
    chunks = range(0, words.shape[1], SAMPLES_PER_CHUNK)
    parts = [_evaluate_chunk(graph, groups, words[:, start : start + SAMPLES_PER_CHUNK], nets) for start in chunks]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(nets), 0), dtype=np.int64)


def _check_inputs(graph: LutGraph, inputs: NDArray[np.int64]) -> None:
    ports = graph.inputs()
    if inputs.ndim != 2 or inputs.shape[1] != len(ports):
        raise CompilerError(f"inputs have shape {inputs.shape}, the circuit takes (samples, {len(ports)})")
    if not np.issubdtype(inputs.dtype, np.integer):
        raise CompilerError(f"inputs are {inputs.dtype}, the circuit takes integers in its input format")
    if not inputs.size:
        return
    for net, lowest, highest in zip(ports, inputs.min(axis=0), inputs.max(axis=0), strict=True):
        op = graph.node(net).op
        assert isinstance(op, Input)
        if lowest < op.min_value or highest > op.max_value:
            raise CompilerError(
                f"input {op.name} has values {lowest} to {highest}, its port takes {op.min_value} to {op.max_value}"
            )


def _groups(graph: LutGraph) -> list[_Group]:
    """Groups of nodes in an order in which operands come first."""
    arrays = graph.arrays()
    groups: dict[tuple[int, str, int], _Group] = {}
    members: dict[tuple[int, str, int], list[int]] = {}
    for row in np.flatnonzero(~arrays.is_lut).tolist():
        node = arrays.nodes[row]
        members.setdefault((int(arrays.level[row]), node.op.kind, len(node.operands)), []).append(row)
    for key, rows in members.items():
        nodes = tuple(arrays.nodes[row] for row in rows)
        operands = np.array([node.operands for node in nodes], dtype=np.int64).reshape(len(rows), -1)
        groups[key] = _Group(nodes, arrays.nets[rows], operands, np.zeros((0, 0), np.bool_))
    for fan_in, block in arrays.luts.items():
        level = arrays.level[block.rows]
        for number in distinct(level).tolist():
            part = level == number
            operands = arrays.nets[block.operands[part]]
            groups[number, Lut.kind, fan_in] = _Group((), arrays.nets[block.rows[part]], operands, block.tables[part])
    return [groups[key] for key in sorted(groups)]


class _Values:
    """The values of all nets for one chunk of samples: bits packed, words as integers."""

    def __init__(self, graph: LutGraph, samples: int) -> None:
        self.samples = samples
        nets, is_bit = graph.arrays().nets, _are_bits(graph)
        self._is_bit = np.zeros(nets.max(initial=-1) + 1, dtype=np.bool_)
        self._is_bit[nets] = is_bit
        self._row = np.zeros_like(self._is_bit, dtype=np.int64)
        self._row[nets[is_bit]] = np.arange(int(is_bit.sum()))
        self._row[nets[~is_bit]] = np.arange(int((~is_bit).sum()))
        self._bits = np.zeros((int(is_bit.sum()), -(-samples // 64)), dtype=np.uint64)
        self._words = np.zeros((int((~is_bit).sum()), samples), dtype=np.int64)

    def bits(self, nets: NDArray[np.int64]) -> Bits:
        """Packed bits of nets of width 1, any shape of ``nets`` plus one axis of words."""
        return self._bits[self._row[nets]]

    def words(self, nets: NDArray[np.int64]) -> Words:
        """Integer values ``(nets, samples)``; bits read as 0 and 1."""
        is_bit = self._is_bit[nets]
        values = np.empty((len(nets), self.samples), dtype=np.int64)
        values[~is_bit] = self._words[self._row[nets[~is_bit]]]
        values[is_bit] = unpack_bits(self._bits[self._row[nets[is_bit]]], self.samples)
        return values

    def set_bits(self, nets: NDArray[np.int64], bits: Bits) -> None:
        self._bits[self._row[nets]] = bits

    def set_words(self, nets: NDArray[np.int64], values: Words) -> None:
        is_bit = self._is_bit[nets]
        self._words[self._row[nets[~is_bit]]] = values[~is_bit]
        self._bits[self._row[nets[is_bit]]] = pack_bits(values[is_bit] != 0)


def _are_bits(graph: LutGraph) -> NDArray[np.bool_]:
    """``(nodes,)``: which nets are kept as bits. A signed one-bit input is -1 or 0, so it is kept as a number."""
    arrays = graph.arrays()
    is_bit: NDArray[np.bool_] = arrays.widths == 1
    inputs = arrays.rows_where(Input)
    is_bit[inputs] &= [isinstance(op := arrays.nodes[row].op, Input) and not op.signed for row in inputs.tolist()]
    return is_bit


def _evaluate_chunk(graph: LutGraph, groups: Sequence[_Group], inputs: Words, nets: Sequence[int]) -> Words:
    values = _Values(graph, inputs.shape[1])
    values.set_words(np.array(graph.inputs(), dtype=np.int64), inputs)
    for group in groups:
        _evaluate_group(group, values)
    return values.words(np.array(nets, dtype=np.int64))


def _evaluate_group(group: _Group, values: _Values) -> None:
    if not group.nodes:
        _evaluate_luts(group, values)
        return
    first = group.nodes[0].op
    if isinstance(first, Input):
        return
    if isinstance(first, Compare):
        ops = [node.op for node in group.nodes if isinstance(node.op, Compare)]
        values.set_bits(group.nets, pack_bits(Compare.evaluate(ops, values.words(group.operands[:, 0]))))
    elif isinstance(first, Bit):
        bits = [node.op for node in group.nodes if isinstance(node.op, Bit)]
        values.set_bits(group.nets, pack_bits(Bit.evaluate(bits, values.words(group.operands[:, 0]))))
    elif isinstance(first, Const):
        consts = [node.op for node in group.nodes if isinstance(node.op, Const)]
        values.set_words(group.nets, Const.evaluate(consts, values.samples))
    elif isinstance(first, Register | Output):
        values.set_words(group.nets, values.words(group.operands[:, 0]))
    else:
        _evaluate_arithmetic(group, values)


def _evaluate_luts(group: _Group, values: _Values) -> None:
    words_per_net = -(-values.samples // 64)
    bytes_per_lut = 8 * max(1, words_per_net) << group.operands.shape[1]
    step = max(1, LUT_SCRATCH_BYTES // bytes_per_lut)
    for start in range(0, len(group.nets), step):
        part = slice(start, start + step)
        values.set_bits(group.nets[part], Lut.evaluate(group.tables[part], values.bits(group.operands[part])))


def _evaluate_arithmetic(group: _Group, values: _Values) -> None:
    """Sums and comparisons: few nodes, so one by one."""
    for node, net, operands in zip(group.nodes, group.nets, group.operands, strict=True):
        op = node.op
        assert isinstance(op, PopCount | Concat | Add | Greater | Mux | ArgMax)
        result = op.evaluate(values.words(operands))
        values.set_words(np.array([net]), result[np.newaxis])


def pack_bits(bits: NDArray[np.bool_]) -> Bits:
    """``(nets, samples)`` booleans to ``(nets, words)``, sample 0 in the lowest bit."""
    samples = bits.shape[1]
    padded = np.zeros((bits.shape[0], -(-samples // 64) * 64), dtype=np.bool_)
    padded[:, :samples] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def unpack_bits(bits: Bits, samples: int) -> Words:
    """The inverse of :func:`pack_bits`, as integers 0 and 1."""
    raw = np.ascontiguousarray(bits.astype("<u8", copy=False)).view(np.uint8)
    return np.unpackbits(raw, axis=1, count=samples, bitorder="little").astype(np.int64)
