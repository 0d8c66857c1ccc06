"""Settings of the compiler's tests."""

from hypothesis import settings

settings.register_profile("difflut", deadline=None)  # a busy machine must not fail a test
settings.load_profile("difflut")
