"""Importers: networks of other tools answer as those tools do, and what cannot be read is refused by place."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from typer.testing import CliRunner

from difflut_compiler.cli import app
from difflut_compiler.errors import CompilerError, ImportFileError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import read_graph
from difflut_compiler.importers import ImportRequest, import_network, netlist
from difflut_compiler.importers.netlist import legal_names
from difflut_compiler.importers.state_dicts import walsh_transform
from difflut_compiler.targets import TARGETS
from tests.compiler.designs import make_design
from tests.compiler.needs import need
from tests.compiler.random_graphs import SEEDS, SHAPES, Shape, random_inputs, slow_outputs
from tests.compiler.test_compile import Evil, refused, run, statuses

PEERS = Path(__file__).parent / "peers"
KINDS = {"torchlogix_warp": "warp", "torchlogix_warp_rank_2": "warp", "torchlogix_light": "light"}
NETWORKS = sorted(path.stem for path in PEERS.glob("*.pth"))


def request_of(name: str) -> ImportRequest:
    wiring = PEERS / f"{name}_wiring.npz"
    inputs = np.load(PEERS / f"{name}_answers.npz")["inputs"].shape[1]
    return ImportRequest(PEERS / f"{name}.pth", "net", 3, wiring if wiring.exists() else None, KINDS.get(name), inputs)


def votes(graph: LutGraph, inputs: np.ndarray) -> np.ndarray:
    nets = [net for net in graph if graph.node(net).origin.layer == "class_counts"]
    nets.sort(key=lambda net: graph.node(net).origin.number)
    return evaluate_nets(graph, inputs.astype(np.int64), nets).T


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_there_is_a_network_of_every_tool() -> None:
    assert {name.partition("_")[0] for name in NETWORKS} == {"difflogic", "llnn", "torchlogix"}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_as_its_own_tool_does(name: str) -> None:
    answers = np.load(PEERS / f"{name}_answers.npz")
    graph = import_network(request_of(name))
    assert np.array_equal(votes(graph, answers["inputs"]), answers["outputs"])
    found = graph.evaluate(answers["inputs"].astype(np.int64))["class_index"]
    assert found.tolist() == [row.index(max(row)) for row in answers["outputs"].tolist()]
    assert len(set(found.tolist())) > 1


def dwn_state(learnable: bool, seed: int = 1) -> dict[str, torch.Tensor]:
    """Two layers as torch-dwn saves them."""
    random = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for layer, (inputs, luts, n) in enumerate([(10, 16, 4), (16, 12, 3)]):
        state[f"{layer}.luts"] = torch.rand(luts, 1 << n, generator=random) * 2 - 1
        if learnable and layer == 0:
            state[f"{layer}.mapping.weights"] = torch.rand(inputs, luts * n, generator=random)
            order = torch.randperm(luts * n, generator=random).reshape(luts, n).int()
            state[f"{layer}._LUTLayer__dummy_mapping"] = order
        else:
            state[f"{layer}.mapping"] = torch.randint(0, inputs, (luts, n), generator=random).int()
    return state


def dwn_answer(state: dict[str, torch.Tensor], bits: list[int]) -> list[int]:
    """The bits of the last layer, one table after the other: the first input is the lowest address bit, 1 is > 0."""
    for layer in range(2):
        luts = state[f"{layer}.luts"].tolist()
        if f"{layer}.mapping" in state:
            pins = state[f"{layer}.mapping"].tolist()
        else:
            columns = [column.index(max(column)) for column in state[f"{layer}.mapping.weights"].T.tolist()]
            pins = [[columns[one] for one in row] for row in state[f"{layer}._LUTLayer__dummy_mapping"].tolist()]
        bits = [
            1 if table[sum(bits[pin] * 2**place for place, pin in enumerate(row))] > 0 else 0
            for table, row in zip(luts, pins, strict=True)
        ]
    return bits


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("container", [None, "state_dict", "model_state_dict"])
def test_a_torch_dwn_network_answers_as_its_rule_says(learnable: bool, container: str | None, tmp_path: Path) -> None:
    state = dwn_state(learnable)
    torch.save(state if container is None else {container: state, "epoch": 3}, tmp_path / "dwn.pth")
    inputs = np.random.default_rng(0).integers(0, 2, (200, 10))
    graph = import_network(ImportRequest(tmp_path / "dwn.pth", "net", 4, inputs=10))
    bits = np.array([dwn_answer(state, row) for row in inputs.tolist()])
    assert np.array_equal(votes(graph, inputs), bits.reshape(200, 4, 3).sum(axis=2))
    loose = import_network(ImportRequest(tmp_path / "dwn.pth", "net", inputs=10))
    found = loose.evaluate(inputs)
    assert np.array_equal(np.stack([found[f"bit_{place}"] for place in range(12)], axis=1), bits)


def test_the_walsh_transform_is_the_sum_that_it_stands_for() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 16))
    direct = [
        [sum(row[s] * (-1) ** (s & a).bit_count() for s in range(16)) for a in range(16)] for row in weight.tolist()
    ]
    assert np.allclose(walsh_transform(weight), direct)


def edited(name: str, change: Callable[[dict[str, Any]], object], folder: Path) -> ImportRequest:
    """A checkpoint with changed tensors."""
    state = dict(torch.load(PEERS / f"{name}.pth", weights_only=True)) if name != "dwn" else dict(dwn_state(True))
    change(state)
    torch.save(state, folder / "net.pth")
    request = request_of(name) if name != "dwn" else ImportRequest(folder / "net.pth", "net", 3)
    return replace(request, path=folder / "net.pth")


def put(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.update({name: value})


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.pop(name)


BAD_STATES = [
    ("llnn", put("model.0.weight", torch.zeros(3)), "model.0.weight belongs to no layer of look-up tables of llnn"),
    ("llnn", put("model.1.w", torch.zeros(14, 4)), "layer model.1: w is (14, 4), w_comp (14, 8)"),
    ("llnn", drop("model.2.w"), "layer model.2: there is no w; it has w_comp"),
    ("llnn", drop("model.2.w_comp"), "layer model.2: there is no w_comp; it has w"),
    ("llnn", put("model.1.w", torch.full((14, 8), float("nan"))), "layer model.1: w holds values that are no numbers"),
    ("llnn", put("model.1.w", "text"), "model.1.w is a str, not a tensor"),
    ("torchlogix_raw", drop("0.weight"), "layer 0: there is no weight"),
    ("torchlogix_raw", put("0.weight", torch.zeros(18, 7)), "tables of 2 inputs with 7 weights may be of either kind"),
    ("torchlogix_raw", put("0.connections._indices_L0", torch.zeros(3)), "belongs to no layer of look-up tables"),
    (
        "torchlogix_raw",
        put("1.connections.indices", torch.full((2, 12), 99)),
        "layer 1 reads bit 99 of 18 before it",
    ),
    (
        "torchlogix_raw",
        put("1.connections.indices", torch.full((2, 12), -1)),
        "layer 1: a connection is -1, allowed are",
    ),
    ("torchlogix_raw", put("1.connections.indices", torch.tensor(3)), "connections.indices has the shape ()"),
    ("torchlogix_raw", put("norm.weight", torch.zeros(3, 4)), "layer norm: there is no connections.indices"),
    ("torchlogix_raw", put("0.weight", [torch.zeros(2), torch.zeros(3)]), "a list of tensors of different shapes"),
    ("torchlogix_raw", put("1.connections.indices", torch.zeros(2, 12)), "are float32 of (2, 12), not integers"),
    ("torchlogix_light", put("0.weight", torch.zeros(18, 8)), "light tables of 4 inputs with 8 weights, 16 are wanted"),
    ("difflogic", put("0.weights", torch.zeros(18, 4)), "weights has 4 columns, one for each of 16 gates is wanted"),
    ("difflogic", put("0.weights", torch.zeros(19, 16)), "not integers of (2, 19)"),
    ("difflogic", put("0.weights", torch.zeros(0, 16)), "weights has the shape (0, 16)"),
    ("dwn", put("0.luts", torch.zeros(16, 12)), "a table has 12 entries; a power of two from 2 to 65536"),
    ("dwn", drop("1.mapping"), "layer 1: there is no mapping"),
    ("dwn", drop("1.luts"), "layer 1: there is no luts"),
    ("dwn", put("0._LUTLayer__dummy_mapping", torch.arange(64.0).view(16, 4)), "mapping.weights has no order"),
    ("dwn", drop("0._LUTLayer__dummy_mapping"), "mapping.weights has no order of its 64 columns for 16 tables"),
    ("dwn", put("0._LUTLayer__dummy_mapping", torch.zeros(16, 4).int()), "mapping.weights has no order"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD_STATES)
def test_a_malformed_checkpoint_is_refused_by_layer(
    name: str, change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ImportFileError, match=re.escape(message)) as refusal:
        import_network(edited(name, change, tmp_path))
    assert str(refusal.value).startswith(str(tmp_path / "net.pth"))


def test_a_connection_beyond_all_integers_does_not_come_round(tmp_path: Path) -> None:
    with np.load(PEERS / "difflogic_wiring.npz") as arrays:
        wiring = {name: values.astype(np.uint64) for name, values in arrays.items()}
    wiring["1.indices"][0, 0] = 2**64 - 1
    np.savez(tmp_path / "wiring.npz", **wiring)
    with pytest.raises(ImportFileError, match="layer 1: a connection is 18446744073709551615, allowed are 0 to"):
        import_network(replace(request_of("difflogic"), wiring=tmp_path / "wiring.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wiring": None}, "layer model.1: the checkpoint holds no connections; give a file with them (--wiring)"),
        ({"wiring": PEERS / "difflogic_wiring.npz"}, "has no entry 'model.1.indices'; it has 0.indices, 1.indices"),
        ({"wiring": PEERS / "none.npz"}, "none.npz: the file cannot be read"),
        ({"classes": 5}, "ends in 12 bits, which are no equal groups of 5 classes"),
        ({"classes": 0}, "ends in 12 bits, which are no equal groups of 0 classes"),
        ({"inputs": 4}, "input bits, --inputs says 4"),
        ({"path": PEERS / "README.md"}, "has the suffix '.md'; supported are .blif, .aag, .aig, .pth"),
        ({"path": PEERS / "none.pth"}, "none.pth: there is no such file"),
    ],
)
def test_what_does_not_fit_the_checkpoint_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CompilerError, match=re.escape(message)):
        import_network(replace(request_of("llnn"), **changes))


@pytest.mark.parametrize("content", [{"model": Evil()}, Evil(), {"a": torch.zeros(2)}, [1, 2], {}, torch.zeros(3)])
def test_checkpoints_are_loaded_without_code(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(ImportFileError, match=str(tmp_path / "bad.pth")):
        import_network(ImportRequest(tmp_path / "bad.pth", "net"))
    assert not (Path.home() / "difflut_was_here").exists()


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps(Evil()), (PEERS / "llnn.pth").read_bytes()[:900]])
def test_files_that_are_no_checkpoints_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(ImportFileError, match=r"bad\.pth: the file is damaged or not a model file"):
        import_network(ImportRequest(tmp_path / "bad.pth", "net"))
    assert not (Path.home() / "difflut_was_here").exists()


def test_wiring_is_loaded_without_code(tmp_path: Path) -> None:
    np.savez(tmp_path / "wiring.npz", np.array([Evil()], dtype=object))
    with pytest.raises(ImportFileError, match=r"the file is no \.npz file of plain arrays"):
        import_network(replace(request_of("llnn"), wiring=tmp_path / "wiring.npz"))
    assert not (Path.home() / "difflut_was_here").exists()


# -- netlists ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(SHAPES, SEEDS)
def test_what_the_targets_write_is_read_as_the_same_function(shape: Shape, seed: int) -> None:
    """BLIF, and AIGER in both forms."""
    design = make_design(shape, seed, target="blif", pipeline="none")
    aiger = make_design(shape, seed, target="aiger", pipeline="none").plan
    inputs = random_inputs(design.original, 20, seed)
    expected = slow_outputs(design.original, inputs)["class_index"]
    values = inputs[:, :, np.newaxis] >> np.arange(shape.bits) & 1  # of negative numbers, too
    rows = values.reshape(len(inputs), -1)
    files = {**design.plan.all_files, **aiger.all_files}
    assert {name.partition(".")[2] for name in files} == {"blif", "aag", "aig"}
    for name, content in files.items():
        found = read(name, content).evaluate(rows)
        bits = [values for _, values in sorted(found.items(), key=lambda one: (len(one[0]), one[0]))]
        assert np.sum([row << place for place, row in enumerate(bits)], axis=0).tolist() == expected, name


def read(name: str, content: str | bytes) -> LutGraph:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_network(ImportRequest(path, "net"))


BLIF = """\
# a full adder, an unused table, and a table of zeros
.model adder
.inputs a b \\
 c
