"""The LUT graph: the one description of a network that passes, targets, proofs and reports share.

Conventions, written down here once and valid everywhere in the compiler:

* **Net.** Every node computes exactly one net and is named by an integer id that is never used twice. A net of width 1
  is a bit, a wider one an unsigned word; only :class:`~difflut_compiler.ops.Input` words may be signed, and these are
  read by comparators only.
* **Pins.** The ordered tuple ``operands`` of a node is the truth about what it reads; the same net may be read twice.
  The edges of the networkx graph are an index of it (a ``DiGraph`` keeps one edge per pair of nodes).
* **Bit order.** Operand ``j`` of a LUT is address bit ``j``, least significant first; bit ``a`` of its table is the
  output at address ``a``. Bit vectors are feature-major, bit-minor.
* **Origin.** Every node says where in the model it comes from: layer, number in that layer, and for the parts of a sum
  or an argmax which part. Origins name the signals of the hardware and the places in error messages.
* **Layers.** ``graph.layers`` lists the layers in the order of data flow; a node reads only its own or earlier layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from difflut_compiler.errors import GraphError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.ops import AnyOp, Compare, Input, Operand, Output, require


class Origin(NamedTuple):
    """Where a node comes from: ``layers.0`` and 12 is LUT 12 of the first LUT layer."""

    layer: str
    number: int
    part: str = ""

    def __str__(self) -> str:
        return f"{self.layer}[{self.number}]" + (f".{self.part}" if self.part else "")


class Node(NamedTuple):
    """One operation, the nets it reads in pin order, the width of the net it computes, and where it comes from."""

    op: AnyOp
    operands: tuple[int, ...]
    width: int
    origin: Origin


def reads_signed(node: Node, nodes: Mapping[int, Node]) -> bool:
    """Whether ``node`` reads a signed input word among ``nodes``."""
    return any(isinstance(op := nodes[operand].op, Input) and op.signed for operand in node.operands)


def _check_operands(op: AnyOp, operands: Sequence[Operand]) -> None:
    op.check(operands)
    signed = any(isinstance(operand.op, Input) and operand.op.signed for operand in operands)
    require(not signed or isinstance(op, Compare), "reads a signed word, which only comparators do")


@dataclass(frozen=True)
class GraphSize:
    """How many nodes of each kind a graph has, and what they are estimated to cost in 6-input LUTs."""

    count_by_kind: Mapping[str, int]
    lut6_by_layer: Mapping[str, int]
    levels: int

    @property
    def lut6_total(self) -> int:
        return sum(self.lut6_by_layer.values())


class LutGraph:
    """A network of LUTs, comparators, sums and an argmax.

    ``nodes`` says what every net is; ``dag``, a ``networkx.DiGraph``, indexes who reads whom.
    """

    def __init__(self, name: str, layers: Iterable[str]) -> None:
        self.name = name
        self.layers = tuple(layers)
        self.nodes: dict[int, Node] = {}
        self.dag: nx.DiGraph[int] = nx.DiGraph()
        self._next_id = 0
        self._order: list[int] | None = None

    # -- building ------------------------------------------------------------------------------------------------

    def add(self, op: AnyOp, operands: Iterable[int] = (), *, origin: Origin) -> int:
        """Add a node and return the id of its net. The operands must be in the graph already."""
        net = self._next_id
        self.add_as(net, op, operands, origin=origin)
        return net

    def add_as(self, net: int, op: AnyOp, operands: Iterable[int], *, origin: Origin) -> None:
        """Add a node whose net has the given id, which must be new; for graphs that come from files."""
        if net in self.nodes:
            raise GraphError(f"net {net} is defined twice")
        self._place(net, op, tuple(operands), origin)
        self._next_id = max(self._next_id, net + 1)

    def replace(self, net: int, op: AnyOp, operands: Iterable[int]) -> None:
        """Give an existing net a new operation; its origin and its readers stay."""
        old = self.node(net)
        self.dag.remove_edges_from([(operand, net) for operand in set(old.operands)])
        self._place(net, op, tuple(operands), old.origin)
        if self.node(net).width != old.width:
            for reader in list(self.dag.successors(net)):
                self.replace(reader, self.node(reader).op, self.node(reader).operands)

    def remove(self, nets: Iterable[int]) -> None:
        """Remove nets that nothing reads any more."""
        doomed = set(nets)
        for net in doomed:
            readers = [reader for reader in self.dag.successors(net) if reader not in doomed]
            if readers:
                raise GraphError(f"{self.describe(net)} cannot be removed: {self.describe(readers[0])} reads it")
        self._order = None
        self.dag.remove_nodes_from(doomed)
        for net in doomed:
            del self.nodes[net]

    def redirect(self, replaced: Mapping[int, int]) -> None:
        """Let every reader of a replaced net read its replacement instead, and remove the replaced nets."""
        for reader in sorted({reader for net in replaced for reader in self.dag.successors(net)}):
            node = self.node(reader)
            self.replace(reader, node.op, (replaced.get(operand, operand) for operand in node.operands))
        self.remove(replaced)

    def _place(self, net: int, op: AnyOp, operands: tuple[int, ...], origin: Origin) -> None:
        seen = [self.operand(operand) for operand in operands]
        try:
            _check_operands(op, seen)
            node = Node(op, operands, op.width(seen), origin)
        except ValueError as error:
            raise GraphError(f"{op.kind} at {origin}: {error}") from None
        self._order = None
        self.nodes[net] = node
        self.dag.add_node(net)
        self.dag.add_edges_from((operand, net) for operand in operands)

    def copy(self) -> LutGraph:
        """An independent copy; nodes are immutable and shared."""
        other = LutGraph(self.name, self.layers)
        other.nodes = dict(self.nodes)
        other.dag = self.dag.copy()
        other._next_id = self._next_id
        other._order = self._order
        return other

    # -- looking -------------------------------------------------------------------------------------------------

    def node(self, net: int) -> Node:
        return self.nodes[net]

    def operand(self, net: int) -> Operand:
        if net not in self.nodes:
            raise GraphError(f"net {net} is read but not in the graph")
        node = self.node(net)
        return Operand(node.op, node.width)

    def operands(self, net: int) -> list[Operand]:
        nodes = self.nodes
        try:
            return [Operand(nodes[operand].op, nodes[operand].width) for operand in nodes[net].operands]
        except KeyError as missing:
            raise GraphError(f"{self.describe(net)} reads net {missing}, which is not in the graph") from None

    def describe(self, net: int) -> str:
        node = self.node(net)
        return f"{node.op.kind} {node.origin} (net {net})"

    def snapshot(self) -> dict[int, Node]:
        """Every net's node as it is now; cheap, since nodes are immutable."""
        return dict(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, net: int) -> bool:
        return net in self.nodes

    def __iter__(self) -> Iterator[int]:
        return iter(self.nodes)

    def order(self) -> list[int]:
        """All nets, operands before readers, in an order that depends only on the graph."""
        if self._order is None:
            self._order = self._sort()
        return list(self._order)

    def _sort(self) -> list[int]:
        missing = {net: len(set(node.operands)) for net, node in self.nodes.items()}
        order = [net for net, count in missing.items() if count == 0]
        for net in order:  # grows while it is walked
            for reader in self.dag.successors(net):
                missing[reader] -= 1
                if missing[reader] == 0:
                    order.append(reader)
        if len(order) < len(missing):
            cycle = [self.describe(edge[0]) for edge in nx.find_cycle(self.dag)]
            raise GraphError(f"the graph has a loop: {' -> '.join(cycle)}")
        return order

    def inputs(self) -> list[int]:
        """The input nets, in the order in which they were added: the order of the features."""
        return sorted(net for net in self if isinstance(self.node(net).op, Input))

    def outputs(self) -> list[int]:
        return sorted(net for net in self if isinstance(self.node(net).op, Output))

    def size(self) -> GraphSize:
        counts: dict[str, int] = {}
        cost = dict.fromkeys(self.layers, 0)
        level: dict[int, int] = {}
        for net in self.order():
            node = self.node(net)
            counts[node.op.kind] = counts.get(node.op.kind, 0) + 1
            lut6 = node.op.lut6_cost(self.operands(net))
            if lut6:
                cost[node.origin.layer] += lut6
            level[net] = max((level[operand] for operand in node.operands), default=0) + (lut6 > 0)
        return GraphSize(dict(sorted(counts.items())), cost, max(level.values(), default=0))

    # -- checking ------------------------------------------------------------------------------------------------

    def verify(self, verified: Mapping[int, Node] = MappingProxyType({})) -> None:
        """Check every rule in the module's docstring; raises :class:`GraphError` naming the node.

        Nodes that are the very ones in ``verified``, a snapshot of the graph when it was verified, and whose operands
        are, too, need not be looked at again.
        """
        self._order = None
        nodes = self.nodes
        position = {layer: place for place, layer in enumerate(self.layers)}
        origins: set[tuple[Origin, str]] = set()
        for net in self.order():
            node = nodes[net]
            unchanged = verified.get(net) is node
            if not unchanged or any(verified.get(operand) is not nodes[operand] for operand in node.operands):
                self._verify_node(net, node, position)
            key = (node.origin, node.op.kind)
            if key in origins and node.op.kind != "register":
                raise GraphError(f"{self.describe(net)}: another node has the same origin")
            origins.add(key)
        if not self.outputs():
            raise GraphError(f"graph {self.name!r} has no output")

    def _verify_node(self, net: int, node: Node, position: Mapping[str, int]) -> None:
        try:
            operands = self.operands(net)
            node.op.check(operands)
            expected = node.op.width(operands)
        except ValueError as error:
            raise GraphError(f"{self.describe(net)}: {error}") from None
        if node.width != expected:
            raise GraphError(f"{self.describe(net)} is {node.width} bits wide, its operands make {expected}")
        if set(self.dag.predecessors(net)) != set(node.operands):
            raise GraphError(f"{self.describe(net)}: edges and operands disagree")
        if node.origin.layer not in position:
            raise GraphError(f"{self.describe(net)}: layer {node.origin.layer!r} is not one of {self.layers}")
        for operand in node.operands:
            if position[self.node(operand).origin.layer] > position[node.origin.layer]:
                raise GraphError(f"{self.describe(net)} reads the later {self.describe(operand)}")

    # -- running -------------------------------------------------------------------------------------------------

    def evaluate(self, inputs: ArrayLike) -> dict[str, NDArray[np.int64]]:
        """Run the circuit on integer inputs of shape ``(samples, inputs)``; one ``(samples,)`` array per output."""
        nets = self.outputs()
        values = evaluate_nets(self, inputs, nets)
        return {self._output_name(net): row for net, row in zip(nets, values, strict=True)}

    def _output_name(self, net: int) -> str:
        op = self.node(net).op
        assert isinstance(op, Output)
        return op.name

    # -- text ----------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        lines = [f"graph {self.name} layers {' '.join(self.layers)}"]
        for net in self.order():
            node = self.node(net)
            fields = "".join(f" {key}={_show(key, value)}" for key, value in asdict(node.op).items())
            reads = " ".join(f"%{operand}" for operand in node.operands)
            lines.append(f"%{net}:{node.width} = {node.op.kind}{fields} ({reads}) # {node.origin}")
        return "\n".join(lines)


def _show(key: str, value: object) -> str:
    return f"{value:#x}" if key == "table" and isinstance(value, int) else str(value)
