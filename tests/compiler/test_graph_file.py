"""Graph files: what is wrong with a file is said with its place, and a file cannot ask for more than the limits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from difflut_compiler import graph_file
from difflut_compiler.errors import GraphError
from difflut_compiler.graph_file import graph_from_json, graph_to_json, read_graph
from difflut_compiler.ops import OP_BY_KIND
from tests.compiler.random_graphs import Shape, all_inputs, make_graph

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "graph_format.md"
EXAMPLE = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[0]

Row = dict[str, Any]


def node(place: int, **fields: object) -> Callable[[Row], None]:
    """Change fields of one node of the example; None removes one."""

    def change(data: Row) -> None:
        for name, value in fields.items():
            data["nodes"][place][name] = value
            if value is None:
                del data["nodes"][place][name]

    return change


def head(**fields: object) -> Callable[[Row], None]:
    def change(data: Row) -> None:
        for name, value in fields.items():
            data[name] = value
            if value is None:
                del data[name]

    return change


def swap_nodes(data: Row) -> None:
    data["nodes"][3], data["nodes"][4] = data["nodes"][4], data["nodes"][3]


MALFORMED: list[tuple[Callable[[Row], None], str]] = [
    (head(format="something"), "there is no object with the format 'difflut-graph'"),
    (head(version=1), "has version 1, this compiler reads 2"),
    (head(layers=None), "the graph file lacks 'layers'"),
    (head(comment="hello"), "the graph file has the unknown field 'comment'"),
    (head(name=3), "name is '3', not of type str"),
    (head(layers="input"), "layers is 'input', not of type list"),
    (head(layers=["input", "Encoder; x"]), r"layers[1] is 'Encoder; x'; a layer is lower-case words"),
    (head(layers=["layers.0", "layer_0"]), "two layers have the same name, or names that become the same"),
    (head(layers=["input", "encoder", "layers.0"]), "layer 'output' is not one of"),
    (head(layers=["output", "layers.0", "encoder", "input"]), "reads the later"),
    (head(nodes={}), "nodes is '{}', not of type list"),
    (head(nodes=[]), "has no output"),
    (head(nodes=[3]), "nodes[0] is '3', not an object"),
    (node(3, net=1), "nodes[3].net is 1: a net is a number below 67108864 and is defined once"),
    (node(3, net=-1), "nodes[3].net is -1"),
    (node(3, net=1 << 40), f"nodes[3].net is {1 << 40}"),
    (node(3, net="3"), "nodes[3]: net is '3', not of type int"),
    (node(3, net=True), "nodes[3]: net is 'True', not of type int"),
    (node(3, op="nonsense"), "nodes[3].op is 'nonsense'; known are input, const"),
    (node(3, op=["lut"]), "nodes[3].op is"),
    (node(3, fan_in=None), "nodes[3] lacks 'fan_in'"),
    (node(3, colour="red"), "nodes[3] has the unknown field 'colour'"),
    (node(3, fan_in=3), "nodes[3]: lut at layers.0[0]: takes 3 operands, got 2"),
    (node(3, fan_in=1 << 50), "nodes[3]: lut at layers.0[0]: has fan-in"),
    (node(3, fan_in=1 << 70), "nodes[3]: fan_in is beyond 62 bits"),
    (node(3, table="0x12"), "nodes[3]: lut at layers.0[0]: table does not fit 4 entries"),
    (node(3, table=2), "nodes[3]: table is '2', not of type str"),
    (node(3, table="2"), "nodes[3].table is '2', not a hexadecimal number"),
    (node(3, table="0x" + "f" * 20000), "nodes[3].table is '0xfff"),
    (node(3, reads=[1, 9]), "nodes[3].reads has '9', which is no net of an earlier node"),
    (node(3, reads=[1, "2"]), "nodes[3].reads has '2', which is no net"),
    (node(3, reads=[0, 1]), "nodes[3]: lut at layers.0[0]: reads bits only"),
    (node(3, reads=[3, 3]), "nodes[3].reads has '3', which is no net of an earlier node"),
    (swap_nodes, "nodes[3].reads has '3', which is no net of an earlier node"),
    (node(3, layer="nowhere"), "layer 'nowhere' is not one of"),
    (node(3, number=-1), "nodes[3].number is negative"),
    (node(3, part="A b"), "nodes[3].part is 'A b'; it is lower-case words"),
    (node(0, bits=99), "nodes[0].bits is 99, allowed are 1 to 62"),
    (node(0, bits=40), "nodes[0]: input at input[0]: has 40 bits, allowed are 1 to 32"),
    (node(0, signed=0), "nodes[0]: signed is '0', not of type bool"),
    (node(0, name=7), "nodes[0]: name is '7', not of type str"),
    (node(1, threshold=2.5), "nodes[1]: threshold is '2.5', not of type int"),
    (node(1, op="popcount", threshold=None, offset=1 << 61), "nodes[1]: popcount at encoder[0]: counts bits only"),
    (node(3, op="popcount", table=None, fan_in=None, offset=(1 << 62) - 1), "nodes[3] makes a word of 63 bits"),
    (node(3, op="add", table=None, fan_in=None, bits=10**9), "nodes[3].bits is 1000000000, allowed are 1 to 62"),
    (node(4, name="endmodule"), "nodes[4].name 'endmodule' is a reserved word of Verilog or VHDL"),
    (node(4, name="y; initial $finish"), "nodes[4].name 'y; initial $finish' is not a portable identifier"),
]


@pytest.mark.parametrize(("spoil", "message"), MALFORMED)
def test_a_malformed_file_is_refused_by_place(spoil: Callable[[Row], None], message: str, tmp_path: Path) -> None:
    data = json.loads(EXAMPLE)
    spoil(data)
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(data))
    with pytest.raises(GraphError, match=re.escape(message)) as refusal:
        read_graph(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '"graph"', "[" * 100_000, '{"format": 1' + "0" * 9999 + "}"]
)
def test_text_that_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(GraphError, match="not a readable graph file"):
        graph_from_json(text)


def test_a_mistake_in_the_json_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_text(EXAMPLE.replace('"net":3', '"net":,'))
    with pytest.raises(GraphError, match=rf"{path}: not a readable graph file: .* line 5 column 8"):
        read_graph(path)


@pytest.mark.parametrize("content", [b"\xff\xfe{}", None])
def test_a_file_that_is_no_text_or_not_there_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GraphError, match=f"{path} cannot be read"):
        read_graph(path)


def test_limits_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.json"
    path.write_text(EXAMPLE)
    monkeypatch.setattr(graph_file, "MAX_NODES", 4)
    with pytest.raises(GraphError, match="has 5 nodes, the limit is 4"):
        read_graph(path)
    monkeypatch.setattr(graph_file, "MAX_FILE_BYTES", 100)
    with pytest.raises(GraphError, match=rf"{path} has {len(EXAMPLE)} bytes, the limit is 100"):
        read_graph(path)


# -- the document ------------------------------------------------------------------------------------------------------


def test_the_example_of_the_document_is_a_graph_as_it_is_written() -> None:
    graph = graph_from_json(EXAMPLE)
    assert graph_to_json(graph) == EXAMPLE
    assert graph.evaluate(all_inputs(graph))["in_the_middle"].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]


def test_the_document_lists_every_operation_with_its_fields() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*?)\| .* \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    for kind, op in OP_BY_KIND.items():
        assert re.findall(r"`(\w+)`", rows[kind]) == [one.name for one in fields(op)], kind


def test_large_tables_survive() -> None:
    """A table of 16 inputs has more digits than Python reads as a decimal number."""
    graph = make_graph(Shape(max_fan_in=16, widths=(12,)), 3)
    assert graph_from_json(graph_to_json(graph)).snapshot() == graph.snapshot()