.outputs Sum carry[0] one module
.names a b x
10 1
01 1
.names x c Sum  # the last
00 0
11 0
.names a b c carry[0]
11- 1
1-1 1
-11 1
.names unused_input y
1 1
.names one
1
.names module
.end
"""


def test_blif_by_hand() -> None:
    graph = read("adder.blif", BLIF)
    rows = np.array([[value >> bit & 1 for bit in range(3)] for value in range(8)])
    found = graph.evaluate(rows)
    total = rows.sum(axis=1)
    assert found["sum"].tolist() == (total % 2).tolist()
    assert found["carry_0"].tolist() == (total // 2).tolist()
    assert found["one"].tolist() == [1] * 8
    assert found["y_3"].tolist() == [0] * 8


def change_line(old: str, new: str) -> str:
    assert old in BLIF
    return BLIF.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (change_line(".names one", ".latch a q re clk 2"), "line 18: .latch is not read, only .model, .inputs"),
        (change_line(".names one", ".subckt adder a=b"), "line 18: .subckt is not read"),
        (change_line(".names one", ".model second"), "line 18: a second .model"),
        (change_line("10 1", "102 1"), "line 7: a row of 2 inputs and an output is wanted"),
        (change_line("10 1", "12 1"), "line 7: a row is made of 0, 1 and -"),
        (change_line("10 1", "10 x"), "line 7: a row is made of 0, 1 and -"),
        (change_line("10 1", "10 0"), "line 8: rows of one table have different outputs"),
        (change_line("10 1", "10"), "line 7: a row of 2 inputs and an output is wanted"),
        (change_line(".names a b x", ".names"), "line 6: .names without a net"),
        (change_line(".names a b x", ".names a b a"), "line 6: a is driven twice"),
        (change_line(".names x c Sum", ".names a b x"), "line 9: x is driven twice"),
        (change_line(".names x c Sum", ".names z c Sum"), "line 9: nothing drives z"),
        (change_line(".names x c Sum", ".names Sum c Sum"), "line 9: Sum depends on itself"),
        (change_line(" c\n", " c a\n"), "line 3: a is declared twice"),
        (change_line(".outputs Sum carry[0] one module", ".outputs nowhere"), "line 5: nothing drives nowhere"),
        (change_line(".outputs Sum carry[0] one module", ""), "adder.blif: has no output"),
        (change_line(".names a b x\n", ""), "line 6: '10' belongs to no .names"),
        (change_line(".names a b x", f".names {' '.join('a' * 17)} x"), "line 6: a table of 17 inputs; up to 16"),
    ],
)
def test_malformed_blif_is_refused_by_line(text: str, message: str) -> None:
    with pytest.raises(ImportFileError, match=re.escape(message)):
        read("adder.blif", text)


AAG = "aag 7 2 0 3 3\n2\n4\n6\n13\n1\n6 13 15\n12 2 4\n14 3 5\ni0 x\ni1 y\no0 Half Sum\no1 and_not\nc\nwords\n"


def test_aiger_by_hand() -> None:
    """Gates in any order, names, an inverted and a constant output."""
    graph = read("half.aag", AAG)
    found = graph.evaluate(np.array([[0, 0], [1, 0], [0, 1], [1, 1]]))
    assert found["half_sum"].tolist() == [0, 1, 1, 0]
    assert found["and_not"].tolist() == [1, 1, 1, 0]
    assert found["o2"].tolist() == [1, 1, 1, 1]


def test_aiger_with_constant_inputs_of_gates() -> None:
    graph = read("constant.aag", "aag 4 1 0 3 3\n2\n4\n6\n9\n4 2 1\n6 2 0\n8 3 1\n")
    found = graph.evaluate(np.array([[0], [1]]))
    assert [found[f"o{place}"].tolist() for place in range(3)] == [[0, 1], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: no AIGER header"),
        ("aag 1 1 0 x 0\n", "line 1: the header must hold natural numbers"),
        ("aag 1 1 1 0 0\n2\n", "line 1: has latches or properties"),
        ("aag 99999999 1 0 1 99999998\n", "line 1: has more than 2000000 variables, which is the limit"),
        ("aag 99999999999999 1 0 1 1\n", "line 1: the header must hold natural numbers of at most ten digits"),
        ("aag 1 1 0 1 1\n2\n2\n", "line 1: has 1 inputs and 1 gates, but only 1 variables"),
        (AAG.replace("\n12 2 4", "\n12 2"), "line 8: 3 literals up to 15 are wanted"),
        (AAG.replace("\n12 2 4", "\n12 2 99"), "line 8: 3 literals up to 15 are wanted"),
        (AAG.replace("\n12 2 4", "\n12 2 -4"), "line 8: 3 literals up to 15 are wanted"),
        (AAG.replace("\n12 2 4", "\n13 2 4"), "line 8: literal 13 is odd, constant or not new"),
        (AAG.replace("\n12 2 4", "\n2 2 4"), "line 8: literal 2 is odd, constant or not new"),
        (AAG.replace("\n12 2 4", "\n12 2 12"), "line 8: variable 6 depends on itself"),
        (AAG.replace("\n12 2 4", "\n12 2 10"), "line 8: nothing drives variable 5"),
        (AAG.replace("\n6\n13", "\n10\n13"), "output 0 reads variable 5, which nothing drives"),
        ("aag 1 1 0 0 0\n2\n", "has no output"),
        (b"aig 3 2 0 1 1\n6\n\x02", "ends within gate 0"),
        (b"aig 3 2 0 1 1\n6\n\xff\xff\xff\xff\xff\xff\xff\xff", "ends within gate 0, or a number of it is too large"),
        (b"aig 3 2 0 1 1\n6\n\x00\x02", "gate 0 reads what is not defined before it"),
        (b"aig 3 2 0 1 1\n6\n\x07\x02", "gate 0 reads what is not defined before it"),
        (b"aig 3 2 0 1 1\n77\n\x02\x02", "line 2: a literal up to 7 is wanted"),
        (b"aig 4 2 0 1 1\n6\n\x02\x02", "line 1: a binary file has as many variables as inputs and gates"),
        (struct.pack("64s", b"aig"), "line 1: no AIGER header"),
    ],
)
def test_malformed_aiger_is_refused_by_place(content: str | bytes, message: str) -> None:
    name = "bad.aig" if isinstance(content, bytes) else "bad.aag"
    with pytest.raises(ImportFileError, match=re.escape(message)):
        read(name, content)


def test_limits_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("difflut_compiler.importers.blif.MAX_NODES", 2)
    with pytest.raises(ImportFileError, match=r"line 12: has more than 2 tables, which is the limit"):
        read("adder.blif", BLIF)
    monkeypatch.setattr("difflut_compiler.importers.state_dicts.MAX_NODES", 25)
    with pytest.raises(ImportFileError, match="has more than 25 tables, which is the limit"):
        import_network(request_of("llnn"))
    monkeypatch.setattr(netlist, "MAX_FILE_BYTES", 10)
    with pytest.raises(ImportFileError, match=f"has {len(BLIF)} bytes, the limit is 10"):
        read("adder.blif", BLIF)


def test_long_chains_are_read() -> None:
    """As deep as a file may be, whatever Python's own limit for nested calls."""
    length = 5000
    tables = [f".names n{place + 1} n{place}\n0 1" for place in range(length)]
    text = f".model chain\n.inputs n{length}\n.outputs n0\n" + "\n".join(tables) + "\n.end\n"
    assert read("chain.blif", text).evaluate(np.array([[0], [1]]))["n0"].tolist() == [0, 1]


