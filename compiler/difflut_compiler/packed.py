"""Graphs as programs for ``csrc/packed_network.cpp``, which runs any of them without compiling anything for it.

Every bit of a network is a row of the program, with one bit per sample; a word is a tuple of rows, the lowest bit
first. Wires, registers and constants cost nothing: they are rows that exist already. Rows are used again once nothing
reads them any more.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from difflut.kernels.build import PACKED_NETWORK, build_library, find_compiler
from difflut_compiler.errors import CompilerError
from difflut_compiler.ops import (
    ALL_ONES,
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
    Words,
    tables_to_bools,
)

if TYPE_CHECKING:
    from difflut_compiler.graph import LutGraph, Node

LANES = 16
LUTS, COUNT, ADD, GREATER, MUX, ARGMAX = range(6)
"""Instructions, as in ``packed_network.cpp``."""
ZERO, ONE, UNREAD = range(3)
"""The rows of the constants, and one for what nobody reads."""
MAX_EXACT_BITS = 24
"""Words up to so many bits are exact as float32, in which features come."""
MAX_MASK_FAN_IN = 3
"""Tables of up to so many inputs are stored as masks, others as picks."""
VECTOR_BYTES = 64
RESULT_BITS = 64

_CHUNK = np.dtype([("start", "<i4"), ("bit", "<i4"), ("thresholds", "<f4", LANES), ("rows", "<i4", LANES)])
_COMPARES = -1
"""The `bit` of a chunk that compares."""

Rows = tuple[int, ...]
Features = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.bool_]


class _Network(ctypes.Structure):
    """As in ``packed_network.cpp``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("chunks", "code", "masks", "picks", "output_rows", "output_ends")),
        *((name, ctypes.c_int64) for name in ("features", "chunk_count", "code_length", "row_count", "outputs")),
    )


