"""Checking the output folder of a compile again: is what lies there what was certified, and does it hold?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from difflut_compiler.compiled import CompiledNetwork, read_compiled
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.frontend import hash_file
from difflut_compiler.output import GRAPH_FILE
from difflut_compiler.reference import read_reference
from difflut_compiler.schedule import schedule
from difflut_compiler.targets import find_target
from difflut_compiler.tools import tool_version
from difflut_compiler.vectors import make_vectors
from difflut_compiler.verify.certificate import Finding, Rung, climb, not_checked
from difflut_compiler.verify.check_files import FileChecks

HARDWARE_SUFFIXES = (".v", ".sv", ".vhd", ".vhdl")


@dataclass(frozen=True)
class Recheck:
    """What came of it: a rung per check; ``out_of_reach`` are ids of certified ones that were not climbed."""

    folder: Path
    target: str
    rungs: tuple[Rung, ...]
    out_of_reach: tuple[int, ...]

    @property
    def failed(self) -> bool:
        return any(rung.status == "failed" for rung in self.rungs)


def recheck(
    folder: Path, model: Path | None = None, simulator: str | None = None, *, on_step: Callable[[str], None]
) -> Recheck:
    """Check a folder: digests, the files against the graph beside them, and with ``model`` the graph against that.

    Raises :class:`CompilerError` for a folder that holds no compile; a difference is in the result.
    """
    on_step("read")
    compiled = read_compiled(folder)
    scheduled = schedule(compiled.graph, compiled.pipeline)
    plan = emit(scheduled, find_target(compiled.plan.target), compiled.plan.top, compiled.plan.interface)
    inputs = make_vectors(compiled.graph, None).inputs
    # The files that are there, as what the graph says they are: report.json may say anything.
    found = replace(plan, files=compiled.plan.files, binary_files=compiled.plan.binary_files)
    with tempfile.TemporaryDirectory(prefix="difflut-") as scratch:
        expected = compiled.graph.evaluate(inputs)
        checks = FileChecks(found, scheduled, None, inputs, expected, simulator, Path(scratch))
        rungs = [climb(0, lambda: _check_digests(compiled, plan), checks.language.product)]
        if found.all_files.keys() != plan.all_files.keys():
            return Recheck(folder, plan.target, tuple(rungs), ())
        on_step("compare with the model")
        rungs.append(_check_model(compiled, model))
        on_step("check files")
        rungs += _climb(checks, are_compiled=rungs[0].status == "passed")
    climbed = {rung["id"] for rung in compiled.certificate["rungs"] if rung["status"] == "passed"}
    missed = (rung.id for rung in rungs if rung.status == "not checked" and rung.id in climbed and rung.id > 2)
    return Recheck(folder, compiled.plan.target, tuple(rungs), tuple(missed))


def _climb(checks: FileChecks, *, are_compiled: bool) -> list[Rung]:
    """Rungs 3 to 5. That tools break off at files that no compile has made is no more than their digest says."""
    try:
        with checks.climbing() as climbing:
            proof, simulation, mutation = (climbing.result(rung) for rung in (3, 4, 5))
    except CompilerError as error:
        if are_compiled:
            raise
        return [not_checked(rung, str(error), checks.language.product) for rung in (3, 4, 5)]
    return [proof, replace(simulation, name=f"simulated {checks.language.product} equals the graph"), mutation]


def _check_digests(compiled: CompiledNetwork, plan: BuildPlan) -> Finding:
    """Rung 0: files and graph have the digests of the certificate; ``plan`` is what is made of the graph now."""
    if hash_file(compiled.folder / GRAPH_FILE) != compiled.digests.graph:
        raise MismatchError(f"{GRAPH_FILE} is not the graph that was compiled")
    if compiled.plan.digest() != compiled.digests.files:
        raise MismatchError(f"the files are not those that were compiled: {_first_difference(compiled.plan, plan)}")
    digests = tuple(compiled.report.get(f"{what}_sha256") for what in ("model", "files"))
    if digests != (compiled.digests.model, compiled.digests.files) or compiled.certificate["target"] != plan.target:
        raise MismatchError("report.json and certificate.json are not of the same compile")
    if compiled.plan.all_files.keys() != plan.all_files.keys():
        raise MismatchError("report.json names other files than the graph makes")
    strangers = _other_hardware(compiled)
    if strangers:
        raise MismatchError(f"{strangers[0]} is no file of the compile, but a tool could take it for one")
    found, made = (replace(one, files={}, binary_files={}) for one in (compiled.plan, plan))
    if found != made:
        raise MismatchError("report.json does not say what the graph does: latency, ports or names differ")
    count = len(compiled.plan.all_files) + 1
    return Finding(count, "SHA-256 of the files and of the graph", "python", tool_version("python"))


def _other_hardware(compiled: CompiledNetwork) -> list[str]:
    """Hardware among the compiled files that is none of them: tools that read whole folders would read it, too."""
    place = compiled.folder / find_target(compiled.plan.target).folder
    names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.suffix in HARDWARE_SUFFIXES)
    return [name for name in names if name not in compiled.plan.files]


def _first_difference(found: BuildPlan, made: BuildPlan) -> str:
    for name, content in made.all_files.items():
        here = found.all_files.get(name)
        if here == content:
            continue
        if not isinstance(here, str) or not isinstance(content, str):
            return f"{name} is another one"
        pairs = zip(here.splitlines(), [*content.splitlines(), ""], strict=False)
        return f"{name}, line {next(line for line, (one, other) in enumerate(pairs, start=1) if one != other)}"
    return "their names or their order"


def _check_model(compiled: CompiledNetwork, model: Path | None) -> Rung:
    """Rung 1: the graph in the folder answers as the model does."""
    if model is None:
        return not_checked(1, "no model was given; see --model")
    if compiled.certificate.get("approximations"):
        return not_checked(1, "the network was approximated, so it is not the model; the certificate tells how far off")
    return climb(1, lambda: _compare_with_model(compiled, model))


def _compare_with_model(compiled: CompiledNetwork, model: Path) -> Finding:
    scores = model.suffix != ".json" and "score_0" in compiled.plan.outputs
    reference = read_reference(model, compiled.graph.name, None, scores=scores)
    first_rung = reference.first_rung
    if first_rung.status == "failed":
        raise MismatchError(first_rung.reason)
    if reference.sha256 != compiled.digests.model:
        raise MismatchError(f"{model} is not the model that was compiled")
    inputs = reference.vectors.inputs
    found = compiled.graph.evaluate(inputs)
    for name, values in reference.expected.items():
        wrong = int((found[name] != values).sum())
        if wrong:
            raise MismatchError(f"{name} of graph and model differ on {wrong} of {len(inputs)} samples")
    reason = f"the same model file; its answers on {reference.vectors.describe()}"
    return Finding(len(inputs) * len(reference.expected), reason, first_rung.tool, first_rung.version)
