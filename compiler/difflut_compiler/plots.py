"""Plots for papers and slides, as PNG or SVG files: training curves, accuracy against area, histograms of tables.

matplotlib is imported inside, so that it is needed only by who plots.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difflut_compiler.compiled import CompiledNetwork, load_compiled
from difflut_compiler.errors import CompilerError, ToolMissingError
from difflut_compiler.output import write_file
from difflut_compiler.statistics import layer_statistics
from difflut_compiler.synth import read_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
BINS = 24


def write_plot(kind: str, inputs: Sequence[Path], out: Path) -> None:
    """Draw the plot ``kind``, one of ``PLOTS``, of ``inputs`` into a file; equal inputs give equal SVG text."""
    if kind not in PLOTS:
        raise CompilerError(f"there is no plot {kind!r}; choose one of {', '.join(PLOTS)}")
    if out.suffix.lower() not in FORMATS:
        raise CompilerError(f"{out} is neither a .png nor an .svg file")
    if find_spec("matplotlib") is None:
        raise ToolMissingError("matplotlib is not installed: pip install matplotlib")
    import matplotlib

    figure = PLOTS[kind](inputs)
    form, content = out.suffix.lower().removeprefix("."), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "difflut"}):
        figure.savefig(content, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
    write_file(out, content.getvalue())


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_curves(folders: Sequence[Path]) -> Figure:
    """Loss and accuracies over the epochs of one or more trainings; ``folders`` are those that training wrote."""
    figure = _new_figure(9, 4)
    loss, accuracy = figure.subplots(1, 2)
    for folder in folders:
        epochs = _read_metrics(folder)
        numbers = [one["epoch"] for one in epochs]
        name = folder.name if len(folders) > 1 else ""
        loss.plot(numbers, [one["train_loss"] for one in epochs], label=name or "training")
        for field, label in (("eval_train_accuracy", "training"), ("validation_accuracy", "validation")):
            shares = [100 * one[field] for one in epochs]
            accuracy.plot(numbers, shares, label=f"{name} {label}".strip())
    loss.set(xlabel="epoch", ylabel="loss")
    accuracy.set(xlabel="epoch", ylabel="accuracy in eval mode, %")
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _read_metrics(folder: Path) -> list[dict[str, Any]]:
    try:
        epochs: list[dict[str, Any]] = json.loads((folder / "metrics.json").read_text())["epochs"]
    except (OSError, ValueError, KeyError) as error:
        raise CompilerError(f"{folder} is not the folder of a training: {error}") from None
    return epochs


def draw_accuracy(folders: Sequence[Path]) -> Figure:
    """Accuracy against LUTs of compiled networks, a point for each.

    All points are of one source: the family that all of them were synthesised for, else the count that the compile made
    with Yosys, else its estimate; the axis says which.
    """
    networks = [load_compiled(folder) for folder in folders]
    source, luts = _common_luts(networks)
    figure = _new_figure(6, 4)
    axes = figure.subplots()
    for network, count in zip(networks, luts, strict=True):
        accuracy = network.report["accuracy"]
        if accuracy is None:
            raise CompilerError(f"{network.folder} has no accuracy; compile it with --data")
        axes.plot([count], [100 * accuracy["graph"]], "o", color="C0")
        axes.annotate(network.folder.name, (count, 100 * accuracy["graph"]), (5, 5), textcoords="offset points")
    axes.set(xlabel=source, ylabel="accuracy, %")
    axes.grid(alpha=0.3)
    return figure


def _common_luts(networks: Sequence[CompiledNetwork]) -> tuple[str, list[int]]:
    results = [{one.family: one for one in read_results(network)} for network in networks]
    shared = [family for family in results[0] if all(family in one for one in results)]
    if shared:
        synthesised = [one[shared[0]].synthesis for one in results]
        name = f"LUT-{synthesised[0].lut_inputs} on {shared[0]}, after synthesis"
        return name, [one.network.luts for one in synthesised]
    if all(network.report["yosys_synthesis"] for network in networks):
        return "LUT-6, counted by Yosys", [network.report["yosys_synthesis"]["luts"] for network in networks]
    return "LUT-6, estimated", [network.report["optimised"]["estimated_lut6"] for network in networks]


def draw_tables(folders: Sequence[Path]) -> Figure:
    """For every LUT layer of one compiled network: entropy of the tables, inputs per LUT, readers per LUT."""
    if len(folders) != 1:
        raise CompilerError("tables are plotted of one compiled network at a time")
    layers = layer_statistics(load_compiled(folders[0]).graph)
    if not layers:
        raise CompilerError(f"{folders[0]} has no LUTs")
    figure = _new_figure(10, 2.6 * len(layers))
    grid = figure.subplots(len(layers), 3, squeeze=False)
    for row, layer in zip(grid, layers, strict=True):
        row[0].hist(layer.entropy, bins=BINS, range=(0, 1))
        row[0].set(xlabel="entropy of the table, bits", ylabel=f"LUTs of {layer.layer}")
        for axes, values, label in ((row[1], layer.fan_in, "inputs"), (row[2], layer.fan_out, "readers")):
            counts = {int(value): int((values == value).sum()) for value in sorted(set(values.tolist()))}
            axes.bar(list(counts), list(counts.values()))
            axes.set(xlabel=f"{label} per LUT")
    return figure


PLOTS: dict[str, Callable[[Sequence[Path]], Figure]] = {
    "curves": draw_curves,
    "accuracy": draw_accuracy,
    "tables": draw_tables,
}
