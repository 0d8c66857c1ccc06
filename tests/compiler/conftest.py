"""Settings of the compiler's tests."""

import pytest
from hypothesis import settings

from difflut_compiler import progress

settings.register_profile("difflut", deadline=None)  # a busy machine must not fail a test
settings.load_profile("difflut")


@pytest.fixture(autouse=True)
def no_progress_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of messages must not depend on how long a command took."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", 1e9)
