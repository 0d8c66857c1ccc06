"""A compiled network read back from its output folder: the hardware, and the figures that were written beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError
from difflut_compiler.figures import REPORT_FIELDS
from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import read_graph
from difflut_compiler.interface import Interface
from difflut_compiler.names import check_identifier
from difflut_compiler.output import CERTIFICATE, GRAPH_FILE, REPORT
from difflut_compiler.shapes import find_misfit
from difflut_compiler.targets import find_target
from difflut_compiler.verify.certificate import Certificate, hash_text


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
    certificate, report = _read_json(folder, CERTIFICATE), read_report(folder)
    _require_fit(folder / CERTIFICATE, find_misfit(certificate, Certificate))
    if any(rung["status"] == "failed" for rung in certificate["rungs"]):
        raise CompilerError(f"{folder} holds no hardware: a check of its compile failed; see {CERTIFICATE}")
    _require_fit(folder / REPORT, find_misfit(report, REPORT_FIELDS) or _find_ragged(report))
    digests = Digests(*(certificate[f"{what}_sha256"] for what in Digests._fields))
    plan, graph = _read_plan(folder, report), read_graph(folder / GRAPH_FILE)
    if not 0 <= plan.latency_cycles <= len(graph):
        _require_fit(folder / REPORT, "latency_cycles")
    return CompiledNetwork(folder, plan, graph, report["pipeline"], digests, report, certificate)


def _require_fit(path: Path, misfit: str | None) -> None:
    if misfit is not None:
        what = f"{misfit or 'its content'} is not what a compile writes there"
        raise CompilerError(f"{path} holds no result of this compiler: {what}; compile again")


def _find_ragged(report: dict[str, Any]) -> str | None:
    """The table of a report that has another number of rows or columns than its classes, features or samples."""
    accuracy, samples, classes = report["accuracy"], report["first_samples"], len(report["class_names"])
    count, outputs = len(samples["features"]), samples["outputs"].values()
    if accuracy is not None and [len(row) for row in accuracy["confusion"]] != [classes] * classes:
        return "accuracy.confusion"
    if not count or any(len(row) != report["input"]["features"] for row in samples["features"]):
        return "first_samples.features"
    return "first_samples.outputs" if any(len(values) != count for values in outputs) else None


def read_report(folder: Path) -> dict[str, Any]:
    """The contents of a compile's report.json; raises :class:`CompilerError` if there is none."""
    return _read_json(folder, REPORT)


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
