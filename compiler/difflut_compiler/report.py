"""What a person or a program reads about a compile: tables on the terminal, ``report.json``, ``summary.txt``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from difflut_compiler.approximations import Record
from difflut_compiler.driver import CompileResult
from difflut_compiler.figures import Accuracy
from difflut_compiler.graph import GraphSize
from difflut_compiler.names import describe_words
from difflut_compiler.output import CERTIFICATE, GRAPH_FILE, REPORT, REPORT_PAGE
from difflut_compiler.page import render_page
from difflut_compiler.verify.certificate import Rung
from difflut_compiler.verify.languages import language_of

SUMMARY_WIDTH = 100


def documents(result: CompileResult) -> Mapping[str, str]:
    """The files beside the hardware; the certificate is the last."""
    figures = report(result)
    return {
        GRAPH_FILE: result.graph_text,
        REPORT: json.dumps(figures, indent=2) + "\n",
        "summary.txt": summary(result),
        REPORT_PAGE: render_page(figures, asdict(result.certificate), result.graph, []),
        CERTIFICATE: result.certificate.to_json(),
    }


def report(result: CompileResult) -> dict[str, Any]:
    """The figures of a compile. Estimates (``estimated_``) and tool results (``yosys_``) have fields of their own."""
    return {
        "top": result.plan.top,
        "core": result.plan.core,
        "interface": asdict(result.plan.interface),
        "target": result.plan.target,
        "pipeline": result.request.chosen_pipeline,
        "lut_inputs": result.request.lut_inputs,
        "latency_cycles": result.plan.latency_cycles,
        "feature_bits": result.plan.feature_bits,
        "input": asdict(result.input_port),
        "outputs": dict(result.plan.outputs),
        "class_names": list(result.class_names),
        "lowered": _size(result.lowered_size),
        "optimised": _size(result.size),
        "estimates": {family: asdict(estimate) for family, estimate in result.estimates.items()},
        "yosys_synthesis": asdict(result.synthesis) if result.synthesis else None,
        "accuracy": asdict(result.accuracy) if result.accuracy else None,
        "first_samples": asdict(result.first_samples),
        "files": list(result.plan.files),
        "binary_files": list(result.plan.binary_files),
        "files_sha256": result.certificate.files_sha256,
        "model_sha256": result.certificate.model_sha256,
        "seconds": dict(result.seconds),
    }


def _size(size: GraphSize) -> dict[str, Any]:
    return {
        "nodes": dict(size.count_by_kind),
        "levels": size.levels,
        "estimated_lut6_by_layer": dict(size.lut6_by_layer),
        "estimated_lut6": size.lut6_total,
    }


def summary(result: CompileResult) -> str:
    """The tables as plain text."""
    stream = io.StringIO()
    print_result(result, Console(file=stream, width=SUMMARY_WIDTH, color_system=None))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def print_result(result: CompileResult, console: Console) -> None:
    console.print(_circuit_table(result))
    console.print()
    print_rungs(result.certificate.rungs, console)
    console.print(_time_line(result))


def _circuit_table(result: CompileResult) -> Table:
    table = Table(title=f"{result.plan.top} ({result.plan.target})", title_justify="left", show_header=False, box=None)
    port = result.input_port
    plan = result.plan
    table.add_row("input", f"{describe_words(port.words)}, {port.scale:g} per step")
    table.add_row("latency", plan.interface.describe_latency(plan.latency_cycles, plan.feature_bits))
    table.add_row("LUTs in the network", _before_after(result, "lut"))
    table.add_row("comparators", _before_after(result, "compare"))
    by_layer = ", ".join(f"{layer} {count}" for layer, count in result.size.lut6_by_layer.items() if count)
    table.add_row("6-input LUTs, estimated", f"{result.size.lut6_total} ({by_layer})")
    if result.synthesis is not None:
        counted = f"{result.synthesis.luts}, and {result.synthesis.flip_flops} flip-flops"
    else:
        counted = "not counted"
    table.add_row("6-input LUTs, by Yosys", counted)
    if result.accuracy is not None:
        table.add_row(
            f"accuracy on {result.accuracy.data}",
            _accuracy_text(result.accuracy, language_of(result.plan.language).product),
        )
    for record in result.certificate.approximations:
        table.add_row(record.name, _approximation_text(record))
    return table


def _approximation_text(record: Record) -> str:
    return (
        f"{record.change}; accuracy on {record.training_samples} training samples "
        f"{record.training_accuracy_before:.2%}, then {record.training_accuracy_after:.2%} "
        f"(at most {record.budget_points:g} percentage points less), "
        f"on {record.test_samples} test samples {record.test_accuracy_before:.2%}, "
        f"then {record.test_accuracy_after:.2%}; {record.training_agreement:.2%} of training samples keep their class"
    )


def _before_after(result: CompileResult, kind: str) -> str:
    before = result.lowered_size.count_by_kind.get(kind, 0)
    after = result.size.count_by_kind.get(kind, 0)
    return f"{before}, {after} after optimisation"


def _accuracy_text(accuracy: Accuracy, product: str) -> str:
    if accuracy.simulated is None:
        simulated = f"{product} not simulated on all of them"
    else:
        simulated = f"simulated {product} {accuracy.simulated:.2%}"
    return f"model {accuracy.model:.2%}, graph {accuracy.graph:.2%}, {simulated} ({accuracy.samples} samples)"


STATUS_STYLES = {"passed": "green", "failed": "bold red", "not checked": "yellow"}


def print_rungs(rungs: Sequence[Rung], console: Console) -> None:
    for rung in rungs:
        _print_rung(rung, console)


def _print_rung(rung: Rung, console: Console) -> None:
    """One line on what was checked, and below it how."""
    status = f"[{STATUS_STYLES[rung.status]}]{rung.status:11}[/]"
    figures = f"{rung.comparisons:,} comparisons in {rung.seconds:.1f} s with {rung.tool}: " if rung.comparisons else ""
    console.print(f"{rung.id} {status} {rung.name}")
    console.print(Padding(escape(figures + rung.reason), (0, 0, 0, 14), expand=False))


def _time_line(result: CompileResult) -> str:
    return "seconds: " + ", ".join(f"{step} {seconds:.1f}" for step, seconds in result.seconds.items())
