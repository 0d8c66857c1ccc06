"""Cut points: how a whole circuit becomes many small ones that can be proven one by one.

Every net of the graph that has a signal in the hardware is cut: its readers read a free input ``n<net>.<bit>``, its
logic drives an output ``n<net>.<bit>.next``. Two circuits with the same cuts that agree on every output for every value
of the free inputs compute the same at every net: operands come before readers, so induction over the graph's order (or
over time, where the cut is a register) carries equality from the ports to every net and to the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum

from difflut_compiler.circuits.blif import Circuit
from difflut_compiler.circuits.gates import Blif, Word, constant_word, write_gates
from difflut_compiler.graph import LutGraph, reads_signed
from difflut_compiler.names import Ref, Signal, feature_slices
from difflut_compiler.ops import Bit, Const, Input, Output, Register


class Edge(Enum):
    """What registers do at a clock edge: load their operands, hold what they have, or become 0."""

    LOAD = "load"
    HOLD = "hold"
    CLEAR = "clear"


def next_of(bit: str) -> str:
    """The output that the logic of a cut bit drives."""
    return f"{bit}.next"


@dataclass(frozen=True)
class CutNames:
    """Names of the free inputs and proven outputs of a cut graph."""

    features: Sequence[str]
    cut_bits: Sequence[str]
    output_bits: Sequence[str]

    @property
    def inputs(self) -> list[str]:
        return [*self.features, *self.cut_bits]

    @property
    def outputs(self) -> list[str]:
        return [next_of(bit) for bit in (*self.cut_bits, *self.output_bits)]


def cut_word(graph: LutGraph, net: int) -> Word:
    """The bits of a net under the names that both sides of a proof use."""
    node = graph.node(net)
    if isinstance(node.op, Const):
        return constant_word(node.op.value, node.op.bits)
    if isinstance(node.op, Bit):
        return [cut_word(graph, node.operands[0])[node.op.place]]
    if isinstance(node.op, Output):
        return [f"output_{node.op.name}.{bit}" for bit in range(node.width)]
    return [f"n{net}.{bit}" for bit in range(node.width)]


def cut_names(graph: LutGraph) -> CutNames:
    features = [bit for net in graph.inputs() for bit in cut_word(graph, net)]
    cut = [
        bit
        for net in sorted(graph)
        if not isinstance(graph.node(net).op, Input | Bit | Const | Output)
        for bit in cut_word(graph, net)
    ]
    outputs = [bit for net in graph.outputs() for bit in cut_word(graph, net)]
    return CutNames(features, cut, outputs)


def reference_circuit(
    graph: LutGraph, joined: Mapping[str, str], absent: Set[str] = frozenset(), edge: Edge = Edge.LOAD
) -> Circuit:
    """The graph itself, cut at every net, each operation written in gates.

    Readers of a bit in ``joined`` read the bit or constant that the hardware joined it with; that this is the same
    value is one of the things proven, since the hardware drives ``<bit>.next`` from what it was joined with. Bits in
    ``absent`` are not compared: the hardware neither has nor reads them.
    """
    names = cut_names(graph)
    blif = Blif()
    for net in sorted(graph):
        node = graph.node(net)
        if isinstance(node.op, Input | Bit | Const):
            continue
        operands = [[joined.get(bit, bit) for bit in word] for word in _words_read(graph, net, edge)]
        result = [next_of(bit) for bit in cut_word(graph, net)]
        write_gates(blif, node.op, operands, reads_signed(node, graph.nodes), result)
    outputs = [next_of(bit) for bit in (*names.cut_bits, *names.output_bits) if bit not in absent]
    return Circuit(names.inputs, outputs, blif.lines)


def _words_read(graph: LutGraph, net: int, edge: Edge) -> list[Word]:
    """What a net is made from; that of a register depends on the clock edge."""
    node = graph.node(net)
    if not isinstance(node.op, Register) or edge is Edge.LOAD:
        return [cut_word(graph, operand) for operand in node.operands]
    return [cut_word(graph, net) if edge is Edge.HOLD else constant_word(0, node.width)]


def whole_reference(graph: LutGraph) -> Circuit:
    """The graph in one piece, from the features to the outputs, each operation written in gates."""
    names = cut_names(graph)
    blif = Blif()
    for net in graph.order():
        node = graph.node(net)
        if not isinstance(node.op, Input | Bit | Const):
            operands = [cut_word(graph, operand) for operand in node.operands]
            result = cut_word(graph, net)
            bits = [next_of(bit) for bit in result] if isinstance(node.op, Output) else result
            write_gates(blif, node.op, operands, reads_signed(node, graph.nodes), bits)
    return Circuit(names.features, [next_of(bit) for bit in names.output_bits], blif.lines)


def feature_bit_names(graph: LutGraph) -> dict[str, str]:
    """``features[12]`` of the hardware's port to the cut name of the same bit."""
    port = Signal("features", sum(width for _, _, width in feature_slices(graph)))
    bits = Ref(port, None).bit_names()
    return {
        bits[low + bit]: name for net, low, _ in feature_slices(graph) for bit, name in enumerate(cut_word(graph, net))
    }
