"""``resynthesise``: let ABC find fewer LUTs for the same logic."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from difflut_compiler.circuits.blif import Circuit, write_blif
from difflut_compiler.circuits.gates import Blif, write_gates
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import BUFFER, Const, Lut, bools_to_table
from difflut_compiler.passes.runner import PassResult
from difflut_compiler.tools import find_tool, run_abc

SCRIPTS = ("strash; if -K {inputs} -a; mfs2", "strash; dch; if -K {inputs} -a; mfs2")


@dataclass(frozen=True)
class Resynthesise:
    """All LUTs at once go through ABC and are mapped anew onto LUTs of ``inputs`` pins, kept only if they are fewer.

    Circuits whose tables have more than ``entries`` entries altogether are left alone: ABC would take minutes for them,
    and tables of many inputs leave it little to find. Without ABC, nothing happens.
    """

    inputs: int = 6
    entries: int = 1 << 16
    name: ClassVar[str] = "resynthesise"

    def apply(self, graph: LutGraph) -> PassResult:
        entries = sum(block.tables.size for block in graph.arrays().luts.values())
        if not 0 < entries <= self.entries or find_tool("abc") is None:
            return PassResult(False)
        logic = take_logic(graph)
        if logic.is_mixed(graph):
            return PassResult(False)
        mapped = min(map_logic(graph, logic, [script.format(inputs=self.inputs) for script in SCRIPTS]), key=count_luts)
        if count_luts(mapped) >= sum(_luts_needed(graph, net, self.inputs) for net in logic.luts):
            return PassResult(False)
        replaced = _rebuild(graph, logic, mapped)
        return PassResult(True, replaced, {*logic.luts, *replaced.values()})


def _luts_needed(graph: LutGraph, net: int, inputs: int) -> int:
    """How many LUTs of ``inputs`` pins a larger one takes at least: as many as its pins need, as a tree."""
    return -(-(len(graph.node(net).operands) - 1) // (inputs - 1)) or 1


@dataclass(frozen=True)
class Logic:
    """The LUTs of a graph in order, the nets that they read from elsewhere, and the LUTs that others read."""

    luts: Sequence[int]
    leaves: Sequence[int]
    roots: Sequence[int]

    def is_mixed(self, graph: LutGraph) -> bool:
        """Whether something else lies between LUTs: new ones could then not be in any layer before their readers'."""
        place = {layer: number for number, layer in enumerate(graph.layers)}
        first = min(place[graph.node(net).origin.layer] for net in self.luts)
        return any(place[graph.node(net).origin.layer] > first for net in self.leaves)


class MappedLut(NamedTuple):
    """A LUT that ABC made, by names: ``n12`` is leaf 12, ``r12`` the new form of root 12."""

    result: str
    inputs: Sequence[str]
    table: int


def count_luts(mapped: Sequence[MappedLut]) -> int:
    """The LUTs among ABC's tables: not the constants, and not the other names of a net."""
    return sum(bool(table.inputs) and Lut(len(table.inputs), table.table) != BUFFER for table in mapped)


def take_logic(graph: LutGraph) -> Logic:
    luts = [net for net in graph.order() if isinstance(graph.node(net).op, Lut)]
    inside = set(luts)
    leaves = sorted({operand for net in luts for operand in graph.node(net).operands} - inside)
    roots = [net for net in luts if any(reader not in inside for reader in graph.dag.successors(net))]
    return Logic(luts, leaves, roots)


def map_logic(graph: LutGraph, logic: Logic, scripts: Sequence[str]) -> list[list[MappedLut]]:
    """What each of ABC's scripts makes of the logic."""
    blif = Blif()
    for net in logic.luts:
        node = graph.node(net)
        write_gates(blif, node.op, [[f"n{operand}"] for operand in node.operands], False, [f"n{net}"])
    for net in logic.roots:
        blif.buffer(f"n{net}", f"r{net}")
    circuit = Circuit([f"n{net}" for net in logic.leaves], [f"r{net}" for net in logic.roots], blif.lines)
    with tempfile.TemporaryDirectory(prefix="difflut-") as folder:
        write_blif(circuit, Path(folder) / "logic.blif")
        results = [f"mapped_{number}.blif" for number in range(len(scripts))]
        runs = zip(scripts, results, strict=True)
        run_abc("; ".join(f"read_blif logic.blif; {one}; write_blif {result}" for one, result in runs), Path(folder))
        return [list(_read_tables((Path(folder) / result).read_text())) for result in results]


def _read_tables(text: str) -> Iterator[MappedLut]:
    """The tables of a BLIF file of ABC's: rows of ones or rows of zeros, - for both."""
    blocks = text.replace("\\\n", " ").split(".names ")[1:]
    for block in blocks:
        head, *rows = [line for line in block.splitlines() if line and not line.startswith((".", "#"))]
        *inputs, result = head.split()
        addresses = np.arange(1 << len(inputs))
        covered = np.zeros(len(addresses), dtype=np.bool_)
        for row in rows:
            wanted = [(place, char) for place, char in enumerate(row.split()[0]) if char in "01" and inputs]
            matches = np.ones(len(addresses), dtype=np.bool_)
            for place, char in wanted:
                matches &= (addresses >> place & 1) == int(char)
            covered |= matches
        inverted = bool(rows) and rows[0].split()[-1] == "0"
        yield MappedLut(result, inputs, bools_to_table(covered ^ inverted))


def _rebuild(graph: LutGraph, logic: Logic, mapped: Sequence[MappedLut]) -> dict[int, int]:
    """Add the new LUTs, let them replace the roots, and remove the old ones; returns what replaced the roots."""
    nets = {f"n{leaf}": leaf for leaf in logic.leaves}
    tables = list(_in_order(mapped, nets))
    origins = _origins(graph, logic, tables)
    for table in tables:
        pins = [nets[name] for name in table.inputs]
        op = Lut(len(pins), table.table) if pins else Const(table.table)
        nets[table.result] = pins[0] if op == BUFFER else graph.add(op, pins, origin=origins[table.result])
    replaced = {root: nets[f"r{root}"] for root in logic.roots}
    graph.redirect(replaced)
    graph.remove(net for net in logic.luts if net not in replaced)
    return replaced


def _in_order(mapped: Sequence[MappedLut], known: Mapping[str, int]) -> Iterator[MappedLut]:
    """Tables, those whose results others read first."""
    tables = {table.result: table for table in mapped}
    sorter = TopologicalSorter(
        {name: [one for one in table.inputs if one not in known] for name, table in tables.items()}
    )
    return (tables[name] for name in sorter.static_order())


def _origins(graph: LutGraph, logic: Logic, tables: Sequence[MappedLut]) -> dict[str, Origin]:
    """Roots keep their origin. Other new LUTs are in the layer before their readers', numbered behind what is there."""
    place = {layer: number for number, layer in enumerate(graph.layers)}
    first = min(place[graph.node(net).origin.layer] for net in logic.luts)
    numbers = dict.fromkeys(graph.layers, 0)
    for node in graph.nodes.values():
        numbers[node.origin.layer] = max(numbers[node.origin.layer], node.origin.number + 1)
    origins = {f"r{root}": graph.node(root).origin for root in logic.roots}
    latest = {name: place[origin.layer] for name, origin in origins.items()}
    for table in reversed(tables):
        name = table.result
        layer = graph.layers[latest[name]]
        if name not in origins or origins[name].layer != layer:
            origins[name] = Origin(layer, numbers[layer])
            numbers[layer] += 1
        for pin in table.inputs:
            latest[pin] = min(latest.get(pin, len(place)), max(first, latest[name] - 1))
    return origins
