"""The quick start as a newcomer walks it: its installation into a new environment, then every block in a shell.

`tests/test_docs.py` runs the same blocks inside of the tests; here the commands are those that the page installs.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.markdown import Block, read_blocks

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "QUICK_START.md"


def install_lines(block: Block) -> list[str]:
    """The commands of the block about installation that need neither root nor an environment that is active."""
    return [line for line in block.text.splitlines() if line.startswith("pip ")]


@pytest.mark.slow
def test_the_quick_start_from_installation_to_proven_vhdl(tmp_path: Path) -> None:
    venv, work = tmp_path / "venv", tmp_path / "work"
    work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    # What DiffLUT needs is there already, so that pip only installs DiffLUT; DiffLUT itself must come from the new one.
    (packages / "installed_already.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environment = {**kept, "PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "PIP_NO_BUILD_ISOLATION": "0"}

    def shell(script: str, folder: Path, entered: str | None = None) -> str:
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=folder,
            env=environment,
            input=entered,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    python: list[str] = []
    for block in read_blocks(PAGE):
        if block.language == "bash":
            for line in install_lines(block):
                shell(f"{line} --quiet --no-index --force-reinstall --no-deps", ROOT)
            assert shell("command -v difflut", work).strip() == str(venv / "bin" / "difflut")
        elif block.language == "yaml":
            (work / block.text.split("\n")[0].removeprefix("# ")).write_text(block.text)
        elif block.run:
            for line in block.text.splitlines():
                shell(line.removeprefix("$ "), work)
        elif block.language == "python":
            python.append(block.text)
            shell("python -", work, "\n".join(python))
    assert list((work / "build" / "wine_vhdl" / "rtl").glob("*.vhd"))
