"""Combinational equivalence by ABC: two BLIF circuits with the same inputs and outputs, for every input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from difflut_compiler.errors import CompilerError, MismatchError, NotCheckedError
from difflut_compiler.verify.tools import run_abc

TIME_LIMIT_SECONDS = 3600
CONFLICT_LIMIT = 1_000_000_000


@dataclass(frozen=True)
class Circuit:
    """A combinational circuit: its input and output names and the BLIF lines in between."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    lines: Iterable[str]


@dataclass(frozen=True)
class Verdict:
    """Whether two circuits are equivalent; if not, what ABC says about the first difference."""

    equivalent: bool
    message: str


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


def check_equivalence(golden: Circuit, revised: Circuit, folder: Path) -> Verdict:
    """Prove that both circuits compute the same outputs; ``folder`` keeps the files and ABC's log.

    The circuits go to ``&cec`` as AIGER files, which match inputs and outputs by their order: the same in both.
    """
    if list(golden.inputs) != list(revised.inputs) or list(golden.outputs) != list(revised.outputs):
        raise CompilerError("circuits with different inputs or outputs cannot be compared")
    write_blif(golden, folder / "golden.blif")
    write_blif(revised, folder / "revised.blif")
    return _compare(golden.outputs, "read_blif revised.blif", folder)


def check_read_back(golden: Circuit, read_commands: str, folder: Path) -> Verdict:
    """Prove that what ABC reads by ``read_commands`` computes the outputs of ``golden``, ports matched by order."""
    write_blif(golden, folder / "golden.blif")
    return _compare(golden.outputs, read_commands, folder)


def _compare(outputs: Sequence[str], read_revised: str, folder: Path) -> Verdict:
    """Compare ``golden.blif``, which has ``outputs``, with what the ABC commands ``read_revised`` load."""
    to_aig = f"read_blif golden.blif; strash; write_aiger golden.aig; {read_revised}; strash; write_aiger revised.aig"
    log = run_abc(f"{to_aig}; &cec -C {CONFLICT_LIMIT} -T {TIME_LIMIT_SECONDS} golden.aig revised.aig", folder)
    if "non-driven" in log:  # ABC takes such nets for 0
        raise MismatchError("a circuit under comparison reads a net that nothing drives")
    if re.search(r"^Networks are equivalent", log, re.MULTILINE):
        return Verdict(True, "equivalent")
    if "NOT EQUIVALENT" in log:
        found = re.search(r"zero-based number (\d+)|Output (\d+) trivially differs", log)
        return Verdict(False, f"{outputs[int(found[1] or found[2])]} differs" if found else "not equivalent")
    if "UNDECIDED" in log:
        raise NotCheckedError(f"ABC did not decide within {TIME_LIMIT_SECONDS} s and {CONFLICT_LIMIT} conflicts")
    raise CompilerError(f"ABC gave no verdict: {log[-600:].strip()}")
