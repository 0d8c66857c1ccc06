"""A reader's session with a document: its code blocks, from top to bottom, in one namespace."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import re
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from difflut.registry import REGISTRY
from tests.markdown import Block, read_blocks

TEXTS = Path(__file__).parent / "texts"
Names = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """Python that is executed as it stands.

    Parameters
    ----------
    given : called with the namespace before the block, to add what the text leaves to its reader, such as a data set.
    warns : patterns of the warnings that the block gives, in this order; any other warning is an error.
    """

    given: Callable[[Names], object] | None = None
    warns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corrected:
    """Python that nobody could run as it stands; it is executed with corrections.

    Parameters
    ----------
    reason : what is wrong with it.
    replace : corrections, each a text that occurs once in the block and what stands there instead.
    instead : the whole block, instead of `replace`.
    fails_in_use : whether it is Python, and what it defines fails or does not do what the text says.
    given, warns : as in `Run`.
    """

    reason: str
    replace: tuple[tuple[str, str], ...] = ()
    instead: str | None = None
    fails_in_use: bool = False
    given: Callable[[Names], object] | None = None
    warns: tuple[str, ...] = ()

    def correct(self, text: str) -> str:
        if self.instead is not None:
            return self.instead
        for wrong, right in self.replace:
            assert text.count(wrong) == 1, f"{wrong!r} occurs {text.count(wrong)} times"
            text = text.replace(wrong, right)
        return text


@dataclass(frozen=True)
class Outline:
    """Heads of functions and classes of the library. They are compared with it; executed, they would hide it.

    Parameters
    ----------
    of : module of the library that has what is outlined.
    replace : regular expressions and what to put in their place, to make the outline Python.
    """

    of: str
    replace: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Replaced:
    """Python that shows an old way, next to the block `by` with the new one; what it names is not in the library."""

    by: int


@dataclass(frozen=True)
class Saved:
    """A file that the reader saves under these names."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Shell:
    """Commands; `run` is the one that tests execute, in the root of the repository."""

    run: str


@dataclass(frozen=True)
class NotCode:
    """Something to look at: an output, a tree of files, a diagram."""

    what: str


Treatment = Run | Corrected | Outline | Replaced | Saved | Shell | NotCode


@dataclass
class Outcome:
    """What a block left behind.

    Parameters
    ----------
    names : the namespace after the block.
    assigned : every value that its statements at the outermost level gave to a name, in order.
    printed : its standard output.
    warned : its warnings.
    error : what it failed with.
    """

    names: Names = field(default_factory=dict)
    assigned: dict[str, list[Any]] = field(default_factory=dict)
    printed: str = ""
    warned: list[str] = field(default_factory=list)
    error: Exception | None = None

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


