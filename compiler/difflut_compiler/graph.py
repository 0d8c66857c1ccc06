"""The LUT graph: the one description of a network that passes, targets, proofs and reports share.

Conventions, written down here once and valid everywhere in the compiler:

* **Net.** Every node computes exactly one net and is named by an integer id that is never used twice. A net of width 1
  is a bit, a wider one an unsigned word; only :class:`~difflut_compiler.ops.Input` words may be signed, and these are
  read by comparators and :class:`~difflut_compiler.ops.Bit` only.
* **Pins.** The ordered tuple ``operands`` of a node is the truth about what it reads; the same net may be read twice.
  The edges of the networkx graph are an index of it (a ``DiGraph`` keeps one edge per pair of nodes).
* **Bit order.** Operand ``j`` of a LUT is address bit ``j``, least significant first; bit ``a`` of its table is the
  output at address ``a``. Bit vectors are feature-major, bit-minor.
* **Origin.** Every node says where in the model it comes from: layer, number in that layer, and for the parts of a sum
  or an argmax which part. Origins name the signals of the hardware and the places in error messages.
* **Layers.** ``graph.layers`` lists the layers in the order of data flow; a node reads only its own or earlier layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from difflut_compiler.arrays import GraphArrays
from difflut_compiler.errors import GraphError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.ops import MAX_FAN_IN, AnyOp, Bit, Compare, Input, Lut, Operand, Output, Register, require


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
    return any(is_signed(nodes[operand]) for operand in node.operands)


def is_signed(node: Node) -> bool:
    """Whether a node is a signed input word."""
    return isinstance(node.op, Input) and node.op.signed


def _fits(op: Lut, operands: int) -> bool:
    """Whether a LUT may have its fan-in, its table and so many operands."""
    return 1 <= op.fan_in <= MAX_FAN_IN and op.fan_in == operands and 0 <= op.table < 1 << (1 << op.fan_in)


def _check_operands(op: AnyOp, operands: Sequence[Operand]) -> None:
    op.check(operands)
    signed = any(isinstance(operand.op, Input) and operand.op.signed for operand in operands)
    require(not signed or isinstance(op, Compare | Bit), "reads a signed word, which only comparators and bits do")


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

    ``nodes`` says what every net is; ``dag``, a ``networkx.DiGraph``, indexes who reads whom, and ``arrays()`` is all
    of it in arrays. ``next_net`` is the id that the next node will get.
    """

    def __init__(self, name: str, layers: Iterable[str]) -> None:
        self.name = name
        self.layers = tuple(layers)
        self.nodes: dict[int, Node] = {}
        self.next_net = 0
        self._dag: nx.DiGraph[int] | None = None
        self._arrays: GraphArrays | None = None

    # -- building ------------------------------------------------------------------------------------------------

    def add(self, op: AnyOp, operands: Iterable[int] = (), *, origin: Origin) -> int:
        """Add a node and return the id of its net. The operands must be in the graph already."""
        net = self.next_net
        self.add_as(net, op, operands, origin=origin)
        return net

    def add_as(self, net: int, op: AnyOp, operands: Iterable[int], *, origin: Origin) -> None:
        """Add a node whose net has the given id, which must be new; for graphs that come from files."""
        if net in self.nodes:
            raise GraphError(f"net {net} is defined twice")
        self._place(net, op, tuple(operands), origin)
        self.next_net = max(self.next_net, net + 1)

    def extend(self, nodes: Sequence[Node]) -> range:
        """Add many nodes at once and return the ids of their nets. :meth:`verify` must follow: nothing is checked."""
        nets = range(self.next_net, self.next_net + len(nodes))
        self.nodes.update(zip(nets, nodes, strict=True))
        self.next_net += len(nodes)
        self._dag = self._arrays = None
        return nets

    def rewire(self, operands: Mapping[int, tuple[int, ...]]) -> None:
        """Let many nets read others, of the same widths. :meth:`verify` must follow: nothing is checked."""
        self.nodes.update((net, self.nodes[net]._replace(operands=reads)) for net, reads in operands.items())
        self._dag = self._arrays = None

    def replace(self, net: int, op: AnyOp, operands: Iterable[int]) -> None:
        """Give an existing net a new operation; its origin and its readers stay."""
        old = self.node(net)
        if self._dag is not None:
            self._dag.remove_edges_from([(operand, net) for operand in set(old.operands)])
        self._place(net, op, tuple(operands), old.origin)
        if self.node(net).width != old.width:
            for reader in list(self.dag.successors(net)):
                self.replace(reader, self.node(reader).op, self.node(reader).operands)

    def remove(self, nets: Iterable[int]) -> None:
        """Remove nets that nothing reads any more."""
        doomed = set(nets)
        if not doomed:
            return
        arrays = self.arrays()
        is_doomed = arrays.gather(lambda net, _: net in doomed) != 0
        kept = np.flatnonzero(is_doomed[arrays.operands] & ~is_doomed[arrays.readers])
        if kept.size:
            read, reader = (int(arrays.nets[rows[kept[0]]]) for rows in (arrays.operands, arrays.readers))
            raise GraphError(f"{self.describe(read)} cannot be removed: {self.describe(reader)} reads it")
        self._arrays = None
        if self._dag is not None:
            self._dag.remove_nodes_from(doomed)
        for net in doomed:
            del self.nodes[net]

    def redirect(self, replaced: Mapping[int, int]) -> None:
        """Let every reader of a replaced net read its replacement instead, and remove the replaced nets."""
        arrays = self.arrays()
        is_replaced = arrays.gather(lambda net, _: net in replaced) != 0
        for reader in arrays.nets[arrays.reads_any(is_replaced)].tolist():
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
        self._arrays = None
        self.nodes[net] = node
        if self._dag is not None:
            self._dag.add_node(net)
            self._dag.add_edges_from((operand, net) for operand in operands)

    def copy(self) -> LutGraph:
        """An independent copy; nodes are immutable and shared."""
        other = LutGraph(self.name, self.layers)
        other.nodes = dict(self.nodes)
        other.next_net = self.next_net
        other._arrays = self._arrays
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
        try:
            return self._operands_of(self.nodes[net])
        except KeyError as missing:
            raise GraphError(f"{self.describe(net)} reads net {missing}, which is not in the graph") from None

    def _operands_of(self, node: Node) -> list[Operand]:
        nodes = self.nodes
        return [Operand(nodes[operand].op, nodes[operand].width) for operand in node.operands]

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

    @property
    def dag(self) -> nx.DiGraph[int]:
        """Who reads whom: made when it is first asked for, and kept up to date from then on."""
        if self._dag is None:
            self._dag = nx.DiGraph()
            self._dag.add_nodes_from(self.nodes)
            self._dag.add_edges_from((operand, net) for net, node in self.nodes.items() for operand in node.operands)
        return self._dag

    def arrays(self) -> GraphArrays:
        """All of the graph in arrays, gathered once and kept until the graph changes."""
        if self._arrays is None:
            self._arrays = GraphArrays(self.nodes)
        return self._arrays

    def order(self) -> list[int]:
        """All nets, operands before readers, as in :attr:`GraphArrays.levels`: the order depends only on the graph."""
        arrays = self.arrays()
        order: list[int] = arrays.nets[arrays.order].tolist()
        return order

    def inputs(self) -> list[int]:
        """The input nets, in the order in which they were added: the order of the features."""
        return self._nets_of(Input)

    def outputs(self) -> list[int]:
        return self._nets_of(Output)

    def output_names(self) -> list[str]:
        """The names of the outputs, in their order."""
        return [op.name for net in self.outputs() if isinstance(op := self.node(net).op, Output)]

    def _nets_of(self, kind: type[AnyOp]) -> list[int]:
        arrays = self.arrays()
        nets: list[int] = arrays.nets[arrays.rows_where(kind)].tolist()
        return nets

    def size(self) -> GraphSize:
        arrays = self.arrays()
        cost_of = [node.op.lut6_cost(self._operands_of(node)) for node in arrays.nodes]
        by_layer = dict.fromkeys(self.layers, 0)
        for node, cost in zip(arrays.nodes, cost_of, strict=True):
            by_layer[node.origin.layer] += cost
        is_level = (np.array(cost_of, dtype=np.int64) > 0).astype(np.int64)
        levels = arrays.longest_path_before(is_level) + is_level
        counts = Counter(node.op.kind for node in arrays.nodes)
        return GraphSize(dict(sorted(counts.items())), by_layer, int(levels.max(initial=0)))

    # -- checking ------------------------------------------------------------------------------------------------

    def verify(self, verified: Mapping[int, Node] = MappingProxyType({})) -> None:
        """Check every rule in the module's docstring; raises :class:`GraphError` naming the node.

        Nodes that are the very ones in ``verified``, a snapshot of the graph when it was verified, and whose operands
        are, too, need not be looked at again.
        """
        self._arrays = None
        nets = self.order()
        arrays = self.arrays()
        doubtful = self._doubtful_rows(arrays, verified)
        for row in arrays.order[doubtful[arrays.order]].tolist():
            self._verify_node(int(arrays.nets[row]), arrays.nodes[row])
        self._verify_index(verified)
        self._verify_origins(nets)
        if not self.outputs():
            raise GraphError(f"graph {self.name!r} has no output")
        names = Counter(self.output_names())
        if len(names) < names.total():
            raise GraphError(f"graph {self.name!r} has several outputs called {names.most_common(1)[0][0]!r}")

    def _doubtful_rows(self, arrays: GraphArrays, verified: Mapping[int, Node]) -> NDArray[np.bool_]:
        """``(nodes,)``: those to look at one by one, which are all new ones but the LUTs that are plainly legal."""
        new = arrays.gather(lambda net, node: verified.get(net) is not node) != 0
        new |= arrays.reads_any(new)
        place = {layer: number for number, layer in enumerate(self.layers)}
        layer = arrays.gather(lambda _, node: place.get(node.origin.layer, -1))
        fits = arrays.gather(lambda _, node: isinstance(node.op, Lut) and _fits(node.op, len(node.operands))) != 0
        is_bit = arrays.widths == 1
        is_bit[[row for row in arrays.rows_where(Input).tolist() if is_signed(arrays.nodes[row])]] = False
        later = layer[arrays.operands] > layer[arrays.readers]
        legal = fits & is_bit & (layer >= 0) & ~arrays.reads_any(~is_bit) & ~arrays.has_pin(later)
        doubtful: NDArray[np.bool_] = new & ~legal
        return doubtful

    def _verify_node(self, net: int, node: Node) -> None:
        try:
            operands = self.operands(net)
            _check_operands(node.op, operands)
            expected = node.op.width(operands)
        except ValueError as error:
            raise GraphError(f"{self.describe(net)}: {error}") from None
        if node.width != expected:
            raise GraphError(f"{self.describe(net)} is {node.width} bits wide, its operands make {expected}")
        if node.origin.layer not in self.layers:
            raise GraphError(f"{self.describe(net)}: layer {node.origin.layer!r} is not one of {self.layers}")
        for operand in node.operands:
            layer = self.node(operand).origin.layer
            if layer in self.layers and self.layers.index(layer) > self.layers.index(node.origin.layer):
                raise GraphError(f"{self.describe(net)} reads the later {self.describe(operand)}")

    def _verify_index(self, verified: Mapping[int, Node]) -> None:
        """The edges of nodes that are not in ``verified`` are their operands; there may be no edges yet."""
        if self._dag is None:
            return
        for net, node in self.nodes.items():
            if verified.get(net) is not node and set(self._dag.predecessors(net)) != set(node.operands):
                raise GraphError(f"{self.describe(net)}: edges and operands disagree")

    def _verify_origins(self, nets: Sequence[int]) -> None:
        """Only registers may have the same origin: those that carry a net through stages."""
        origins = [(node.origin, node.op.kind) for node in self.nodes.values() if not isinstance(node.op, Register)]
        if len(set(origins)) == len(origins):
            return
        seen: set[tuple[Origin, str]] = set()
        for net in nets:
            key = (self.node(net).origin, self.node(net).op.kind)
            if key in seen and key[1] != Register.kind:
                raise GraphError(f"{self.describe(net)}: another node has the same origin")
            seen.add(key)

    # -- running -------------------------------------------------------------------------------------------------

    def evaluate(self, inputs: ArrayLike) -> dict[str, NDArray[np.int64]]:
        """Run the circuit on integer inputs of shape ``(samples, inputs)``; one ``(samples,)`` array per output."""
        nets = self.outputs()
        values = evaluate_nets(self, inputs, nets)
        return dict(zip(self.output_names(), values, strict=True))

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
