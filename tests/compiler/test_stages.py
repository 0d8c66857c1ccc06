"""Stages of several banks, tables that are used at several places, and modules that only pass bits on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difflut.layers import LayerConfig, LutStage, RandomLayer, WiredBank
from difflut.models import BaseLUTModel, ModelConfig
from difflut.nodes import DWNNode
from difflut_compiler import lower as lower_module
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.frontend import LoadedModel
from difflut_compiler.graph import LutGraph
from difflut_compiler.lower import lower
from difflut_compiler.ops import Const, Lut
from difflut_compiler.vectors import make_vectors
from difflut_compiler.verify.ladder import check_lowering

POSITIONS = 4


class PairStage(LutStage):
    """Two tables at each of 4 positions read its three bits, and one of two outputs reads their answers.

    The input is 11 bits; what the last position lacks is 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer_config = LayerConfig()
        self.leaves = DWNNode(input_dim=3, num_nodes=2)
        self.roots = DWNNode(input_dim=2, output_dim=2, num_nodes=1)

    @property
    def output_width(self) -> int:
        return POSITIONS * 2

    def wired_banks(self) -> list[WiredBank]:
        bits = torch.tensor([*range(11), -1]).view(POSITIONS, 1, 3).expand(-1, 2, -1).reshape(-1, 3)
        leaves = WiredBank(self.leaves, torch.tensor([0, 1] * POSITIONS), bits)
        roots = WiredBank(self.roots, torch.zeros(POSITIONS, dtype=torch.int64), torch.arange(8).view(POSITIONS, 2))
        return [leaves, roots]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 11) -> (batch, 4, 2), position by position."""
        x = nn.functional.pad(x, (0, 1))
        parts = []
        for position in range(POSITIONS):
            bits = x[:, 3 * position : 3 * position + 3]
            leaves = self.leaves(bits.unsqueeze(1).expand(-1, 2, -1)).flatten(1)
            parts.append(self.roots(leaves.unsqueeze(1)))
        return torch.cat(parts, dim=1)

    def check_buffers(self) -> None:
        pass


class StagedModel(BaseLUTModel):
    """An ordinary layer, ReLU, a `PairStage`, and its answers made flat."""

    def build_layers(self, input_size: int) -> Sequence[LutStage]:
        return [RandomLayer(input_size * self.encoder.num_bits, 11, "dwn", n=2), PairStage()]

    def stages(self) -> list[tuple[str, nn.Module]]:
        first, second = super().stages()
        return [first, ("relu", nn.ReLU()), second, ("flatten", nn.Flatten())]

    @classmethod
    def min_state_bytes(cls, config: Any) -> int:
        return 0


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> StagedModel:
    lowerings: dict[Any, Any] = lower_module._LOWERINGS
    monkeypatch.setitem(lowerings, PairStage, lower_module._lower_stage)
    encoder = {"name": "thermometer", "num_bits": 2}
    model = StagedModel(ModelConfig("feedforward", "random", "dwn", encoder, 2, [1], 4))
    random = torch.Generator().manual_seed(3)
    model.fit_encoder(torch.randn(30, 3, generator=random))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=random))
    return model.eval()


def first_rung(model: StagedModel, change: Callable[[LutGraph, LoadedModel], None]) -> int:
    """Climb the first rung with a changed graph; the votes are those of the graph, as if nothing showed in them."""
    loaded = LoadedModel(model, "")
    graph, count_nets, bank_nets = loaded.lower("net")
    change(graph, loaded)
    vectors = make_vectors(graph, None)
    answers = loaded.answers(vectors.inputs)
    votes = evaluate_nets(graph, vectors.inputs, count_nets).T
    answers = type(answers)(graph.evaluate(vectors.inputs)["class_index"], votes, "")
    layers = loaded.layer_answers(vectors.made, bank_nets)
    assert [layer.name for layer in layers] == ["encoder", "layers.0", "layers.1.bank0", "layers.1"]
    finding = check_lowering(graph, count_nets, vectors.inputs, answers, layers, "vectors")
    # A stage that asks its banks position by position is not observed, and the certificate says so.
    assert "the wires of layers.1.bank0, layers.1 as the model lists them" in finding.reason
    return finding.comparisons


def test_the_graph_answers_as_the_model(model: StagedModel) -> None:
    graph = lower(model, "net")
    inputs = make_vectors(graph, None).inputs
    reals = model.input_format.to_reals(torch.from_numpy(inputs))
    assert graph.layers == (
        "input",
        "encoder",
        "layers.0",
        "layers.1.bank0",
        "layers.1",
        "class_counts",
        "argmax",
        "output",
    )
    assert np.array_equal(graph.evaluate(inputs)["class_index"], model.predict(reals).numpy())
    assert len(set(model.predict(reals).tolist())) > 1
    origins = [str(graph.node(net).origin) for net in graph if str(graph.node(net).origin).startswith("layers.1")]
    assert sorted(origins) == sorted(
        [f"layers.1.bank0[{i}]" for i in range(8)] + [f"layers.1[{i}]" for i in range(8)] + ["layers.1.bank0[0].zero"]
    )


def test_the_first_rung_compares_every_bank(model: StagedModel) -> None:
    vectors = len(make_vectors(lower(model, "net"), None).inputs)
    votes = vectors * (4 + 1)
    bits = vectors * (6 + 11 + 8)
    entries_and_wires = 11 * (4 + 2) + 8 * (8 + 3) + 8 * (4 + 2)
    assert first_rung(model, lambda graph, loaded: None) == votes + bits + entries_and_wires


def test_a_wrong_entry_or_pin_of_an_inner_bank_fails_the_first_rung(model: StagedModel) -> None:
    def inner_lut(graph: LutGraph) -> int:
        return next(net for net in graph if graph.node(net).origin == ("layers.1.bank0", 0, ""))

    def flip(graph: LutGraph, loaded: LoadedModel) -> None:
        node = graph.node(inner_lut(graph))
        assert isinstance(node.op, Lut)
        graph.replace(inner_lut(graph), Lut(3, node.op.table ^ 4), node.operands)

    def swap(graph: LutGraph, loaded: LoadedModel) -> None:
        node = graph.node(inner_lut(graph))
        graph.replace(inner_lut(graph), node.op, (*node.operands[:1], *node.operands[:0:-1]))

    def connect_the_padding(graph: LutGraph, loaded: LoadedModel) -> None:
        net = next(net for net in graph if graph.node(net).op == Const(0))
        reader = max(reader for reader in graph if net in graph.node(reader).operands)
        pins = graph.node(reader).operands
        graph.replace(reader, graph.node(reader).op, (*pins[:2], pins[0]))

    for change in (flip, swap, connect_the_padding):
        with pytest.raises(MismatchError, match=r"graph and model differ in the .* of layers\.1"):
            first_rung(model, change)


def test_a_bank_that_uses_nodes_it_does_not_have_is_refused(
    model: StagedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves, roots = model.lut_layers()[1].wired_banks()
    wrong = [WiredBank(leaves.bank, leaves.nodes + 1, leaves.pins), roots]
    monkeypatch.setattr(model.layers[1], "wired_banks", lambda: wrong)
    with pytest.raises(CompilerError, match=r"layers\.1\.bank0: the look-up tables must be a list of nodes 0 to 1"):
        lower(model, "net")
