"""The logic as a drawing: LUTs and comparators in columns per layer, with what each computes in words.

Only what can be looked at is drawn: of large layers, the LUTs that most others read. Wires are drawn by the page's
script for the node that is selected, and faintly all at once where they are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Compare, Const, Lut
from difflut_compiler.page.svg import svg, text
from difflut_compiler.words import describe_table

MOST_NODES = 1200
MOST_WIRES = 6000
ROWS = 24
STEP = 16
GAP = 200
LAST_HEADING = 90
"""Room for the name of the last layer, which may be wider than its LUTs."""


@dataclass(frozen=True)
class LogicDrawing:
    """The picture, and how many of the network's LUTs and comparators are on it."""

    picture: Markup
    shown: int
    total: int


def draw_logic(graph: LutGraph) -> LogicDrawing:
    """Draw the comparators and LUTs of ``graph``."""
    everything = [net for net in graph if isinstance(graph.node(net).op, Lut | Compare)]
    places, columns = _place(graph, _choose(graph, everything))
    wires = [
        (operand, net)
        for net in sorted(places)
        for operand in dict.fromkeys(graph.node(net).operands)
        if operand in places
    ]
    width = max((x for x, _ in places.values()), default=0) + LAST_HEADING
    height = ROWS * STEP + 60
    parts = [text(x, 20, layer, "heading") for layer, x in columns.items()]
    if len(wires) <= MOST_WIRES:
        parts.append(_all_wires(wires, places))
    parts.append('<g id="selected-wires"></g>')
    parts.extend(_node(graph, net, places) for net in sorted(places))
    return LogicDrawing(svg(width, height, "logic of the network", *parts), len(places), len(everything))


def _choose(graph: LutGraph, nets: Iterable[int]) -> dict[str, list[int]]:
    """Nets by layer, at most ``MOST_NODES`` in all: small layers whole, of the others as many each, the most read."""
    by_layer: dict[str, list[int]] = {}
    for net in nets:
        by_layer.setdefault(graph.node(net).origin.layer, []).append(net)
    room = MOST_NODES
    smallest_first = sorted(by_layer, key=lambda layer: len(by_layer[layer]))
    for number, layer in enumerate(smallest_first):
        share = room // (len(smallest_first) - number)
        most_read = sorted(by_layer[layer], key=lambda net: (-graph.dag.out_degree(net), net))[:share]
        by_layer[layer] = sorted(most_read, key=lambda net: graph.node(net).origin)
        room -= len(most_read)
    return by_layer


def _place(
    graph: LutGraph, by_layer: Mapping[str, Sequence[int]]
) -> tuple[dict[int, tuple[float, float]], dict[str, float]]:
    """Where every net is drawn, and where each layer begins; a layer fills columns of ``ROWS``."""
    places, columns, left = {}, {}, 20.0
    for layer in graph.layers:
        if not by_layer.get(layer):
            continue
        columns[layer] = left - 6
        for place, net in enumerate(by_layer[layer]):
            places[net] = (left + place // ROWS * STEP, 40.0 + place % ROWS * STEP)
        left += (len(by_layer[layer]) - 1) // ROWS * STEP + GAP
    return places, columns


def _sources(graph: LutGraph, net: int) -> Iterable[int]:
    """The nets that a node reads, each once."""
    return dict.fromkeys(graph.node(net).operands)


def _all_wires(wires: Iterable[tuple[int, int]], places: Mapping[int, tuple[float, float]]) -> str:
    lines = "".join(
        f"M{places[source][0]:g} {places[source][1]:g}L{places[target][0]:g} {places[target][1]:g}"
        for source, target in wires
    )
    return f'<path class="wires" d="{lines}"/>'


def _node(graph: LutGraph, net: int, places: Mapping[int, tuple[float, float]]) -> str:
    node = graph.node(net)
    x, y = places[net]
    reads = " ".join(f"n{source}" for source in _sources(graph, net) if source in places)
    kind = "lut" if isinstance(node.op, Lut) else "compare"
    return (
        f'<circle class="node {kind}" id="n{net}" data-reads="{reads}" cx="{x:g}" cy="{y:g}" r="5" tabindex="0">'
        f"<title>{escape(describe_node(graph, net))}</title></circle>"
    )


def describe_node(graph: LutGraph, net: int) -> str:
    """One line on a LUT or comparator: where it comes from, what it computes, how many read it."""
    node = graph.node(net)
    readers = graph.dag.out_degree(net)
    read_by = f"read by {readers}" if readers != 1 else "read once"
    if isinstance(node.op, Compare):
        return f"comparator {node.origin}: {_name(graph, node.operands[0])} ≥ {node.op.threshold}; {read_by}"
    assert isinstance(node.op, Lut)
    names = [_name(graph, operand) for operand in node.operands]
    digits = max(1, (1 << node.op.fan_in) // 4)
    words = describe_table(node.op.table, names)
    return f"LUT {node.origin}: {words}; reads {', '.join(names)}; table 0x{node.op.table:0{digits}x}; {read_by}"


def _name(graph: LutGraph, net: int) -> str:
    """A short name of what is read: a comparison spelled out, else the origin."""
    node = graph.node(net)
    if isinstance(node.op, Compare):
        return f"({_name(graph, node.operands[0])} ≥ {node.op.threshold})"
    if isinstance(node.op, Const):
        return str(node.op.value)
    return str(node.origin)
