"""One synthesis of a compiled network: Yosys, then place and route where the family has nextpnr, then the files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from difflut_compiler.compiled import CompiledNetwork
from difflut_compiler.costs.families import FAMILIES, Family
from difflut_compiler.errors import CompilerError, ToolMissingError
from difflut_compiler.output import SYNTHESIS_FOLDER, replace_folder, write_file
from difflut_compiler.synth.netlist import HARNESS_FILE, synthesise
from difflut_compiler.synth.nextpnr import place_and_route
from difflut_compiler.synth.results import SynthesisResult, result_from_json
from difflut_compiler.synth.vendor import REPORTS, read_reports, write_project
from difflut_compiler.targets import HardwareTarget, find_target
from difflut_compiler.tools import missing_tools
from difflut_compiler.verify.languages import language_of

RESULT = "result.json"


@dataclass(frozen=True)
class SynthesisRequest:
    """For which device to synthesise and how.

    ``device`` is one of the family's or None for its first; ``frequency_mhz`` is what place and route aims at.
    """

    family: str
    device: str | None = None
    frequency_mhz: float = 200.0
    seed: int = 1
    place: bool = True

    def check(self) -> Family:
        """The family that is meant; raises :class:`CompilerError` for what does not exist."""
        if self.family not in FAMILIES:
            raise CompilerError(f"there is no family {self.family!r}; choose one of {', '.join(FAMILIES)}")
        family = FAMILIES[self.family]
        devices = family.nextpnr.devices if family.nextpnr else {}
        if self.device is not None and self.device not in devices:
            known = f"choose one of {', '.join(devices)}" if devices else "leave --device out: nothing is placed for it"
            raise CompilerError(f"the family {family.name} has no device {self.device!r}; {known}")
        if self.frequency_mhz <= 0:
            raise CompilerError(f"the frequency must be above 0 MHz, not {self.frequency_mhz:g}")
        return family

    def steps(self) -> tuple[str, ...]:
        """The steps that it takes here and now."""
        return ("synthesise",) if _why_not_placed(self.check(), self) else ("synthesise", "place and route")


def synthesise_network(
    compiled: CompiledNetwork, request: SynthesisRequest, *, on_step: Callable[[str], None] = lambda step: None
) -> SynthesisResult:
    """Synthesise, place and route, and leave the result in ``synth/FAMILY`` of the compiled network's folder."""
    family = request.check()
    layers, plan = compiled.graph.layers, compiled.plan
    if not isinstance(find_target(plan.target), HardwareTarget):
        raise CompilerError(f"{compiled.folder} holds {plan.target}, which is no hardware description; compile to one")
    if missing := language_of(plan.language).no_proof:
        raise ToolMissingError(missing)
    with tempfile.TemporaryDirectory(prefix="difflut-") as scratch:
        folder = Path(scratch)
        on_step("synthesise")
        synthesis = synthesise(plan, layers, family, folder)
        placed, not_placed = None, _why_not_placed(family, request)
        if not not_placed:
            assert family.nextpnr is not None
            on_step("place and route")
            placed = place_and_route(
                family,
                layers,
                folder,
                top=plan.top,
                latency_cycles=plan.latency_cycles,
                device=request.device or next(iter(family.nextpnr.devices)),
                seed=request.seed,
                requested_mhz=request.frequency_mhz,
            )
        result = SynthesisResult(
            family.name, plan.top, plan.digest(), plan.latency_cycles, synthesis, placed, not_placed
        )
        kept = folder / "kept"
        kept.mkdir()
        if family.vendor is not None:
            harness = (folder / HARNESS_FILE).read_text()
            (kept / family.vendor).mkdir()
            for name, text in write_project(plan, family, harness, request.frequency_mhz).items():
                (kept / family.vendor / name).write_text(text)
        if placed is not None:
            shutil.copy(folder / placed.bitstream, kept)
        (kept / RESULT).write_text(result.to_json())
        replace_folder(compiled.folder / SYNTHESIS_FOLDER / family.name, kept)
    return result


def read_vendor_reports(compiled: CompiledNetwork, family: Family) -> SynthesisResult:
    """Add to an earlier result what the vendor's tool reported in the project beside it."""
    folder = compiled.folder / SYNTHESIS_FOLDER / family.name
    earlier = next((one for one in read_results(compiled) if one.family == family.name), None)
    if earlier is None:
        raise CompilerError(f"there is no project for {family.title} yet; run the command without --read-reports first")
    reports = folder / (family.vendor or "") / REPORTS
    result = replace(earlier, vendor=read_reports(family, reports, compiled.plan.top, compiled.graph.layers))
    write_file(folder / RESULT, result.to_json())
    return result


def _why_not_placed(family: Family, request: SynthesisRequest) -> str:
    """Why nothing is placed and routed; empty if it is."""
    if family.nextpnr is None:
        project = f"; build the project in {family.vendor}/" if family.vendor else ""
        return f"there is no free tool for {family.title} among ours{project}"
    if not request.place:
        return "not asked for"
    return missing_tools((family.nextpnr.tool,))


def read_results(compiled: CompiledNetwork) -> list[SynthesisResult]:
    """The results that belong to the compiled network's hardware, in the order of the families."""
    paths = [compiled.folder / SYNTHESIS_FOLDER / family / RESULT for family in FAMILIES]
    results = [_read_result(path) for path in paths if path.is_file()]
    return [result for result in results if result.rtl_sha256 == compiled.plan.digest()]


def _read_result(path: Path) -> SynthesisResult:
    try:
        result = result_from_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CompilerError(f"{path} is no result of synthesis: {error}; delete it or synthesise again") from None
    if result.family != path.parent.name:
        raise CompilerError(f"{path} is a result for {result.family}; delete it or synthesise again")
    return result
