"""No document and no code block of one is forgotten."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.documents.session import TEXTS, Corrected, Document, NotCode, Outline, Replaced, Run, Saved, Shell

NAMES = sorted(path.name for path in TEXTS.glob("*.md"))
TREATMENTS: dict[str, tuple[type, ...]] = {
    "python": (Run, Corrected, Outline, Replaced),
    "elixir": (Corrected,),
    "yaml": (Saved,),
    "bash": (Shell,),
    "": (NotCode,),
}


def document_of(name: str) -> Document:
    """The document as the test module of its name treats it."""
    document: Document = import_module(f"tests.documents.test_{name.removesuffix('.md')}").DOCUMENT
    assert document.name == name
    return document


@pytest.mark.parametrize("name", NAMES)
def test_every_block_has_one_treatment_and_code_is_used(name: str) -> None:
    document = document_of(name)
    blocks = document.blocks
    assert list(document.plan) == list(blocks)
    for number, treatment in document.plan.items():
        assert isinstance(treatment, TREATMENTS[blocks[number].language]), f"{name}, block {blocks[number]}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_corrected_needed_it(name: str) -> None:
    """Such a block is not Python; for one that only fails when it is used, its document's own tests show that."""
    document = document_of(name)
    for number in document.numbers(Corrected):
        treatment = document.plan[number]
        assert isinstance(treatment, Corrected)
        if not treatment.fails_in_use:
            with pytest.raises(SyntaxError):
                compile(document.blocks[number].text, name, "exec")
