"""Whole compiles of a convolutional network in every language: each rung of the evidence is passed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from difflut import save_model
from difflut_compiler.driver import CompileRequest, compile_model
from difflut_compiler.targets import TARGETS
from tests.compiler.models import make_convnet
from tests.compiler.needs import need

SIMULATOR_OF = {"verilog": "iverilog", "vhdl": "ghdl"}


@pytest.mark.parametrize("layer_type", ["random", pytest.param("learnable", marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", TARGETS)
def test_a_convolutional_network_compiles_to_proven_and_simulated_hardware(
    target: str, layer_type: str, tmp_path: Path
) -> None:
    need(SIMULATOR_OF[target])
    need("cocotb")
    save_model(make_convnet(layer_type=layer_type), tmp_path / "model.pth")
    result = compile_model(CompileRequest(tmp_path / "model.pth", target, "network", count_luts=False))
    rungs = result.certificate.rungs
    assert {rung.id: rung.status for rung in rungs} == dict.fromkeys(range(1, 6), "passed")
    assert "also proven against the lowered graph in one piece" in rungs[2].reason
    # A reader finds the place in the image at every LUT.
    assert re.search(r"lut_\d+_channel\d_lut\d_row\d_column\d", "".join(result.plan.files.values()), re.IGNORECASE)
