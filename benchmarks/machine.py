"""What the figures of a benchmark depend on, and where they go."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Return the processor, the number of cores and the operating system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or not a PC
        processor = platform.processor()
    return {"processor": processor, "cores": os.cpu_count(), "system": platform.platform()}


def hand_out(report: dict[str, Any], output: Path | None) -> None:
    """Print a report as JSON, and write it to a file if there is one."""
    text = json.dumps(report, indent=2) + "\n"
    print(text, end="")
    if output:
        output.write_text(text, encoding="utf-8")
