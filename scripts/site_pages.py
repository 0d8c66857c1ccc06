"""Hook of MkDocs: pages that live outside of docs/ are in the site, links to other files work, and records are listed.

In the repository every link is relative to the file that it stands in, so that pages read well where they are. The site
has two sorts of targets: the pages in docs/, and those of ``OUTSIDE``, which stand under their path in the repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
RECORDS = "decisions/"
OUTSIDE = (
    "CONTRIBUTING.md",
    "changelog.d/README.md",
    "difflut/models/MODEL_USAGE_GUIDE.md",
    "difflut/models/pretrained/README.md",
    "examples/README.md",
)
HOME = {"README.md": "docs/index.md"}
"""On the site the tour stands for the README."""
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<heading>#[^)\s]*)?\)")
ROLE = re.compile(r":(?:class|func|meth|mod|attr):<code>~?")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision record into the navigation, below the page about them."""
    records = sorted(path.name for path in (ROOT / DOCS / RECORDS).glob("[0-9]*.md"))
    _find_records(config.nav).extend(RECORDS + name for name in records)
    return config


def _find_records(entries: Any) -> list[Any]:
    """The list of the navigation whose first page is the one about records."""
    if isinstance(entries, list) and entries[:1] == [RECORDS + "README.md"]:
        return entries
    below = entries if isinstance(entries, list) else entries.values() if isinstance(entries, dict) else []
    return next((found for entry in below if (found := _find_records(entry))), [])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of OUTSIDE."""
    for path in OUTSIDE:
        files.append(File.generated(config, path, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links that are relative in the repository into links that are relative in the site."""
    here = page.file.src_uri if page.file.src_uri in OUTSIDE else DOCS + page.file.src_uri

    def turn(link: re.Match[str]) -> str:
        target = os.path.normpath(PurePosixPath(here).parent / link["target"])
        heading = "" if target in HOME else link["heading"] or ""
        target = HOME.get(target, target)
        if not target.startswith(DOCS) and target not in OUTSIDE:
            return link["text"] if (ROOT / target).exists() else link[0]  # a file that is no page
        own = os.path.relpath(target.removeprefix(DOCS), PurePosixPath(page.file.src_uri).parent)
        return f"[{link['text']}]({own}{heading})"

    return LINK.sub(turn, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings say :class:`Name` here and there; the site shows the name."""
    return ROLE.sub("<code>", html)