def test_names_become_legal_and_stay_different() -> None:
    names = legal_names(["Out[0]", "out[0]", "module", "", "clk", "y_3", "a b", "out_0"])
    assert names[0] == "out_0"
    assert names[6] == "a_b"
    assert len(set(names)) == len(names)


# -- the command -------------------------------------------------------------------------------------------------------


def test_a_checkpoint_becomes_proven_hardware(tmp_path: Path) -> None:
    graph = tmp_path / "raw.json"
    code, output, error = run("import", PEERS / "torchlogix_raw.pth", "--classes", "3", "--inputs", "16", "-o", graph)
    assert (code, error) == (0, "")
    assert "16 inputs, 30 look-up tables, 1 outputs" in " ".join(output.split())
    answers = np.load(PEERS / "torchlogix_raw_answers.npz")
    assert np.array_equal(votes(read_graph(graph), answers["inputs"]), answers["outputs"])
    code, output, error = run("compile", graph, "-t", "blif", "-o", tmp_path / "out")
    assert code == 0, error
    assert statuses(tmp_path / "out") == {1: "not checked", 2: "passed", 3: "passed", 4: "not checked", 5: "passed"}


def test_gates_that_are_always_on_are_counted(tmp_path: Path) -> None:
    """Votes of constant gates must reach the hardware; an exporter is known to lose them."""
    need("iverilog")
    need("cocotb")
    state = dict(torch.load(PEERS / "torchlogix_raw.pth", weights_only=True))
    gates = torch.tensor([15, 15, 15, 6, 15, 6, 6, 9, 0, 1, 7, 15])  # three of four votes for class 0 are certain
    state["1.weight"] = torch.nn.functional.one_hot(gates, 16).float()
    torch.save(state, tmp_path / "net.pth")
    graph = tmp_path / "net.json"
    assert run("import", tmp_path / "net.pth", "--classes", "3", "--inputs", "16", "-o", graph)[0] == 0
    inputs = np.load(PEERS / "torchlogix_raw_answers.npz")["inputs"]
    assert (votes(read_graph(graph), inputs)[:, 0] >= 3).all()
    code, _, error = run("compile", graph, "-t", "verilog", "-o", tmp_path / "out", "--no-count-luts")
    assert code == 0, error
    assert statuses(tmp_path / "out") == {1: "not checked", **dict.fromkeys(range(2, 6), "passed")}


