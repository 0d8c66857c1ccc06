"""Combinational equivalence: two BLIF circuits with the same inputs and outputs, for every input.

Outputs that are the same table of the same inputs on both sides are equal as they stand; ABC proves all others.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from difflut_compiler.circuits.blif import Circuit, write_blif
from difflut_compiler.errors import CompilerError, MismatchError, NotCheckedError
from difflut_compiler.tools import run_abc

TIME_LIMIT_SECONDS = 3600
CONFLICT_LIMIT = 1_000_000_000


@dataclass(frozen=True)
class Verdict:
    """Whether two circuits are equivalent; if not, what ABC says about the first difference.

    ``same_tables`` counts the outputs for which ABC was not needed.
    """

    equivalent: bool
    message: str
    same_tables: int = 0


def check_equivalence(golden: Circuit, revised: Circuit, folder: Path) -> Verdict:
    """Prove that both circuits compute the same outputs; ``folder`` keeps the files and ABC's log.

    The circuits go to ``&cec`` as AIGER files, which match inputs and outputs by their order: the same in both.
    """
    if list(golden.inputs) != list(revised.inputs) or list(golden.outputs) != list(revised.outputs):
        raise CompilerError("circuits with different inputs or outputs cannot be compared")
    tables = [_tables(circuit) for circuit in (golden, revised)]
    same = _same_tables(golden.inputs, golden.outputs, *tables)
    outputs = [output for output in golden.outputs if output not in same]
    if not outputs:
        return Verdict(True, "equivalent", len(same))
    for name, table_of in zip(("golden", "revised"), tables, strict=True):
        lines = (line for result, table in table_of.items() if result not in same for line in table)
        write_blif(Circuit(golden.inputs, outputs, lines), folder / f"{name}.blif")
    return replace(_compare(outputs, "read_blif revised.blif", folder), same_tables=len(same))


Tables = Mapping[str, Sequence[str]]
"""The lines of every table of a circuit, the one that says what it reads first, by the name of what it drives."""


def _tables(circuit: Circuit) -> Tables:
    tables: dict[str, list[str]] = {}
    for line in circuit.lines:
        if line.startswith(".names"):
            result = line.rpartition(" ")[2]
            if result in tables:
                raise MismatchError(f"a circuit under comparison drives {result} twice")
            tables[result] = []
        tables[result].append(line)
    return tables


def _same_tables(inputs: Sequence[str], outputs: Sequence[str], golden: Tables, revised: Tables) -> Set[str]:
    """The outputs that both circuits drive by the same table of the same inputs, and that no other table reads."""
    known, read = set(inputs), set()
    for table in itertools.chain(golden.values(), revised.values()):
        read.update(table[0].split()[1:-1])
    same = (output for output in outputs if output in golden and golden[output] == revised.get(output))
    return {output for output in same if output not in read and known.issuperset(golden[output][0].split()[1:-1])}


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
