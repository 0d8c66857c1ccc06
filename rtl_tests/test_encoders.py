"""Whole compiles of every encoder in every language: each rung of the evidence is passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from difflut import REGISTRY, save_model
from difflut_compiler.driver import CompileRequest, compile_model
from tests.compiler.designs import HDL_TARGETS
from tests.compiler.models import make_model
from tests.compiler.needs import need

SIMULATOR_OF = {"verilog": "iverilog", "systemverilog": "iverilog", "vhdl": "ghdl"}
QUICK = [("gray", "verilog"), ("sign_magnitude", "vhdl")]
CASES = [
    pytest.param(encoder, target, marks=() if (encoder, target) in QUICK else pytest.mark.slow)
    for encoder in REGISTRY.list_encoders()
    for target in HDL_TARGETS
]


@pytest.mark.parametrize(("encoder", "target"), CASES)
def test_every_encoder_compiles_to_proven_and_simulated_hardware(encoder: str, target: str, tmp_path: Path) -> None:
    need(SIMULATOR_OF[target])
    need("cocotb")
    fields = {"bits": 5, "signed": True, "scale": 0.5}
    config = {"name": encoder, "num_bits": 4}
    model = make_model(features=3, encoder_config=config, layer_widths=[10, 9], input_format=fields)
    save_model(model, tmp_path / "model.pth")
    result = compile_model(CompileRequest(tmp_path / "model.pth", target, "network", count_luts=False))
    assert {rung.id: rung.status for rung in result.certificate.rungs} == dict.fromkeys(range(1, 6), "passed")
