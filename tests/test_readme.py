"""The README is true: its Python runs, its commands exist with those options, its links lead somewhere.

A block of commands marked with the comment `<!-- run -->` on the line above it is executed, too.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import typer
from typer.core import TyperGroup

from difflut_compiler.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BIN = Path(sys.executable).parent

FENCE = re.compile(r"^(?P<mark><!-- run -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of the README."""

    line: int
    language: str
    text: str
    run: bool

    @property
    def commands(self) -> list[str]:
        """The command lines: in a console block those behind a `$`, in a bash block all."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks() -> Iterator[Block]:
    """All fenced blocks, in order."""
    text = README.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(line, found["language"], found["text"], found["mark"] is not None)


def command_lines(*, run: bool | None = None) -> list[object]:
    """Every command line of the README, as a pytest parameter named after its line."""
    return [
        pytest.param(command, id=f"README-{block.line}-{command}")
        for block in blocks()
        if block.language in {"console", "bash"} and run in {None, block.run}
        for command in block.commands
    ]


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks run one after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks():
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(README), "exec")
            exec(code, namespace)  # noqa: S102 - our own README


@pytest.mark.parametrize("line", command_lines())
def test_commands_exist(line: str) -> None:
    """A command of ours is there and has these options; a make target is in the Makefile."""
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in words:
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make has no target {target}"
    elif program.startswith("difflut"):
        check_options(program, words)


def check_options(program: str, words: list[str]) -> None:
    """Follow the words to a command and look its options up."""
    if program.startswith("difflut-"):  # difflut-train is `difflut train`
        words = [program.removeprefix("difflut-"), *words]
    (name, *words) = words
    commands = cast(TyperGroup, typer.main.get_command(app)).commands
    assert name in commands, f"difflut has no command {name}"
    known = {"--help"}
    for parameter in commands[name].params:
        known.update(parameter.opts, parameter.secondary_opts)
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"difflut {name} has no option {word}"


@pytest.mark.parametrize("line", command_lines(run=True))
def test_marked_commands_run(line: str, tmp_path: Path) -> None:
    """The commands of blocks marked `<!-- run -->` succeed."""
    program, *words = shlex.split(line, comments=True)
    done = subprocess.run([BIN / program, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_lead_somewhere() -> None:
    """Every relative link of the README names a file of the repository."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / target).exists(), f"README links to {target}, which is not there"
