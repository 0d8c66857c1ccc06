"""What ``import difflut`` offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import difflut


def test_every_exported_name_exists() -> None:
    assert set(difflut.__all__) == set(difflut._HOME_OF)
    for name in difflut.__all__:
        assert getattr(difflut, name).__name__ if name != "REGISTRY" else difflut.REGISTRY
    assert set(difflut.__all__) <= set(dir(difflut))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = difflut.no_such_name


def test_errors_and_registry_load_without_torch() -> None:
    code = "import sys, difflut, difflut.errors, difflut.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_submodules_are_reachable_as_attributes() -> None:
    names = ("data.load_dataset", "training.train", "nodes.DWNNode", "kernels.use", "errors.DataError", "input_format")
    code = "import difflut; " + "; ".join(f"difflut.{name}" for name in names)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
