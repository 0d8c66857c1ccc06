"""Names of building blocks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from difflut.nodes import DWNNode
from difflut.registry import REGISTRY, Category


def test_importing_the_registry_alone_makes_everything_available() -> None:
    code = (
        "from difflut.registry import REGISTRY as R\n"
        "assert {'dwn', 'probabilistic', 'linear_lut'} <= set(R.list_nodes())\n"
        "assert {'random', 'learnable'} <= set(R.list_layers())\n"
        "assert {'thermometer', 'distributive_thermometer'} <= set(R.list_encoders())\n"
        "assert {'feedforward', 'SimpleFeedForward'} <= set(R.list_models())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_get_returns_the_registered_class() -> None:
    assert REGISTRY.get_node("dwn") is DWNNode


@pytest.mark.parametrize(
    ("get", "known"),
    [
        (REGISTRY.get_node, "probabilistic"),
        (REGISTRY.get_layer, "random"),
        (REGISTRY.get_encoder, "thermometer"),
        (REGISTRY.get_model, "feedforward"),
    ],
)
def test_unknown_name_lists_the_available_ones(get: object, known: str) -> None:
    assert callable(get)
    with pytest.raises(ValueError, match=f"'nothing'.*{known}"):
        get("nothing")


def test_a_taken_name_is_refused_with_both_origins() -> None:
    blocks: Category[object] = Category("block", "difflut")

    class First:
        pass

    class Second:
        pass

    blocks.register("name")(First)
    blocks.register("name")(First)  # the same class again is no conflict
    with pytest.raises(ValueError, match=r"First.*Second"):
        blocks.register("name")(Second)
    assert blocks.get("name") is First
