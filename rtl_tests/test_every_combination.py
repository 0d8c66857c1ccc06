"""Every node type in every kind of layer behind every encoder: model, graph and simulated Verilog answer alike.

All of them are for the nightly run. A Latin square of them is enough for every day: behind tables and thresholds
nothing knows nodes and encoders, and tests/compiler/test_lower.py compares the graphs of all.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from difflut.models import BaseLUTModel, ModelConfig, build_model, load_model, save_model
from difflut.registry import REGISTRY
from difflut_compiler.emit import emit
from difflut_compiler.lower import lower
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify.simulate import pack_features
from plain_simulation import answers, as_answers
from tests.compiler.designs import design_of
from tests.compiler.needs import need

ROOT = Path(__file__).resolve().parents[1]
CONVOLUTION = {"out_channels": 6, "receptive_field": 2, "padding": 1, "tree_depth": 1, "n_inputs_per_node": 2}
KINDS: dict[str, dict[str, Any]] = {
    **{name: {"layer_type": name} for name in REGISTRY.list_layers()},
    **{
        f"convolutional_{layer_type}": {
            "model_type": "convnet",
            "layer_type": layer_type,
            "params": {"image_shape": [1, 2, 2], "convolutions": [CONVOLUTION]},
        }
        for layer_type in ("random", "learnable")
    },
}
COMBINATIONS = [
    (node, kind, encoder) for node in REGISTRY.list_nodes() for kind in KINDS for encoder in REGISTRY.list_encoders()
]


def iris() -> torch.Tensor:
    """Real measurements of 150 flowers, (150, 4), in centimetres with one decimal."""
    datasets = pytest.importorskip("sklearn.datasets")
    return torch.from_numpy(datasets.load_iris().data).to(torch.float32)


def build(node: str, kind: str, encoder: str, data: torch.Tensor) -> BaseLUTModel:
    """A new model, the first of a few that does not give all samples the same class."""
    fields: dict[str, Any] = {
        "model_type": "feedforward",
        "node_type": node,
        "encoder_config": {"name": encoder, "num_bits": 3},
        "node_input_dim": 3,
        "layer_widths": [15, 9],
        "num_classes": 3,
        "input_format": {"bits": 8, "signed": True, "scale": 0.125},
    }
    for seed in range(50):
        model = build_model(ModelConfig(**{**fields, **KINDS[kind]}, seed=100 * seed))
        model.fit_encoder(data)
        if seed % 2:  # the start values of some families are too small to make a difference
            randomise(model, seed)
        if len(set(model.predict(data).tolist())) > 1:
            return model.eval()
    raise AssertionError("every network gives all samples the same class, so comparing them would test nothing")


def randomise(model: BaseLUTModel, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


def is_in_the_square(node: str, kind: str, encoder: str) -> bool:
    """A Latin square of the combinations: every node type in every kind of layer, behind an encoder each."""
    nodes, encoders = REGISTRY.list_nodes(), REGISTRY.list_encoders()
    return (nodes.index(node) + list(KINDS).index(kind)) % len(encoders) == encoders.index(encoder)


@pytest.mark.parametrize(
    ("node", "kind", "encoder"),
    [pytest.param(*one, marks=() if is_in_the_square(*one) else pytest.mark.slow) for one in COMBINATIONS],
)
def test_model_graph_and_verilog_answer_alike(node: str, kind: str, encoder: str, tmp_path: Path) -> None:
    need("iverilog")
    data = iris()
    model = build(node, kind, encoder, data)
    random = torch.randint(-128, 128, (106, 4), generator=torch.Generator().manual_seed(2))
    inputs = torch.cat([model.input_format.to_integers(data), random])
    with torch.no_grad():
        scores = model(torch.cat([data, model.input_format.to_reals(random)]))
    expected = scores.argmax(1).tolist()
    graph = lower(model, "network")
    assert graph.evaluate(inputs.numpy())["class_index"].tolist() == expected
    design = design_of(graph, target="verilog", pipeline="layers")
    assert design.graph.evaluate(inputs.numpy())["class_index"].tolist() == expected
    words = pack_features(design.graph, np.asarray(inputs.numpy()))
    assert answers(design.plan, words, tmp_path) == as_answers(expected, design.plan)


def digest(path: Path, inputs: torch.Tensor) -> str:
    """What a saved model answers, and every byte of its Verilog and its VHDL."""
    model = load_model(path)
    with torch.no_grad():
        content = model(inputs).numpy().tobytes()
    design = design_of(lower(model, "network"), target="verilog", pipeline="layers")
    for plan in (design.plan, emit(design.scheduled, TARGETS["vhdl"], "net")):
        content += json.dumps(sorted(plan.files.items())).encode()
    return hashlib.sha256(content).hexdigest()


READER = """
import sys
from pathlib import Path
from rtl_tests.test_every_combination import digest, iris

for path in sorted(Path(sys.argv[1]).glob("*.pth")):
    print(path.name, digest(path, iris()))
"""


def test_saved_models_answer_and_compile_to_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    data = iris()
    for node, kind, encoder in filter(lambda one: is_in_the_square(*one), COMBINATIONS):
        save_model(build(node, kind, encoder, data), tmp_path / f"{node}-{kind}-{encoder}.pth")
    here = [f"{path.name} {digest(path, data)}" for path in sorted(tmp_path.glob("*.pth"))]
    assert len(here) == len(REGISTRY.list_nodes()) * len(KINDS)
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    command = [sys.executable, "-c", READER, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == here
