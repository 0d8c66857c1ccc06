"""AIGER: the circuit as AND gates and inverters, in the text form and in the binary form of the format.

Format 1.9 of A. Biere, "The AIGER And-Inverter Graph (AIG) Format", 2007: literal ``2 * v`` is variable ``v``, the odd
one after it its inverse; variable 0 is the constant false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from difflut_compiler.graph import LutGraph
from difflut_compiler.targets.bit_circuit import BitCircuit, feature_names, to_bits
from difflut_compiler.targets.blif import output_names
from difflut_compiler.targets.decompose import FALSE, TRUE, decompose
from difflut_compiler.targets.target import CircuitFiles
from difflut_compiler.targets.templates import render


@dataclass(frozen=True)
class Aiger:
    """AND gates and inverters, as text (.aag) and binary (.aig), for ABC, model checkers and SAT tools."""

    name: ClassVar[str] = "aiger"
    suffix: ClassVar[str] = ".aag"
    folder: ClassVar[str] = "netlist"
    language: ClassVar[str] = "aiger"

    def write_circuit(self, graph: LutGraph, top: str) -> CircuitFiles:
        circuit = to_bits(graph, "AIGER")
        gates = _to_gates(circuit)
        outputs = output_names(circuit)
        literals = [gates.literals[bit] for bit in outputs.values()]
        symbols = [f"i{place} {name}" for place, name in enumerate(feature_names(circuit))]
        symbols += [f"o{place} {name}" for place, name in enumerate(outputs)]
        comment = f"{top}: a look-up-table network made by DiffLUT. This file belongs to its user."
        counts = f"{gates.inputs + len(gates.ands)} {gates.inputs} 0 {len(outputs)} {len(gates.ands)}"
        text = render(
            "aiger/network.aag.j2",
            counts=counts,
            inputs=range(2, 2 * gates.inputs + 2, 2),
            outputs=literals,
            ands=gates.ands,
            first=2 * gates.inputs + 2,
            symbols=symbols,
            comment=comment,
        )
        head = "".join(f"{line}\n" for line in [f"aig {counts}", *literals])
        tail = "".join(f"{line}\n" for line in [*symbols, "c", comment])
        binary = head.encode() + _encode(gates) + tail.encode()
        return CircuitFiles({f"{top}.aag": text}, {f"{top}.aig": binary})


@dataclass
class _Gates:
    """AND gates: gate ``i`` is variable ``inputs + 1 + i``; of its two literals, the greater stands first.

    ``literals`` has the literal of every bit of the circuit. Equal gates are made once.
    """

    inputs: int
    literals: list[int]
    ands: list[tuple[int, int]] = field(default_factory=list)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, left: int, right: int) -> int:
        """[left and right]; the literal of a new gate only where it is needed."""
        if left < right:
            left, right = right, left
        if right == FALSE or left == right ^ 1:
            return FALSE
        if right in {TRUE, left}:
            return left
        if (left, right) not in self._known:
            self.ands.append((left, right))
            self._known[left, right] = 2 * (self.inputs + len(self.ands))
        return self._known[left, right]

    def choose(self, select: int, low: int, high: int) -> int:
        """``low`` where ``select`` is 0, ``high`` where it is 1."""
        if high == TRUE:
            return self.add(select ^ 1, low ^ 1) ^ 1
        return self.add(self.add(select, high) ^ 1, self.add(select ^ 1, low) ^ 1) ^ 1


def _to_gates(circuit: BitCircuit) -> _Gates:
    gates = _Gates(circuit.feature_bits, [FALSE, TRUE, *range(2, 2 * circuit.feature_bits + 2, 2)])
    for _, table, inputs in circuit.tables:
        steps, value = decompose(table, len(inputs))
        literals = [gates.literals[bit] for bit in inputs]
        for step in steps:
            literals.append(gates.choose(*(_resolve(literal, literals) for literal in step)))
        gates.literals.append(_resolve(value, literals))
    return gates


def _resolve(literal: int, literals: Sequence[int]) -> int:
    """A literal of a decomposed table as a literal of the whole circuit."""
    return literal if literal in (FALSE, TRUE) else literals[(literal >> 1) - 1] ^ (literal & 1)


def _encode(gates: _Gates) -> bytes:
    """The gates in the binary form: per gate two differences, each in groups of seven bits, the lowest first."""
    coded = bytearray()
    for place, (left, right) in enumerate(gates.ands):
        for difference in (2 * (gates.inputs + 1 + place) - left, left - right):
            while difference > 0x7F:
                coded.append(difference & 0x7F | 0x80)
                difference >>= 7
            coded.append(difference)
    return bytes(coded)
