"""C: a header that evaluates 64 samples at once in machine words, and a program that tests it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from difflut_compiler.graph import LutGraph
from difflut_compiler.names import feature_slices, feature_words
from difflut_compiler.targets.bit_circuit import BitCircuit, Port, Table, to_bits
from difflut_compiler.targets.decompose import FALSE, TRUE, Step, decompose
from difflut_compiler.targets.target import CircuitFiles
from difflut_compiler.targets.templates import render
from difflut_compiler.vectors import make_vectors

TABLES_PER_FUNCTION = 64
"""Compilers take time that grows faster than a function does; this many tables are a few hundred lines."""
SELF_TEST_SAMPLES = 64


class _Output(NamedTuple):
    name: str
    width: int


@dataclass(frozen=True)
class C:
    """C99: a bit-sliced header, and a self-test with known answers."""

    name: ClassVar[str] = "c"
    suffix: ClassVar[str] = ".h"
    folder: ClassVar[str] = "c"
    language: ClassVar[str] = "c"

    def write_circuit(self, graph: LutGraph, top: str) -> CircuitFiles:
        circuit = to_bits(graph, "C")
        return CircuitFiles(
            {f"{top}.h": _header(graph, circuit, top), f"{top}_test.c": _self_test(graph, circuit.outputs, top)}
        )


def _header(graph: LutGraph, circuit: BitCircuit, top: str) -> str:
    parts = range(0, len(circuit.tables), TABLES_PER_FUNCTION)
    return render(
        "c/network.h.j2",
        title=f"{top}: a look-up-table network made by DiffLUT. This file belongs to its user.",
        samples_note=f"A sample is {', '.join(map(str, feature_words(graph)))}.",
        top=top,
        guard=top.upper(),
        features=[width for _, _, width in feature_slices(graph)],
        feature_bits=circuit.feature_bits,
        outputs=[_Output(port.name, len(port.bits)) for port in circuit.outputs],
        output_bits=sum(len(port.bits) for port in circuit.outputs),
        scratch=circuit.size,
        parts=[_statements(circuit.tables[start : start + TABLES_PER_FUNCTION]) for start in parts],
        output_sources=[bit for port in circuit.outputs for bit in port.bits],
    )


def _statements(tables: Sequence[Table]) -> Iterator[str]:
    for table in tables:
        fan_in = len(table.inputs)
        steps, value = decompose(table.table, fan_in)
        names = [f"v[{bit}]" for bit in table.inputs] + [f"t{table.result}_{place}" for place in range(len(steps))]
        for name, step in zip(names[fan_in:], steps, strict=True):
            yield f"const uint64_t {name} = {_expression(step, names)};"
        yield f"v[{table.result}] = {_literal(value, names)};"


def _literal(literal: int, names: Sequence[str]) -> str:
    """A literal of :mod:`.decompose` that is no constant."""
    return "~" * (literal & 1) + names[(literal >> 1) - 1]


def _expression(step: Step, names: Sequence[str]) -> str:
    select, low, high = step
    if low == FALSE:
        return f"{_literal(select, names)} & {_literal(high, names)}"
    if high == FALSE:
        return f"~{_literal(select, names)} & {_literal(low, names)}"
    if high == TRUE:
        return f"{_literal(select, names)} | {_literal(low, names)}"
    if high == low ^ 1:
        return f"{_literal(select, names)} ^ {_literal(low, names)}"
    low_name = _literal(low, names)
    return f"{low_name} ^ (({low_name} ^ {_literal(high, names)}) & {_literal(select, names)})"


def _self_test(graph: LutGraph, outputs: Sequence[Port], top: str) -> str:
    """The program; its answers are the graph's."""
    vectors = make_vectors(graph, None).inputs
    chosen = vectors[np.unique(np.linspace(0, len(vectors) - 1, SELF_TEST_SAMPLES, dtype=np.int64))]
    answers = graph.evaluate(chosen)
    expected = np.stack([answers[port.name] for port in outputs], axis=1)
    return render(
        "c/self_test.c.j2",
        top=top,
        guard=top.upper(),
        features=chosen.shape[1],
        vectors=chosen.tolist(),
        expected=expected.tolist(),
    )
