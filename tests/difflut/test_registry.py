"""Names of building blocks."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from difflut import registry
from difflut.errors import PluginError
from difflut.nodes import DWNNode
from difflut.plugins import Plugins
from difflut.registry import (
    REGISTRY,
    Category,
    get_encoder_class,
    get_layer_class,
    get_node_class,
    get_registered_encoders,
    get_registered_initializers,
    get_registered_layers,
    get_registered_models,
    get_registered_nodes,
    get_registered_regularizers,
)


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


def test_a_definition_that_is_carried_out_again_replaces_what_it_made() -> None:
    """As a notebook cell that is run twice."""
    blocks: Category[Any] = Category("block", "difflut")

    def run_cell(module: str) -> Any:
        return blocks.register("band")(type("Band", (), {"__module__": module}))

    first, second = run_cell("notebook"), run_cell("notebook")
    assert blocks.get("band") is second is not first
    with pytest.raises(ValueError, match=r"taken by notebook\.Band, so elsewhere\.Band"):
        run_cell("elsewhere")
    assert blocks.get("band") is second


def test_without_a_name_a_block_has_its_own() -> None:
    blocks: Category[object] = Category("block", "difflut", suffix="_block", ignore_case=True)

    @blocks.register()
    def Round_Block() -> None:  # noqa: N802
        pass

    assert blocks.names() == ["round", "round_block"]
    assert blocks.get("ROUND") is blocks.get("Round_Block") is Round_Block
    with pytest.raises(TypeError, match=r"A block is registered under <function .*with parentheses"):
        blocks.register(Round_Block)  # type: ignore[arg-type]


def test_a_stripped_name_can_be_taken_too() -> None:
    blocks: Category[object] = Category("block", "difflut", suffix="_block")
    blocks.register("round")(len)
    with pytest.raises(ValueError, match=r"'round' is taken by builtins\.len, so builtins\.max"):
        blocks.register("round_block")(max)


def test_everything_is_listed_by_category() -> None:
    assert REGISTRY.list_all() == {
        "nodes": get_registered_nodes(),
        "layers": get_registered_layers(),
        "convolutional_layers": REGISTRY.list_convolutional_layers(),
        "encoders": get_registered_encoders(),
        "initializers": get_registered_initializers(),
        "regularizers": get_registered_regularizers(),
    }
    assert {"feedforward", "SimpleFeedForward"} <= set(get_registered_models())
    assert "probabilistic" in get_registered_initializers()
    assert REGISTRY.get_initializer("probabilistic") is REGISTRY.get_initializer("Probabilistic_Init")


@pytest.mark.parametrize("name", REGISTRY.list_nodes())
def test_node_classes_say_what_they_take(name: str) -> None:
    node_class = get_node_class(name)
    assert node_class.__doc__
    known = inspect.signature(node_class.__init__).parameters
    assert {"input_dim", "output_dim", "init_fn", "init_kwargs", "regularizers", "use_cuda"} <= known.keys()


def test_blocks_are_built_by_name() -> None:
    node = REGISTRY.build_node("linear_lut", input_dim=3)
    assert type(node) is get_node_class("linear_lut")
    assert node.input_dim == 3
    layer = REGISTRY.build_layer("random", 9, 4, "dwn", n=2)
    assert type(layer) is get_layer_class("random")
    assert layer.mapping().shape == (4, 2)
    encoder = REGISTRY.build_encoder("gray", num_bits=3)
    assert type(encoder) is get_encoder_class("gray")
    assert encoder.num_bits == 3
    with pytest.raises(ValueError, match="Unknown layer 'nothing'"):
        REGISTRY.build_layer("nothing", 9, 4, "dwn")


# -- building blocks of other distributions ----------------------------------------------------------------------------


def install(folder: Path, code: str) -> None:
    """Lay a distribution `acme-blocks` 1.5 out in a folder, as an installer does."""
    (folder / "acme_blocks.py").write_text(code)
    info = folder / "acme_blocks-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-blocks\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[difflut.components]\nacme = acme_blocks\n")


def run_python(folder: Path, code: str) -> str:
    """Run code in a new process in which the distribution is installed, and return what it prints."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    return result.stdout


def test_blocks_of_another_distribution_have_names_like_any_other(tmp_path: Path) -> None:
    install(
        tmp_path,
        "from difflut import REGISTRY, register_encoder, register_node, register_regularizer\n"
        "Base = REGISTRY.get_node('dwn')\n"  # a plugin may look names up while it is loaded
        "@register_node('acme_node')\n"
        "class AcmeNode(Base):\n"
        "    def truth_table(self):\n"
        "        return ~super().truth_table()\n"
        "@register_encoder()\n"
        "class AcmeEncoder(REGISTRY.get_encoder('thermometer')): ...\n"
        "@register_regularizer()\n"
        "def acme_regularizer(node): return node.soft_table().mean()\n",
    )
    code = (
        "import sys\n"
        "from difflut.registry import REGISTRY as R\n"
        "assert 'acme_blocks' not in sys.modules\n"  # loaded when it is needed
        "assert 'acme' in R.list_regularizers() and 'acme_regularizer' in R.list_regularizers()\n"
        "assert 'AcmeEncoder' in R.list_encoders()\n"
        "layer, plain = (R.build_layer('random', 9, 4, name, n=3) for name in ('acme_node', 'dwn'))\n"
        "print((layer.bank.truth_table() == ~plain.bank.truth_table()).all().item())"
    )
    assert run_python(tmp_path, code).split() == ["True"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('out of paper')", r"OSError: out of paper"),
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        (
            "from difflut import register_node\n@register_node('dwn')\nclass Mine: ...",
            r"ValueError: The node name 'dwn' is taken by difflut.nodes.dwn_node.DWNNode, so acme_blocks.Mine needs",
        ),
    ],
)
def test_a_broken_distribution_is_named_by_every_lookup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    install(tmp_path, code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "PLUGINS", Plugins())
    for look_up in (REGISTRY.list_nodes, REGISTRY.list_nodes, lambda: REGISTRY.get_encoder("gray")):
        with pytest.raises(PluginError) as caught:
            look_up()
        assert str(caught.value).startswith(
            "acme-blocks 1.5 is installed, but its DiffLUT building blocks 'acme' (acme_blocks) cannot be loaded ("
        )
        assert reason in str(caught.value)
