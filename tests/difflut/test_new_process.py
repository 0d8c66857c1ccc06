"""What is saved in one process computes the same in another, for every building block that is registered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difflut.encoders import BaseEncoder
from difflut.layers import ConvolutionConfig
from difflut.registry import REGISTRY
from difflut.utils.modules import GroupSum

Block = tuple[str, str, dict[str, Any], tuple[int, ...]]
"""Kind and name of a block, what its constructor is given besides the seed, and the shape of its input."""

NODES: list[Block] = [
    ("node", name, {"input_dim": 3, "output_dim": 2, "num_nodes": 4}, (4, 3)) for name in REGISTRY.list_nodes()
]
LAYERS: list[Block] = [
    ("layer", name, {"input_size": 20, "output_size": 7, "node_type": "dwn", "n": 3}, (20,))
    for name in REGISTRY.list_layers()
]
CONVOLUTIONS: list[Block] = [
    ("convolutional_layer", name, {}, (2, 6, 6)) for name in REGISTRY.list_convolutional_layers()
]
ENCODERS: list[Block] = [("encoder", name, {"num_bits": 3}, (5,)) for name in REGISTRY.list_encoders()]
BLOCKS: list[Block] = [*NODES, *LAYERS, *CONVOLUTIONS, *ENCODERS, ("group_sum", "random order", {}, (12,))]
IDS = [f"{kind}: {name}" for kind, name, _, _ in BLOCKS]

READER = """
import sys
import torch
from tests.difflut.test_new_process import BLOCKS, IDS, build

saved = torch.load(sys.argv[1], weights_only=True)
answers = {}
for key, (kind, name, arguments, _) in zip(IDS, BLOCKS, strict=True):
    block = build(kind, name, arguments, seed=2)
    before = block.state_dict()
    assert any(not torch.equal(before[entry], value) for entry, value in saved[key]["state"].items()), key
    block.load_state_dict(saved[key]["state"])
    answers[key] = block.eval()(saved[key]["inputs"])
torch.save(answers, sys.argv[2])
"""


def build(kind: str, name: str, arguments: dict[str, Any], seed: int) -> nn.Module:
    """Return a new block whose wiring and start values depend on the seed."""
    if kind == "node":
        return REGISTRY.build_node(name, **arguments, generator=torch.Generator().manual_seed(seed))
    if kind == "layer":
        return REGISTRY.build_layer(name, **arguments, seed=seed)
    if kind == "convolutional_layer":
        config = ConvolutionConfig(tree_depth=2, in_channels=2, out_channels=3, receptive_field=3, seed=seed)
        return REGISTRY.build_convolutional_layer(name, config, "dwn", n_inputs_per_node=2)
    if kind == "encoder":
        return REGISTRY.build_encoder(name, **arguments)
    return GroupSum(3, use_randperm=True, seed=seed)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tensor, Tensor]]:
    """Eval-mode answers of every block, here and in another process."""
    random = torch.Generator().manual_seed(0)
    saved, here = {}, {}
    for key, (kind, name, arguments, shape) in zip(IDS, BLOCKS, strict=True):
        block = build(kind, name, arguments, seed=1)
        inputs = 3 * torch.randn(50, *shape, generator=random)
        if isinstance(block, BaseEncoder):
            block.fit(inputs)
        here[key] = block.eval()(inputs)
        saved[key] = {"state": block.state_dict(), "inputs": inputs}
    folder = tmp_path_factory.mktemp("blocks")
    torch.save(saved, folder / "saved.pth")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", READER, str(folder / "saved.pth"), str(folder / "answers.pth")]
    subprocess.run(command, cwd=root, check=True)
    there = torch.load(folder / "answers.pth", weights_only=True)
    return {key: (here[key], there[key]) for key in IDS}


@pytest.mark.parametrize("key", IDS)
def test_a_new_process_answers_as_the_old_one(key: str, answers: dict[str, tuple[Tensor, Tensor]]) -> None:
    here, there = answers[key]
    assert torch.equal(here, there)
    assert here.min() < here.max()
