"""Putting the page together from the figures that stand in the JSON files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from difflut_compiler._resources import data
from difflut_compiler.compiled import CompiledNetwork
from difflut_compiler.graph import LutGraph
from difflut_compiler.interface import Interface
from difflut_compiler.names import Words, describe_words
from difflut_compiler.output import REPORT_PAGE, write_file
from difflut_compiler.page.logic import LogicDrawing, draw_logic
from difflut_compiler.page.svg import SHADES, heat_map, histogram, matrix, stacked_bar
from difflut_compiler.page.waveform import draw_waveform
from difflut_compiler.statistics import LayerStatistics, layer_statistics
from difflut_compiler.synth import FAMILIES, SynthesisResult, read_results
from difflut_compiler.targets import find_target
from difflut_compiler.targets.templates import environment
from difflut_compiler.verify.languages import language_of


@dataclass(frozen=True)
class LayerCard:
    """The pictures of one layer of LUTs."""

    name: str
    luts: int
    mean_entropy_bits: float
    inputs: Markup
    entropy: Markup
    fan_out: Markup


@dataclass(frozen=True)
class FamilyFigures:
    """A result of synthesis with its family's full name, the speed that timing is for, the picture of its parts."""

    title: str
    speed: str
    result: SynthesisResult
    parts: Markup


def render_page(
    report: Mapping[str, Any], certificate: Mapping[str, Any], graph: LutGraph, results: Sequence[SynthesisResult]
) -> str:
    """The page as text; the same figures give the same bytes. Nothing on it comes from a network."""
    accuracy, samples = report["accuracy"], report["first_samples"]
    names = report["class_names"]
    estimated = [part for part in report["optimised"]["estimated_lut6_by_layer"].items() if part[1]]
    target = find_target(report["target"])
    interface = Interface(**report["interface"])
    page = environment().overlay(autoescape=True).get_template("report/page.html.j2")
    return page.render(
        report=report,
        certificate=certificate,
        product=language_of(target.language).product,
        folder=target.folder,
        words=describe_words([Words(**one) for one in report["input"]["words"]]),
        latency=interface.describe_latency(report["latency_cycles"], report["feature_bits"]),
        passed=sum(rung["status"] == "passed" for rung in certificate["rungs"]),
        families=[_family(result) for result in results],
        estimated=estimated,
        estimated_parts=stacked_bar(estimated, "estimated LUTs by part"),
        shades=SHADES,
        confusion=matrix(accuracy["confusion"], names, "confusion matrix") if accuracy else None,
        layers=[_card(one, graph) for one in layer_statistics(graph)],
        logic=draw_logic(graph) if len(graph) else LogicDrawing(Markup(), 0, 0),
        waveform=draw_waveform(samples, report["latency_cycles"], list(samples["outputs"])),
        style=Markup((data("templates") / "report" / "style.css").read_text()),  # noqa: S704 - our own file
        script=Markup((data("templates") / "report" / "script.js").read_text()),  # noqa: S704 - our own file
    )


def write_page(compiled: CompiledNetwork) -> None:
    """Write the page of a compiled network again, with the results of synthesis that there are by now."""
    page = render_page(compiled.report, compiled.certificate, compiled.graph, read_results(compiled))
    write_file(compiled.folder / REPORT_PAGE, page)


def _family(result: SynthesisResult) -> FamilyFigures:
    parts = [(one.part, one.area.luts) for one in result.synthesis.parts if one.part != "harness"]
    family = FAMILIES[result.family]
    speed = family.nextpnr.speed if family.nextpnr else ""
    return FamilyFigures(family.title, speed, result, stacked_bar(parts, f"LUTs by part on {family.title}"))


def _card(statistics: LayerStatistics, graph: LutGraph) -> LayerCard:
    names = [str(graph.node(net).origin) for net in graph.inputs()]
    return LayerCard(
        name=statistics.layer,
        luts=len(statistics.entropy),
        mean_entropy_bits=float(statistics.entropy.mean()),
        inputs=heat_map(statistics.input_weight, names, f"features that {statistics.layer} depends on"),
        entropy=histogram(statistics.entropy, f"entropy of the tables of {statistics.layer}", "bits"),
        fan_out=histogram(statistics.fan_out, f"readers per LUT of {statistics.layer}", "readers"),
    )
