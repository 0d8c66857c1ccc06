"""Tools that a test needs: without one the test is skipped, but where CI is set it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from difflut_compiler.verify.tools import INSTALL_HINTS, find_tool


def need(tool: str) -> Path:
    """The tool's executable; a missing one skips the test, or fails it where everything must be there (CI)."""
    found = find_tool(tool)
    if found is not None:
        return found
    message = f"{tool} is not installed: {INSTALL_HINTS[tool]}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{message}; with CI set, no test may be skipped for it")
    pytest.skip(message)


def need_for_target(target: str) -> None:
    """What it takes to read a target's files back."""
    if target == "vhdl":
        need("ghdl")