@dataclass(frozen=True)
class Document:
    """A document, and what becomes of each of its blocks, by number."""

    name: str
    plan: Mapping[int, Treatment]

    @property
    def blocks(self) -> dict[int, Block]:
        return {block.number: block for block in read_blocks(TEXTS / self.name)}

    def numbers(self, kind: type[Treatment] | tuple[type[Treatment], ...]) -> list[int]:
        """Return the numbers of the blocks that are treated so."""
        return [number for number, treatment in self.plan.items() if isinstance(treatment, kind)]

    def check_run(self, number: int, outcome: Outcome) -> None:
        """A block ran, and warned of what it should and of nothing else."""
        treatment = self.plan[number]
        assert isinstance(treatment, Run | Corrected)
        if outcome.error is not None:
            raise outcome.error
        assert len(outcome.warned) == len(treatment.warns), outcome.warned
        for message, pattern in zip(outcome.warned, treatment.warns, strict=True):
            assert re.search(pattern, message), message

    def check_outline(self, number: int) -> None:
        """Whatever the outline has, the library has: names, parameters in this order, defaults, base classes."""
        outline = self.plan[number]
        assert isinstance(outline, Outline)
        text = self.blocks[number].text
        for pattern, right in outline.replace:
            text, count = re.subn(pattern, right, text, flags=re.MULTILINE)
            assert count, f"{pattern!r} does not occur"
        library = import_module(outline.of)
        names = {**vars(typing), **vars(dataclasses), "torch": torch, "nn": nn, **vars(library)}
        outcome = execute(text, names, f"{self.name}, block {number}")
        if outcome.error is not None:
            raise outcome.error
        outlined = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert outlined
        for name in outlined:
            compare_outline(outcome[name], getattr(library, name))

    def read(self, folder: Path) -> dict[int, Outcome]:
        """Go through the document in a folder of its own and return what each executed block left behind.

        A block that fails does not end the session, so that each failure can be told.
        """
        names: Names = {"__name__": "__main__"}
        outcomes: dict[int, Outcome] = {}
        with contextlib.chdir(folder), torch.random.fork_rng(devices=[]), registry_restored():
            torch.manual_seed(0)
            for number, block in self.blocks.items():
                treatment = self.plan[number]
                if isinstance(treatment, Saved):
                    for name in treatment.names:
                        Path(name).write_text(block.text, encoding="utf-8")
                if isinstance(treatment, Run | Corrected):
                    text = treatment.correct(block.text) if isinstance(treatment, Corrected) else block.text
                    if treatment.given is not None:
                        treatment.given(names)
                    outcomes[number] = execute(text, names, f"{self.name}, block {block}")
        return outcomes


def execute(text: str, names: Names, where: str) -> Outcome:
    """Execute statement by statement, remembering what is assigned."""
    outcome = Outcome()
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for statement in ast.parse(text, where).body:
                exec(compile(ast.Module([statement], []), where, "exec"), names)  # noqa: S102 - a text in this folder
                for name in _targets(statement):
                    outcome.assigned.setdefault(name, []).append(names[name])
        except Exception as error:  # noqa: BLE001 - whatever it is, the test of this block raises it
            outcome.error = error
    outcome.names = dict(names)
    outcome.printed = printed.getvalue()
    outcome.warned = [str(warning.message) for warning in caught]
    return outcome


def compare_outline(outlined: Any, real: Any) -> None:
    """Compare a function or class that stands in a text with the real one."""
    if not isinstance(outlined, type):
        compare_signatures(outlined, real)
        return
    assert {base.__name__ for base in outlined.__mro__} <= {base.__name__ for base in real.__mro__}
    if dataclasses.is_dataclass(outlined):
        compare_signatures(outlined.__init__, real.__init__)
        return
    for name, method in vars(outlined).items():
        if inspect.isfunction(method):
            compare_signatures(method, getattr(real, name))


def compare_signatures(outlined: Callable[..., Any], real: Callable[..., Any]) -> None:
    """The real function takes the parameters in this order with these defaults, and perhaps more behind them.

    It may have defaults where the outline has none.
    """
    expected = list(inspect.signature(outlined).parameters.values())
    actual = list(inspect.signature(real).parameters.values())
    if expected and expected[-1].kind is inspect.Parameter.VAR_KEYWORD:
        expected.pop()  # the text leaves open which
    assert [parameter.name for parameter in actual[: len(expected)]] == [parameter.name for parameter in expected]
    for parameter, promised in zip(actual, expected, strict=False):
        if promised.default is not promised.empty:
            assert repr(parameter.default) == repr(promised.default), parameter


def _targets(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id


@contextlib.contextmanager
def registry_restored() -> Iterator[None]:
    """Take out again what is registered meanwhile: other tests go through everything that is registered."""
    categories = [getattr(REGISTRY, name).__self__ for name in vars(REGISTRY) if name.startswith("list_")]
    for category in categories:
        category.names()  # the built-in blocks are registered when they are first asked for
    before = [dict(category._entries) for category in categories]
    try:
        yield
    finally:
        for category, entries in zip(categories, before, strict=True):
            category._entries.clear()
            category._entries.update(entries)
