"""Extension of Griffe: reads the lists in our docstrings.

Our docstrings have ``name : description`` where NumPy's have ``name : type`` and the description below, because types
are in the annotations. ``Returns`` is followed by a sentence.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

SECTION = re.compile(
    r"^(?P<title>Parameters|Attributes|Returns|Raises)\n-+\n(?P<body>.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL
)
ENTRY = re.compile(r"^(?P<names>\w[\w., ]*?) : ", re.MULTILINE)


def convert_sections(text: str) -> str:
    """The docstring with every list in NumPy's form."""

    def convert(section: re.Match[str]) -> str:
        title, body = section["title"], section["body"]
        if title == "Returns":
            body = f":\n{textwrap.indent(body, '    ')}"
        else:
            body = ENTRY.sub(lambda entry: f"{entry['names']}\n    ", body)
        return f"{title}\n{'-' * len(title)}\n{body}"

    return SECTION.sub(convert, text)


class OurDocstrings(griffe.Extension):
    """Converts every docstring of a package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        _convert_below(pkg)


def _convert_below(thing: griffe.Object) -> None:
    if thing.docstring is not None:
        thing.docstring.value = convert_sections(thing.docstring.value)
    for member in thing.members.values():
        if isinstance(member, griffe.Object):
            _convert_below(member)
