"""A compiled network read back from its output folder: the hardware, and the figures that were written beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import read_graph
from difflut_compiler.interface import Interface
from difflut_compiler.names import check_identifier
from difflut_compiler.output import CERTIFICATE, GRAPH_FILE
from difflut_compiler.targets import find_target
from difflut_compiler.verify.certificate import hash_text


class Digests(NamedTuple):
    """What a certificate is tied to, each by its SHA-256."""

    model: str
    graph: str
    files: str


@dataclass(frozen=True)
class CompiledNetwork:
    """What a compile left in ``folder``; ``report`` and ``certificate`` are the contents of the JSON files."""

    folder: Path
    plan: BuildPlan
    graph: LutGraph
    pipeline: str
    digests: Digests
    report: dict[str, Any]
    certificate: dict[str, Any]


def load_compiled(folder: Path) -> CompiledNetwork:
    """Read an output folder; raises :class:`CompilerError` unless it is whole and holds the hardware it speaks of."""
    compiled = read_compiled(folder)
    graph_digest = hash_text(_read(folder / GRAPH_FILE))
    if compiled.plan.digest() != compiled.digests.files or graph_digest != compiled.digests.graph:
        raise CompilerError(f"the hardware in {folder} is not what was compiled; compile again")
    return compiled


def read_compiled(folder: Path) -> CompiledNetwork:
    """Read an output folder, whatever hardware is in it; raises :class:`CompilerError` for a folder that is none."""
    certificate = _read_json(folder, CERTIFICATE)
    report = read_report(folder)
    try:
        if any(rung["status"] == "failed" for rung in certificate["rungs"]):
            raise CompilerError(f"{folder} holds no hardware: a check of its compile failed; see {CERTIFICATE}")
        digests = Digests(*(str(certificate[f"{what}_sha256"]) for what in Digests._fields))
        plan = _read_plan(folder, report)
        pipeline = str(report["pipeline"])
    except (KeyError, TypeError, ValueError):  # whatever a file that no compile wrote may lack
        raise CompilerError(f"{folder} holds no result of this compiler; compile again") from None
    return CompiledNetwork(folder, plan, read_graph(folder / GRAPH_FILE), pipeline, digests, report, certificate)


def read_report(folder: Path) -> dict[str, Any]:
    """The contents of a compile's report.json; raises :class:`CompilerError` if there is none."""
    return _read_json(folder, "report.json")


def _read_plan(folder: Path, report: dict[str, Any]) -> BuildPlan:
    """The hardware of which a report speaks."""
    target, interface = find_target(report["target"]), Interface(**report["interface"])
    interface.check()
    place = folder / target.folder
    for name in (*report["files"], *report["binary_files"]):
        if Path(name).name != name:
            raise CompilerError(f"{folder}: {name!r} is no name of a file; compile again")
    return BuildPlan(
        top=check_identifier(report["top"], "the top name"),
        core=check_identifier(report["core"], "the core name"),
        interface=interface,
        target=target.name,
        language=target.language,
        files={name: _read(place / name) for name in report["files"]},
        binary_files={name: _read_bytes(place / name) for name in report["binary_files"]},
        latency_cycles=report["latency_cycles"],
        feature_bits=report["feature_bits"],
        outputs=dict(report["outputs"]),
    )


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        data = json.loads(_read(folder / name))
    except (ValueError, RecursionError):
        raise CompilerError(f"{folder / name} is no readable JSON file; compile again") from None
    if not isinstance(data, dict):
        raise CompilerError(f"{folder / name} holds no result of this compiler; compile again")
    return data


def _read(path: Path) -> str:
    return _read_bytes(path).decode(errors="replace")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CompilerError(f"no compiled network: {path}: {error.strerror}; compile one first") from None
