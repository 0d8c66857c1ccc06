"""Networks described layer by layer become hardware like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from difflut import REGISTRY, ConfiguredLUTModel, build_from_config, save_model
from difflut_compiler import vectors
from difflut_compiler.cli import app
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.lower import class_count_nets, lower
from tests.compiler.needs import need

GROUPSUMS = [{"k": 3}, {"k": 3, "tau": 2.0, "use_randperm": True}, None]


def make_pipeline(node_type: str, groupsum: dict[str, Any] | None) -> ConfiguredLUTModel:
    """Four features of two bits; a random layer of 10 nodes with two outputs each, a learnable one of 9 nodes."""
    layers = [
        {
            "type": "random",
            "node_type": node_type,
            "input_size": 8,
            "output_size": 10,
            "n": 3,
            "node_params": {"output_dim": 2},
        },
        {"type": "learnable", "node_type": "dwn", "input_size": 20, "output_size": 9, "n": 4},
    ]
    encoder = {"type": "gray", "params": {"num_bits": 2}}
    model = build_from_config({"encoder": encoder, "layers": layers, "groupsum": groupsum})
    model.fit_encoder(torch.randn(50, 4, generator=torch.Generator().manual_seed(1)))
    return model.eval()


@pytest.mark.parametrize("groupsum", GROUPSUMS)
@pytest.mark.parametrize("node_type", REGISTRY.list_nodes())
def test_the_graph_votes_as_the_model(node_type: str, groupsum: dict[str, Any] | None) -> None:
    model = make_pipeline(node_type, groupsum)
    graph = lower(model, "network")
    inputs = vectors.make_vectors(graph, None).inputs
    reals = model.input_format.to_reals(torch.from_numpy(inputs))
    votes = model.class_counts(reals)
    assert len(set(map(tuple, votes.tolist()))) > 3
    assert np.array_equal(evaluate_nets(graph, inputs, class_count_nets(graph)).T, votes.numpy())
    assert np.array_equal(graph.evaluate(inputs)["class_index"], model.predict(reals).numpy())


@pytest.mark.parametrize("groupsum", GROUPSUMS)
def test_a_pipeline_climbs_every_rung(
    groupsum: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("iverilog")
    need("cocotb")
    monkeypatch.setattr(vectors, "RANDOM_SAMPLES", 60)
    model = make_pipeline("polylut", groupsum)
    model.apply_runtime_overrides({"eval_mode": "sampling"})  # of no concern to hardware
    save_model(model, tmp_path / "model.pth")
    arguments = ["compile", str(tmp_path / "model.pth"), "-t", "verilog", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    certificate = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert [rung["status"] for rung in certificate["rungs"]] == ["passed"] * 5
