"""Fenced code blocks and links of Markdown files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^ *```(?P<language>\w*)\s*$")
RUN_MARK = "<!-- run -->"
NOT_RUN_MARK = re.compile(r"<!-- not run: (?P<reason>.+) -->")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<title>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Parameters
    ----------
    number : counted from 1.
    line : of its opening fence, from 1.
    language : what stands behind the fence; empty if nothing does.
    text : what is inside, without common indentation.
    run : whether the line above is the comment that asks tests to run its commands.
    not_run : why not, if the line above is a comment that says so.
    """

    number: int
    line: int
    language: str
    text: str
    run: bool
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.number}, line {self.line}"


def read_blocks(path: Path) -> list[Block]:
    """Return all fenced blocks of a file, in order.

    A fence with a language always opens a block, even if the one before it was never closed.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks: list[Block] = []
    opening: int | None = None
    for index, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence is None:
            continue
        if opening is not None:
            blocks.append(_cut_block(lines, opening, index, len(blocks) + 1))
        opening = index if opening is None or fence["language"] else None
    if opening is not None:
        blocks.append(_cut_block(lines, opening, len(lines), len(blocks) + 1))
    return blocks


def _cut_block(lines: list[str], opening: int, end: int, number: int) -> Block:
    fence = FENCE.match(lines[opening])
    assert fence is not None
    text = textwrap.dedent("\n".join([*lines[opening + 1 : end], ""]))
    above = lines[opening - 1].strip() if opening else ""
    reason = NOT_RUN_MARK.fullmatch(above)
    return Block(number, opening + 1, fence["language"], text, above == RUN_MARK, reason["reason"] if reason else None)


def find_broken_links(path: Path) -> Iterator[str]:
    """Yield the links of a file that name a file or a heading which is not there; web addresses are not tried."""
    for link in LINK.finditer(path.read_text(encoding="utf-8")):
        target, _, heading = link["target"].partition("#")
        if "://" in target:
            continue
        page = path.parent / target if target else path
        if not page.exists() or (heading and heading not in _anchors(page)):
            yield link["target"]


def _anchors(page: Path) -> set[str]:
    """The names by which a web view of the page links to its headings."""
    titles = [found["title"].lower() for found in HEADING.finditer(page.read_text(encoding="utf-8"))]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