@pytest.mark.parametrize("target", TARGETS)
def test_outputs_that_are_inputs_or_constants(target: str, tmp_path: Path) -> None:
    for tool in ("gcc", "iverilog", "ghdl", "cocotb"):
        need(tool)
    path = tmp_path / "wires.blif"
    path.write_text(
        ".model wires\n.inputs a b\n.outputs a one zero both x\n"
        ".names one\n1\n.names zero\n.names a b both\n11 1\n.names b x\n1 1\n.end\n"
    )
    assert run("import", path)[0] == 0
    code, output, error = run("compile", tmp_path / "wires.json", "-t", target, "-o", tmp_path / "out")
    assert code == 0, output + error
    assert set(statuses(tmp_path / "out").values()) == {"passed", "not checked"}


def test_a_refusal_of_the_command_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.blif"
    path.write_text(".model x\n.gate nand2 a=b\n")
    assert refused(2, "import", path).startswith(f"{path}, line 2: .gate is not read")
    assert (
        refused(2, "import", tmp_path / "none.blif")
        == f"{tmp_path / 'none.blif'} cannot be read: No such file or directory"
    )
    assert "--classes says nothing about a netlist" in refused(2, "import", path, "--classes", "3")
    assert list(tmp_path.iterdir()) == [path]


def test_help_of_the_command() -> None:
    result = CliRunner().invoke(app, ["import", "--help"])
    assert result.exit_code == 0
    assert "torchlogix" in result.stdout
