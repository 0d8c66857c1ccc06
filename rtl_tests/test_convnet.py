"""Whole compiles of a convolutional network in every language: each rung of the evidence is passed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from difflut import save_model
from difflut_compiler.driver import CompileRequest, compile_model
from tests.compiler.designs import HDL_TARGETS
from tests.compiler.models import make_convnet
from tests.compiler.needs import need

SIMULATOR_OF = {"verilog": "iverilog", "systemverilog": "iverilog", "vhdl": "ghdl"}
QUICK = [("random", "verilog"), ("random", "vhdl")]
CASES = [
    pytest.param(layer_type, target, marks=() if (layer_type, target) in QUICK else pytest.mark.slow)
    for layer_type in ("random", "learnable")
    for target in HDL_TARGETS
]


@pytest.mark.parametrize(("layer_type", "target"), CASES)
def test_a_convolutional_network_compiles_to_proven_and_simulated_hardware(
    layer_type: str, target: str, tmp_path: Path
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
