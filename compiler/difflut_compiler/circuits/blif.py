"""A combinational circuit as BLIF text, the format that ABC and Yosys read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Circuit:
    """A combinational circuit: its input and output names and the BLIF lines in between."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    lines: Iterable[str]


def write_blif(circuit: Circuit, path: Path) -> None:
    with path.open("w") as stream:
        stream.write(".model circuit\n")
        stream.writelines(_declare(".inputs", circuit.inputs))
        stream.writelines(_declare(".outputs", circuit.outputs))
        for line in circuit.lines:
            stream.write(line + "\n")
        stream.write(".end\n")


def _declare(keyword: str, names: Sequence[str], per_line: int = 32) -> Iterable[str]:
    for start in range(0, len(names), per_line):
        yield f"{keyword} {' '.join(names[start : start + per_line])}\n"
