"""README and docs are true: their code runs, their commands exist with those options, their links lead somewhere.

All blocks of Python run, and the commands of blocks with the comment `<!-- run -->` on the line above; other blocks of
commands say why not, in a comment `<!-- not run: ... -->`. A block of YAML or Python whose first line is a comment with
a file's name is that file.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from difflut.registry import REGISTRY
from difflut_compiler import driver
from difflut_compiler.cli import app
from difflut_compiler.targets import TARGETS
from difflut_compiler.targets.templates import environment
from difflut_compiler.verify.languages import LANGUAGES
from tests.documents.session import registry_restored
from tests.markdown import Block, find_broken_links, read_blocks

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("[a-z]*/README.md"))]
PAGES += [page for folder in ("docs", "difflut") for page in sorted((ROOT / folder).rglob("*.md"))]
FILE_NAME = re.compile(r"# (?P<name>[\w.]+\.(?:ya?ml|py))\n")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def command_lines_of(block: Block) -> list[str]:
    """The command lines of a block: in a console those behind a `$`, in bash all."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


PYTHON_PROGRAMS = {"python": [], "torchrun": ["-m", "torch.distributed.run"]}
SHELLS = {"console", "bash"}
COMMANDS = [
    pytest.param(command, id=f"{name_of(page)}-{block.line}-{command}")
    for page in PAGES
    for block in read_blocks(page)
    if block.language in SHELLS
    for command in command_lines_of(block)
]


@pytest.fixture(autouse=True)
def targets_restored() -> Iterator[None]:
    """Targets that a page registers are gone after it."""
    targets, languages = dict(TARGETS), dict(LANGUAGES)
    yield
    for table, before in ((TARGETS, targets), (LANGUAGES, languages)):
        for name in table.keys() - before.keys():
            del table[name]
    environment.cache_clear()


def is_executed(block: Block) -> bool:
    return block.language == "python" or block.run


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(is_executed, read_blocks(page)))], ids=name_of)
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a page runs from top to bottom, as a reader would type it."""
    monkeypatch.setattr(driver, "LUTS_COUNTED_BY_DEFAULT", 0)  # takes longer than the rest, and has its own tests
    names: dict[str, object] = {"__name__": "__main__"}
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with contextlib.chdir(tmp_path), registry_restored():
        for block in read_blocks(page):
            file = FILE_NAME.match(block.text)
            if file and block.language in {"yaml", "python"}:
                Path(file["name"]).write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                code = compile("\n" * block.line + block.text, str(page), "exec")
                exec(code, names)  # noqa: S102 - our own pages
            elif block.run:
                for command in command_lines_of(block):
                    run_command(command)


def run_command(line: str) -> None:
    """Run a command, which must succeed: ours in this process, those of Python in one of their own."""
    program, *words = shlex.split(line, comments=True)
    if program in PYTHON_PROGRAMS:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *PYTHON_PROGRAMS[program], *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return
    if program.startswith("difflut-"):  # difflut-train is `difflut train`
        words = [program.removeprefix("difflut-"), *words]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_run_or_say_why_not(page: Path) -> None:
    """Write `<!-- run -->` or `<!-- not run: reason -->` right above a block of commands."""
    blocks = [block for block in read_blocks(page) if block.language in SHELLS]
    assert [str(block) for block in blocks if not block.run and block.not_run is None] == []


@pytest.mark.parametrize("line", COMMANDS)
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
    group = cast(TyperGroup, typer.main.get_command(app))
    command: TyperCommand | TyperGroup = group
    if not words[0].startswith("-"):
        program, words = f"{program} {words[0]}", words[1:]
        assert program.split()[1] in group.commands, f"there is no command {program}"
        command = cast(TyperCommand, group.commands[program.split()[1]])
    known = {"--help"}
    for parameter in command.params:
        known.update(parameter.opts, parameter.secondary_opts)
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known, f"{program} has no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the repository, and a heading that is in it."""
    assert list(find_broken_links(page)) == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("components/encoders.md", REGISTRY.list_encoders()),
        ("components/layers.md", REGISTRY.list_layers()),
        ("components/nodes.md", REGISTRY.list_nodes()),
        ("components.md", [*REGISTRY.list_initializers(), *REGISTRY.list_regularizers()]),
    ],
)
def test_components_guide_has_every_name(page: str, names: list[str]) -> None:
    """Every component that can be asked for by name is on its page."""
    text = (ROOT / "docs" / "USER_GUIDE" / page).read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_page_is_reached_from_the_readme() -> None:
    """A reader who follows links from the README finds every page of the docs."""
    reached, waiting = set[Path](), [README]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
            waiting += [(page.parent / target).resolve() for target in targets if "://" not in target]
    meant = {page for page in PAGES if "decisions" not in page.parts}
    assert {name_of(page) for page in meant} - {name_of(page) for page in reached} == set()
