"""Work that Ctrl-C and SIGTERM must not cut short: writing files, starting threads."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptions_postponed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block, or the function, is at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    waiting: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: waiting.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
