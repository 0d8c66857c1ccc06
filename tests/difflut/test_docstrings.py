"""Docstrings keep up with the code: what they list exists, and what a user can pass, save or run into is listed."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

import difflut
from difflut.registry import REGISTRY

SECTION = r"{}\n-+\n(.*?)(?:\n\n|\Z)"
ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*) :", re.MULTILINE)
NODES = [REGISTRY.get_node(name) for name in REGISTRY.list_nodes()]
BLOCKS: list[type] = [
    *NODES,
    *(REGISTRY.get_layer(name) for name in REGISTRY.list_layers()),
    *(REGISTRY.get_convolutional_layer(name) for name in REGISTRY.list_convolutional_layers()),
    *(REGISTRY.get_encoder(name) for name in REGISTRY.list_encoders()),
]
FUNCTIONS: list[Callable[..., Any]] = [
    *(REGISTRY.get_initializer(name) for name in REGISTRY.list_initializers()),
    *(REGISTRY.get_regularizer(name) for name in REGISTRY.list_regularizers()),
]


@dataclass(frozen=True)
class Documented:
    """A public class, function or method, and the class whose docstring also speaks for it."""

    name: str
    thing: Any
    owner: type | None

    @property
    def text(self) -> str:
        """Its docstring, or the one it inherits."""
        own = inspect.getdoc(self.thing)
        if own is None and self.owner is not None:
            own = inspect.getdoc(getattr(self.owner, self.thing.__name__))
        return own or ""

    @property
    def texts(self) -> str:
        """Its docstring and those of its class and the classes above."""
        classes = inspect.getmro(self.owner or (self.thing if isinstance(self.thing, type) else object))
        return "\n\n".join([self.text, *(each.__doc__ or "" for each in classes)])

    def __str__(self) -> str:
        return self.name


def find_public() -> Iterator[Documented]:
    """Go through everything of the library whose name does not begin with an underscore."""
    for found in pkgutil.walk_packages(difflut.__path__, "difflut."):
        if "._" in found.name:
            continue
        module = import_module(found.name)
        for name, thing in vars(module).items():
            is_ours = getattr(thing, "__module__", None) == module.__name__ and not name.startswith("_")
            if is_ours and (inspect.isclass(thing) or inspect.isfunction(thing)):
                yield Documented(f"{module.__name__}.{name}", thing, None)
            if is_ours and inspect.isclass(thing):
                yield from find_methods(thing)


def find_methods(owner: type) -> Iterator[Documented]:
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__ == owner.__module__:
            yield Documented(f"{owner.__module__}.{owner.__qualname__}.{name}", function, owner)


PUBLIC = list(find_public())


def listed_names(text: str, section: str) -> set[str]:
    """The names that a section of a docstring has entries for."""
    found = re.search(SECTION.format(section), inspect.cleandoc(text), re.DOTALL)
    entries = ENTRY.finditer(found[1]) if found else ()
    return {name for entry in entries for name in entry["names"].split(", ")}


def parameters_of(thing: Any) -> set[str]:
    ignored = {"self", "cls", "unknown"}  # `unknown` catches what is refused
    return set(inspect.signature(thing).parameters) - ignored


def test_everything_public_says_what_it_is() -> None:
    assert len(PUBLIC) > 200
    assert [each.name for each in PUBLIC if not each.text] == []


def test_documented_parameters_exist() -> None:
    stale = []
    for each in PUBLIC:
        known = set(getattr(each.thing, "__annotations__", {}))
        if inspect.isfunction(each.thing) or "__init__" in vars(each.thing):
            known |= parameters_of(each.thing)
        stale += [f"{each}: {name}" for name in listed_names(each.text, "Parameters") - known]
    assert stale == []


@pytest.mark.parametrize("block", BLOCKS)
def test_every_argument_of_a_building_block_is_documented(block: type) -> None:
    """By the class itself or, for what it shares with others, by a class above."""
    documented = set().union(*(listed_names(each.__doc__ or "", "Parameters") for each in block.__mro__))
    assert parameters_of(block) - documented == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_argument_of_an_initialiser_or_regulariser_is_documented(function: Callable[..., Any]) -> None:
    """By its name in the docstring, or in that of a function to which the docstring refers."""
    text = function.__doc__ or ""
    module = inspect.getmodule(function)
    referred = [getattr(module, name, None) for name in re.findall(r"`(\w+)`", text)]
    text += "".join(each.__doc__ or "" for each in referred if each is not None)
    given_by_the_library = {"param", "param_name", "fan_in", "fan_out", "node"}
    arguments = parameters_of(function) - given_by_the_library
    assert [name for name in arguments if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("node", NODES)
def test_nodes_document_what_they_save_and_their_table(node: type) -> None:
    """A reader of a checkpoint finds every name, and one of the compiler's results the rule of the table."""
    text = node.__doc__ or ""
    state = {name.partition(".")[0] for name in node(input_dim=2, output_dim=1).state_dict()}
    assert [name for name in state if f"``{name}" not in text] == []
    assert re.search(r"\bTable: ", text)


def raised_errors(thing: Any) -> set[str]:
    """The errors that the code itself raises, by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    raises = [each.exc for each in ast.walk(tree) if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call)]
    return {ast.unparse(each.func) for each in raises}


def test_raised_errors_are_documented() -> None:
    functions = [each for each in PUBLIC if inspect.isfunction(each.thing)]
    missing = [f"{each}: {name}" for each in functions for name in raised_errors(each.thing) if name not in each.texts]
    assert missing == []
