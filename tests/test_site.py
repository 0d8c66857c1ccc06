"""The documentation site: it builds without a warning, has every page, and loads nothing from other machines."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
API_PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(?P<src>[^\"]+)\"|<link\b[^>]*\bhref=\"(?P<href>[^\"]+)\""
)
DIRECTIVE = re.compile(r"^::: (?P<module>[\w.]+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site; warnings are errors."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def pages_of(site: Path) -> list[Path]:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    return pages


def test_every_document_is_a_page_that_the_navigation_names(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    for document in (ROOT / "docs").rglob("*.md"):
        path = document.relative_to(ROOT / "docs").with_suffix(".html")
        path = path.with_name("index.html") if path.stem == "README" else path
        assert (site / path).is_file()
        assert f'href="{path.as_posix()}"' in front, f"{path} is not in the navigation of mkdocs.yml"


def test_pages_load_nothing_from_other_machines(site: Path) -> None:
    loaded = {
        (page.name, address)
        for page in pages_of(site)
        for found in LOADED.finditer(page.read_text(encoding="utf-8"))
        if "//" in (address := found["src"] or found["href"])
    }
    assert loaded == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", styles) == []
    assert not any('class="mermaid"' in page.read_text(encoding="utf-8") for page in pages_of(site))


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    """Also those that the hook has turned, and to headings."""
    broken = []
    for page in pages_of(site):
        for link in re.findall(r"<a\b[^>]*\bhref=\"([^\"]+)\"", page.read_text(encoding="utf-8")):
            target, _, heading = link.partition("#")
            if "://" in target or target.startswith(("mailto:", "/")):
                continue
            other = (page.parent / target).resolve() if target else page
            if not other.is_file() or (heading and f'id="{heading}"' not in other.read_text(encoding="utf-8")):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_descriptions_of_arguments_are_not_taken_for_types(site: Path) -> None:
    """The text of a docstring's list, markup included, stands behind the name."""
    text = (site / "api" / "difflut.html").read_text(encoding="utf-8")
    flat = " ".join(re.sub(r"<[^>]+>", "", text).split())
    assert "sample_shape (tuple[int, ...], default: () ) – what the features of a sample are in order" in flat
    assert "Returns: tuple[Tensor, Tensor] – int64 indices of the first and of the second part" in flat


@pytest.mark.parametrize("document", API_PAGES, ids=lambda path: path.stem)
def test_public_names_are_on_the_pages_about_their_modules(document: Path, site: Path) -> None:
    text = (site / "api" / document.with_suffix(".html").name).read_text(encoding="utf-8")
    modules = DIRECTIVE.findall(document.read_text(encoding="utf-8"))
    assert modules
    for module in modules:
        names = getattr(import_module(module), "__all__", [])
        assert [name for name in names if not re.search(rf'id="{module}\.([\w.]+\.)?{name}"', text)] == []
