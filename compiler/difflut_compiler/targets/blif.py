"""BLIF: the netlist format of logic synthesis; every net of the graph keeps its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph
from difflut_compiler.names import Ref, Signal
from difflut_compiler.ops import table_to_bools
from difflut_compiler.targets.bit_circuit import BitCircuit, feature_names, named_bits, to_bits
from difflut_compiler.targets.target import CircuitFiles
from difflut_compiler.targets.templates import render

NAMES_PER_LINE = 16
MAX_PINS = 12
"""Yosys reads no larger tables."""


@dataclass(frozen=True)
class Blif:
    """One combinational model of look-up tables, for Yosys, ABC, VTR and other synthesis tools."""

    name: ClassVar[str] = "blif"
    suffix: ClassVar[str] = ".blif"
    folder: ClassVar[str] = "netlist"
    language: ClassVar[str] = "blif"

    def write_circuit(self, graph: LutGraph, top: str) -> CircuitFiles:
        circuit = to_bits(graph, "BLIF")
        names = {0: "$false", 1: "$true", **named_bits(circuit)}
        outputs = output_names(circuit)
        text = render(
            "blif/network.blif.j2",
            top=top,
            inputs=_lines(feature_names(circuit)),
            outputs=_lines(list(outputs)),
            tables=_tables(circuit, names),
            buffers=list(_buffers(circuit, names, outputs)),
        )
        return CircuitFiles({f"{top}.blif": text})


def output_names(circuit: BitCircuit) -> dict[str, int]:
    """The bits of the outputs by name, in order."""
    return {
        name: bit
        for port in circuit.outputs
        for name, bit in zip(
            Ref(Signal(port.name, None if len(port.bits) == 1 else len(port.bits)), None).bit_names(),
            port.bits,
            strict=True,
        )
    }


def _lines(names: Sequence[str]) -> list[str]:
    return [" ".join(names[start : start + NAMES_PER_LINE]) for start in range(0, len(names), NAMES_PER_LINE)]


def _tables(circuit: BitCircuit, names: dict[int, str]) -> Iterator[str]:
    for result, table, inputs in circuit.tables:
        if len(inputs) > MAX_PINS:
            raise CompilerError(
                f"{names[result]} is a table of {len(inputs)} inputs, and BLIF is read with up to {MAX_PINS}; choose "
                f"another target, such as aiger"
            )
        pins = " ".join(names[bit] for bit in inputs)
        yield f".names {pins} {names[result]}\n{_rows(table, len(inputs))}"


@lru_cache(maxsize=1 << 16)
def _rows(table: int, fan_in: int) -> str:
    """The addresses at which the table is 1, or those at which it is 0 if they are fewer; input 0 stands first."""
    entries = table_to_bools(table, fan_in)
    value = bool(2 * entries.sum() <= entries.size)
    addresses = np.flatnonzero(entries == value).tolist()
    return "\n".join(f"{address:0{fan_in}b}"[::-1] + f" {value:d}" for address in addresses)


def _buffers(circuit: BitCircuit, names: dict[int, str], outputs: dict[str, int]) -> Iterator[str]:
    """Nets and outputs that are the same bit as another one, or a constant."""
    for name, bit in [*circuit.names.items(), *outputs.items()]:
        if names[bit] != name:
            yield f".names {names[bit]} {name}\n1 1"
