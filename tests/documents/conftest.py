"""The session of the document that a test module is about."""

from __future__ import annotations

import pytest

from tests.documents.session import Outcome


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    """What each executed block of the module's ``DOCUMENT`` left behind."""
    outcomes: dict[int, Outcome] = request.module.DOCUMENT.read(tmp_path_factory.mktemp("reader"))
    return outcomes
