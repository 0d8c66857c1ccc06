"""Where CI is set, a skipped test is a failed one, however it is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

@pytest.fixture
def tool():
    pytest.skip("the tool is missing")

def test_skipped(): pytest.skip("it is missing")
def test_without_its_tool(tool): pass
@pytest.mark.skipif(True, reason="never")
def test_marked(): pass
@pytest.mark.xfail
def test_expected_to_fail(): raise ValueError
def test_run(): pass
"""
ABSENT = "import pytest; pytest.importorskip('there_is_no_such_module')"


@pytest.mark.parametrize(
    ("ci", "code", "summary"),
    [("", 0, "1 passed, 4 skipped, 1 xfailed"), ("true", 1, "1 failed, 1 passed, 1 xfailed, 3 errors")],
)
def test_nothing_may_be_skipped_in_ci(ci: str, code: int, summary: str, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "test_absent.py").write_text(ABSENT)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert summary in done.stdout
    assert ("no test may be skipped" in done.stdout) == bool(ci)
