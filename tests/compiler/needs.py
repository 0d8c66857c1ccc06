"""Tools that a test needs: without one the test is skipped, which counts as a failure where CI is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from difflut_compiler.tools import INSTALL_HINTS, find_tool


def need(tool: str) -> Path:
    """The tool's executable; a missing one skips the test."""
    found = find_tool(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed: {INSTALL_HINTS[tool]}")
    return found


def need_for_target(target: str) -> None:
    """What it takes to read a target's files back."""
    if target == "vhdl":
        need("ghdl")
