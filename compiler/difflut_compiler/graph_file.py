"""Graphs as JSON text: the file ``graph.json`` of every compile, the target ``json``, an input of the compiler.

The format is described in ``docs/graph_format.md``. A file is untrusted input: every name, number and reference is
checked, sizes are limited, and an error names the file and the place in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from difflut_compiler.errors import CompilerError, GraphError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.names import check_identifier, stage_name
from difflut_compiler.ops import OP_BY_KIND, AnyOp, Lut, Output

FORMAT_NAME = "difflut-graph"
FORMAT_VERSION = 2
MAX_FILE_BYTES = 1 << 30
MAX_NODES = 5_000_000
MAX_NET = 1 << 26
MAX_WORD_BITS = 62
"""Words are evaluated in 64-bit integers, which must hold a sum of two."""

HEAD_FIELDS = ("format", "version", "name", "layers", "nodes")
NODE_FIELDS = ("net", "op", "reads", "layer", "number")
LAYER = re.compile(r"[a-z][a-z0-9]*([._][a-z0-9]+)*")
PART = re.compile(r"([a-z0-9]+([._][a-z0-9]+)*)?")


def graph_to_json(graph: LutGraph) -> str:
    """The graph as text, a node per line; the same graph gives the same bytes."""
    head = {"format": FORMAT_NAME, "version": FORMAT_VERSION, "name": graph.name, "layers": list(graph.layers)}
    rows = ",\n".join(json.dumps(_node_row(graph, net), separators=(",", ":")) for net in graph.order())
    return json.dumps(head)[:-1] + ', "nodes": [\n' + rows + "\n]}\n"


def _node_row(graph: LutGraph, net: int) -> dict[str, Any]:
    node = graph.node(net)
    row: dict[str, Any] = {"net": net, "op": node.op.kind}
    row |= {one.name: getattr(node.op, one.name) for one in fields(node.op)}
    if isinstance(node.op, Lut):
        row["table"] = f"{node.op.table:#x}"
    row |= {"reads": list(node.operands), "layer": node.origin.layer, "number": node.origin.number}
    return row | ({"part": node.origin.part} if node.origin.part else {})


def read_graph(path: Path) -> LutGraph:
    """The graph in a file; raises :class:`GraphError` naming the file and the place if it is none."""
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MAX_FILE_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        raise GraphError(f"{path} cannot be read: {error}") from None
    if size > MAX_FILE_BYTES:
        raise GraphError(f"{path} has {size} bytes, the limit is {MAX_FILE_BYTES}")
    try:
        return graph_from_json(text)
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from None


def graph_from_json(text: str) -> LutGraph:
    """Read what :func:`graph_to_json` wrote; raises :class:`GraphError` on anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # a JSONDecodeError says line and column
        raise GraphError(f"not a readable graph file: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT_NAME:
        raise GraphError(f"not a readable graph file: there is no object with the format {FORMAT_NAME!r}")
    if data.get("version") != FORMAT_VERSION:
        raise GraphError(f"the graph file has version {data.get('version')!r}, this compiler reads {FORMAT_VERSION}")
    _require_fields(data, HEAD_FIELDS, "the graph file")
    graph = LutGraph(_typed(data, "name", str, "the graph file"), _layers(_typed(data, "layers", list, "the graph")))
    rows = _typed(data, "nodes", list, "the graph file")
    if len(rows) > MAX_NODES:
        raise GraphError(f"the graph file has {len(rows)} nodes, the limit is {MAX_NODES}")
    for place, row in enumerate(rows):
        _add_node(graph, row, f"nodes[{place}]")
    graph.verify()
    return graph


def _layers(names: Sequence[Any]) -> Sequence[str]:
    for place, name in enumerate(names):
        if not isinstance(name, str) or not LAYER.fullmatch(name):
            raise GraphError(f"layers[{place}] is {name!r}; a layer is lower-case words joined by dots or underscores")
    if len({stage_name(name) for name in names}) != len(names):
        raise GraphError("two layers have the same name, or names that become the same in hardware")
    return names


def _add_node(graph: LutGraph, row: Any, place: str) -> None:
    if not isinstance(row, dict):
        raise GraphError(f"{place} is {str(row)[:60]!r}, not an object")
    kind = row.get("op")
    op_type = OP_BY_KIND.get(kind) if isinstance(kind, str) else None
    if op_type is None:
        raise GraphError(f"{place}.op is {str(kind)[:60]!r}; known are {', '.join(OP_BY_KIND)}")
    settings = [one.name for one in fields(op_type)]
    _require_fields(row, [*NODE_FIELDS, *settings], place, optional="part")
    net = _typed(row, "net", int, place)
    if not 0 <= net < MAX_NET or net in graph:
        raise GraphError(f"{place}.net is {net}: a net is a number below {MAX_NET} and is defined once")
    reads = _typed(row, "reads", list, place)
    for operand in reads:
        if type(operand) is not int or operand not in graph:
            raise GraphError(f"{place}.reads has {str(operand)[:60]!r}, which is no net of an earlier node")
    op = _read_op(op_type, row, place)
    try:
        graph.add_as(net, op, reads, origin=_read_origin(row, place))
    except GraphError as error:
        raise GraphError(f"{place}: {error}") from None
    if graph.node(net).width > MAX_WORD_BITS:
        raise GraphError(f"{place} makes a word of {graph.node(net).width} bits, the limit is {MAX_WORD_BITS}")


def _read_op(op_type: type[AnyOp], row: Mapping[str, Any], place: str) -> AnyOp:
    values: dict[str, Any] = {}
    for one in fields(op_type):
        kind = {"int": int, "bool": bool, "str": str}[str(one.type)]
        if op_type is Lut and one.name == "table":
            values["table"] = _read_table(_typed(row, "table", str, place), place)
        else:
            values[one.name] = _typed(row, one.name, kind, place)
        if one.name == "bits" and not 1 <= values["bits"] <= MAX_WORD_BITS:
            raise GraphError(f"{place}.bits is {values['bits']}, allowed are 1 to {MAX_WORD_BITS}")
    op = op_type(**values)
    if isinstance(op, Output):
        try:
            check_identifier(op.name, f"{place}.name")
        except CompilerError as error:
            raise GraphError(str(error)) from None
    return op


def _read_table(text: str, place: str) -> int:
    if not re.fullmatch("0x[0-9a-f]{1,16384}", text):
        raise GraphError(f"{place}.table is {text[:60]!r}, not a hexadecimal number of at most 65536 bits like '0x8e'")
    return int(text, 16)


def _read_origin(row: Mapping[str, Any], place: str) -> Origin:
    number = _typed(row, "number", int, place)
    if number < 0:
        raise GraphError(f"{place}.number is negative")
    part = _typed(row, "part", str, place) if "part" in row else ""
    if not PART.fullmatch(part):
        raise GraphError(f"{place}.part is {part[:60]!r}; it is lower-case words joined by dots or underscores")
    return Origin(_typed(row, "layer", str, place), number, part)


def _require_fields(found: Mapping[str, Any], wanted: Sequence[str], place: str, optional: str = "") -> None:
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted and name != optional]
    if missing or unknown:
        words = [f"lacks {name!r}" for name in missing] + [f"has the unknown field {name[:60]!r}" for name in unknown]
        raise GraphError(f"{place} {words[0]}")


def _typed(found: Mapping[str, Any], name: str, kind: type, place: str) -> Any:
    value: Any = found[name]
    if type(value) is not kind:
        raise GraphError(f"{place}: {name} is {str(value)[:60]!r}, not of type {kind.__name__}")
    if isinstance(value, int) and abs(value) >> MAX_WORD_BITS:
        raise GraphError(f"{place}: {name} is beyond {MAX_WORD_BITS} bits")
    return value