@dataclass(frozen=True)
class PackedNetwork:
    """A program: the arrays of ``Network`` in ``packed_network.cpp``, and the counts that they do not tell."""

    features: int
    row_count: int
    chunks: NDArray[np.void]
    code: NDArray[np.int32]
    masks: NDArray[np.uint64]
    picks: NDArray[np.uint16]
    output_rows: NDArray[np.int32]
    output_ends: NDArray[np.int32]

    def run(self, features: Features, threads: int = 0) -> Words:
        """Return the results ``(outputs, samples)`` for features ``(samples, features)``.

        What is neither bytes nor booleans is converted to float32 first. As many threads as OpenMP likes run where
        ``threads`` is 0; the results do not depend on it.
        """
        if features.ndim != 2 or features.shape[1] != self.features:
            raise CompilerError(f"features have shape {features.shape}, the network takes (samples, {self.features})")
        if features.dtype == np.bool_:
            features = np.ascontiguousarray(features).view(np.uint8)
        rows = np.ascontiguousarray(features, dtype=np.uint8 if features.dtype == np.uint8 else np.float32)
        results = np.empty((len(self.output_ends), len(rows)), dtype=np.int64)
        arrays = (self.chunks, self.code, self.masks, self.picks, self.output_rows, self.output_ends)
        sizes = (self.features, len(self.chunks), len(self.code), self.row_count, len(self.output_ends))
        network = _Network(*(array.ctypes.data for array in arrays), *sizes)
        library = _library()
        run = library.dl_run_network_on_bytes if rows.dtype == np.uint8 else library.dl_run_network_on_floats
        not_numbers = run(ctypes.byref(network), rows.ctypes.data, len(rows), results.ctypes.data, threads)
        if not_numbers:
            raise CompilerError("the features hold a NaN, which no fixed-point number stands for; clean the data first")
        return results

    @property
    def only_compares(self) -> bool:
        """Whether every feature is only compared with thresholds."""
        return bool((self.chunks["bit"] == _COMPARES).all())

    def for_reals(self, graph: LutGraph, scale: float) -> PackedNetwork:
        """The program that takes reals, of which the integers of ``graph``'s ports are multiples of ``scale``.

        It answers as this one does for the nearest integers that the ports take. `scale` is a power of two.
        """
        assert self.only_compares
        chunks = self.chunks.copy()
        ranges = np.full((2, -(-self.features // LANES) * LANES), np.nan)
        for feature, net in enumerate(graph.inputs()):
            op = graph.node(net).op
            assert isinstance(op, Input)
            ranges[:, feature] = op.min_value, op.max_value
        lowest, highest = ranges.reshape(2, -1, LANES)[:, chunks["start"] // LANES]
        chunks["thresholds"] = real_thresholds(chunks["thresholds"], lowest, highest, scale)
        return PackedNetwork(**{**vars(self), "chunks": chunks})


def real_thresholds(
    integers: NDArray[np.float32], lowest: NDArray[np.float64], highest: NDArray[np.float64], scale: float
) -> NDArray[np.float32]:
    """The least float32 whose nearest multiple of ``scale``, rounded half to even and saturated, reaches each integer.

    What saturates at or above ``integers`` is reached by every number, and what is beyond ``highest`` by none: NaN.
    """
    halfway = integers.astype(np.float64) - 0.5
    nearest = halfway.astype(np.float32)
    rounds_up = integers % 2 == 0  # the halfway number itself
    too_low = (nearest < halfway) | ((nearest == halfway) & ~rounds_up)
    found = np.where(too_low, np.nextafter(nearest, np.float32(np.inf)), nearest) * np.float32(scale)
    found = np.where(integers <= lowest, np.float32(-np.inf), found)
    reals: NDArray[np.float32] = np.where(integers <= highest, found, np.float32(np.nan)).astype(np.float32)
    return reals


def can_pack(graph: LutGraph) -> bool:
    """Whether programs run on this machine, and take the graph's inputs."""
    words = [graph.node(net).op for net in graph.inputs()]
    return is_available() and all(isinstance(op, Input) and op.bits <= MAX_EXACT_BITS for op in words)


def is_available() -> bool:
    """Whether there is a compiler, and DIFFLUT_KERNELS does not say ``torch``, which means without compiled kernels."""
    return os.environ.get("DIFFLUT_KERNELS") != "torch" and find_compiler() is not None


def describe() -> str:
    """What runs packed networks, in one line."""
    if find_compiler() is None:
        return "numpy: there is no C++ compiler; install g++, and inference is hundreds of times faster"
    if not is_available():
        return "numpy: the environment variable DIFFLUT_KERNELS asks for no compiled kernels"
    return f"packed bits, compiled for this machine, {library_path()}"


def pack_network(graph: LutGraph, nets: Sequence[int]) -> PackedNetwork:
    """Write the program whose results are ``nets``."""
    packer = _Packer(graph)
    for net in _cone(graph, nets):
        packer.add(net)
    return packer.finish(nets)


def _cone(graph: LutGraph, nets: Iterable[int]) -> list[int]:
    """Everything that ``nets`` depend on, operands before readers."""
    nodes = graph.nodes
    found = set(nets)
    waiting = list(found)
    while waiting:
        fresh = set(nodes[waiting.pop()].operands) - found
        found |= fresh
        waiting += fresh
    return [net for net in graph.order() if net in found]


@dataclass(frozen=True)
class _Instruction:
    """Rows that are computed from others, by one operation; ``number`` means what the operation says."""

    kind: int
    results: Rows
    operands: Rows
    number: int = 0


@dataclass
class _Level:
    """What can be computed once the levels below are: LUTs by fan-in, and anything else."""

    luts: dict[int, list[tuple[int, Rows, int]]] = field(default_factory=dict)
    others: list[_Instruction] = field(default_factory=list)

    def rows(self) -> tuple[list[int], list[int]]:
        """The rows that are written and those that are read."""
        luts = [lut for group in self.luts.values() for lut in group]
        written = [row for row, _, _ in luts] + [row for other in self.others for row in other.results]
        read = [row for _, pins, _ in luts for row in pins] + [row for other in self.others for row in other.operands]
        return written, read


class _Packer:
    """Turns nets into rows, one after the other. Rows are numbered anew at the end, when it is clear who reads them."""

    def __init__(self, graph: LutGraph) -> None:
        self.graph = graph
        self.feature_of = {net: feature for feature, net in enumerate(graph.inputs())}
        self.rows: dict[int, Rows] = {}
        self.level_of_row = [0, 0, 0]
        self.levels: list[_Level] = [_Level()]
        # By what a feature is asked, threshold or bit, the row of the answer.
        self.questions: dict[tuple[int, int, int], int] = {}

    def add(self, net: int) -> None:
        """Give a net its rows. Words of inputs get theirs where something reads their bits."""
        node = self.graph.node(net)
        op = node.op
        if isinstance(op, Input):
            return
        if isinstance(op, Compare):
            self.rows[net] = (self._compare(node, op),)
        elif isinstance(op, Bit):
            self.rows[net] = (self.word(node.operands[0])[op.place],)
        elif isinstance(op, Const):
            self.rows[net] = _constant(op.value, op.bits)
        elif isinstance(op, Concat):
            self.rows[net] = tuple(self.word(operand)[0] for operand in node.operands)
        elif isinstance(op, Register | Output):
            self.rows[net] = self.word(node.operands[0])
        elif isinstance(op, Lut):
            self.rows[net] = (self._look_up(op, [self.word(operand)[0] for operand in node.operands]),)
        else:
            self.rows[net] = self._compute(node, [self.word(operand) for operand in node.operands])

    def word(self, net: int) -> Rows:
        """The rows of a net's bits."""
        if net not in self.rows:
            op = self.graph.node(net).op
            assert isinstance(op, Input)
            self.rows[net] = self._read_bits(self.feature_of[net], op)
        return self.rows[net]

    def _compare(self, node: Node, op: Compare) -> int:
        word = self.graph.node(node.operands[0]).op
        assert isinstance(word, Input)
        threshold = min(max(op.threshold, word.min_value), word.max_value + 1)
        return self._ask(self.feature_of[node.operands[0]], _COMPARES, threshold)

    def _read_bits(self, feature: int, op: Input) -> Rows:
        if op.bits == 1 and not op.signed:
            return (self._ask(feature, _COMPARES, 1),)
        return tuple(self._ask(feature, bit, 0) for bit in range(op.bits))

    def _ask(self, feature: int, bit: int, threshold: int) -> int:
        question = (feature, bit, threshold)
        if question not in self.questions:
            self.questions[question] = self._new_row(0)
        return self.questions[question]

    def _look_up(self, op: Lut, pins: list[int]) -> int:
        level = self._level_above(pins)
        row = self._new_row(level)
        self.levels[level].luts.setdefault(op.fan_in, []).append((row, tuple(pins), op.table))
        return row

    def _compute(self, node: Node, operands: list[Rows]) -> Rows:
        op = node.op
        if isinstance(op, PopCount):
            counted = self._run(COUNT, node.width, [row for (row,) in operands])
            return self._add(counted, _constant(op.offset, node.width)) if op.offset else counted
        if isinstance(op, Add):
            return self._add(*_widened(operands, op.bits))
        if isinstance(op, Mux):
            low, high = _widened(operands[1:], node.width)
            return self._run(MUX, node.width, [*low, *high, *operands[0]])
        words = _widened(operands, max(len(word) for word in operands))
        assert isinstance(op, Greater | ArgMax)
        kind = GREATER if isinstance(op, Greater) else ARGMAX
        return self._run(kind, node.width, [row for word in words for row in word], len(words))

    def _add(self, left: Rows, right: Rows) -> Rows:
        return self._run(ADD, len(left), [*left, *right])

    def _run(self, kind: int, width: int, operands: list[int], number: int = 0) -> Rows:
        level = self._level_above(operands)
        results = tuple(self._new_row(level) for _ in range(width))
        self.levels[level].others.append(_Instruction(kind, results, tuple(operands), number))
        return results

    def _level_above(self, operands: Iterable[int]) -> int:
        level = 1 + max(self.level_of_row[row] for row in operands)
        while len(self.levels) <= level:
            self.levels.append(_Level())
        return level

    def _new_row(self, level: int) -> int:
        self.level_of_row.append(level)
        return len(self.level_of_row) - 1

    # -- writing -------------------------------------------------------------------------------------------------

    def finish(self, nets: Sequence[int]) -> PackedNetwork:
        """Write everything down; the results are ``nets``."""
        outputs = [self._result_rows(net) for net in nets]
        place, row_count = self._place_rows({row for rows in outputs for row in rows})
        tables = _Tables()
        code = _write_levels(self.levels, place, tables)
        return PackedNetwork(
            features=len(self.feature_of),
            row_count=row_count,
            chunks=self._write_chunks(place),
            code=code,
            masks=tables.masks(),
            picks=tables.picks(),
            output_rows=place[[row for rows in outputs for row in rows]],
            output_ends=np.cumsum([len(rows) for rows in outputs], dtype=np.int32),
        )

    def _result_rows(self, net: int) -> Rows:
        """The rows of a result, up to its sign if it has one."""
        rows, op = self.word(net), self.graph.node(net).op
        signed = isinstance(op, Input) and op.signed
        return rows + rows[-1:] * (RESULT_BITS - len(rows)) if signed else rows

    def _place_rows(self, results: set[int]) -> tuple[NDArray[np.int32], int]:
        """The place of every row, and the number of places: each is free again above the last level that reads it."""
        read_and_written = [level.rows() for level in self.levels]
        last_read = np.array(self.level_of_row)
        for number, (_, read) in enumerate(read_and_written):
            last_read[read] = number
        last_read[[ZERO, ONE, UNREAD, *results]] = len(self.levels)
        place = np.arange(len(self.level_of_row), dtype=np.int32)
        questions = list(self.questions.values())
        inputs = len(questions)
        place[questions] = np.arange(UNREAD + 1, UNREAD + 1 + inputs)
        count = UNREAD + 1 + inputs
        free: list[int] = []
        done_with: list[list[int]] = [[] for _ in range(len(self.levels) + 1)]
        for row in questions:
            done_with[last_read[row]].append(row)
        for number, (written, _) in enumerate(read_and_written):
            for row in written:
                if not free:
                    free.append(count)
                    count += 1
                place[row] = free.pop()
                done_with[last_read[row]].append(row)
            free += place[done_with[number]].tolist()
        return place, count

    def _write_chunks(self, place: NDArray[np.int32]) -> NDArray[np.void]:
        """Questions to 16 features side by side, as many at a time as the one that is asked most."""
        chunks: dict[tuple[int, int, int], np.void] = {}
        asked: dict[tuple[int, int], int] = {}
        for (feature, bit, threshold), row in sorted(self.questions.items()):
            block, lane = divmod(feature, LANES)
            number = asked.get((feature, bit), 0)
            asked[feature, bit] = number + 1
            key = (block, bit, number)
            if key not in chunks:
                chunks[key] = np.array([(block * LANES, bit, np.nan, UNREAD)], dtype=_CHUNK)[0]
            chunks[key]["thresholds"][lane] = threshold
            chunks[key]["rows"][lane] = place[row]
        return np.array([chunks[key] for key in sorted(chunks)], dtype=_CHUNK)


def _constant(value: int, bits: int) -> Rows:
    return tuple(ONE if value >> bit & 1 else ZERO for bit in range(bits))


def _widened(words: Sequence[Rows], width: int) -> list[Rows]:
    return [word + (ZERO,) * (width - len(word)) for word in words]


class _Tables:
    """The tables of all LUTs, as masks where they are small and as picks where they are not."""

    def __init__(self) -> None:
        self._masks: list[NDArray[np.uint64]] = [np.zeros(0, dtype=np.uint64)]
        self._picks: list[NDArray[np.uint16]] = [np.zeros(0, dtype=np.uint16)]
        self._mask_count = self._pick_count = 0

    def add(self, tables: Sequence[int], fan_in: int) -> int:
        """Add tables of one fan-in and return where they start, among the masks or among the picks."""
        entries = tables_to_bools(tables, fan_in)
        if fan_in <= MAX_MASK_FAN_IN:
            start = self._mask_count
            self._masks.append(np.where(entries, ALL_ONES, np.uint64(0)).ravel())
            self._mask_count += entries.size
        else:
            start = self._pick_count
            functions = entries.reshape(-1, 4) @ np.array([1, 2, 4, 8], dtype=np.uint16)
            self._picks.append((functions * VECTOR_BYTES).astype(np.uint16))
            self._pick_count += len(functions)
        return start

    def masks(self) -> NDArray[np.uint64]:
        return np.concatenate(self._masks)

    def picks(self) -> NDArray[np.uint16]:
        return np.concatenate(self._picks)


def _write_levels(levels: Sequence[_Level], place: NDArray[np.int32], tables: _Tables) -> NDArray[np.int32]:
    """The code of all levels; their tables go to ``tables``."""
    code: list[NDArray[np.int32]] = [np.zeros(0, dtype=np.int32)]
    for level in levels:
        for fan_in, luts in sorted(level.luts.items()):
            start = tables.add([table for _, _, table in luts], fan_in)
            code.append(np.array([LUTS, fan_in, len(luts), start], dtype=np.int32))
            code.append(place[[(row, *pins) for row, pins, _ in luts]].ravel())
        for one in level.others:
            code.append(np.array([one.kind, len(one.results), len(one.operands), one.number], dtype=np.int32))
            code.append(place[[*one.results, *one.operands]])
    return np.concatenate(code)


def library_path() -> Path:
    """The compiled library, from the cache if it is there."""
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError("packed networks need a C++ compiler, and there is none; install g++, or set CXX to one")
    return build_library(compiler, PACKED_NETWORK)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(library_path()))
    for run in (library.dl_run_network_on_floats, library.dl_run_network_on_bytes):
        run.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int)
        run.restype = ctypes.c_int
    return library
