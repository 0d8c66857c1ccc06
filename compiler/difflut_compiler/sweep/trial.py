"""One trial: a training, and what its hardware costs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from difflut.training import StepReport, TrainingConfig, can_resume, train
from difflut_compiler.costs.estimate import cost_models
from difflut_compiler.costs.families import FAMILIES
from difflut_compiler.emit import emit
from difflut_compiler.passes import EXPAND, OPTIMISE, run_passes
from difflut_compiler.reference import read_reference
from difflut_compiler.schedule import schedule
from difflut_compiler.synth import count_cells
from difflut_compiler.targets import find_target
from difflut_compiler.tools import make_folder

SAMPLES = 256
"""Vectors on which every pass is checked. A trial is estimated, not proven; those to keep are compiled afterwards."""


@dataclass(frozen=True)
class Figures:
    """What a trial came to.

    Parameters
    ----------
    accuracy : on held-out training data, of the model as hardware, 0 to 1; what trials are compared by.
    test_accuracy : on the test data; to be looked at, not to choose by.
    luts : 6-input LUTs, estimated from the optimised graph, or counted by Yosys if the sweep says so.
    depth : levels of LUTs between input and class, without registers in between.
    fmax_mhz : estimated, with a register per layer, for the sweep's family; None if it has none.
    """

    accuracy: float
    test_accuracy: float
    luts: int
    depth: int
    fmax_mhz: float | None


def run_trial(
    config: TrainingConfig,
    folder: Path,
    *,
    data_path: Path | None,
    continues: Path | None,
    family: str | None,
    yosys: bool,
    on_step: Callable[[StepReport], None] | None = None,
) -> Figures:
    """Train into ``folder`` and measure.

    ``continues`` is the folder of an interrupted trial of the same configuration, whose training goes on; it may be on
    another machine, and then the training starts again. ``on_step`` is told of every step of the training.
    """
    if continues is not None:
        _take_over(continues, folder)
    result = train(config, folder, data_path=data_path, resume=can_resume(config, folder), on_step=on_step)
    reference = read_reference(result.model_path, "network", None)
    vectors = reference.vectors.inputs[:SAMPLES]
    graph = reference.lowered.copy()
    run_passes(graph, OPTIMISE, vectors)
    size = graph.size()
    luts, fmax_mhz = size.lut6_total, None
    if family is not None or yosys:
        run_passes(graph, EXPAND, vectors, repeat=False)
        scheduled = schedule(graph, "layers")
        if family is not None:
            estimate = cost_models()[family].estimate(scheduled.graph, FAMILIES[family])
            fmax_mhz = estimate.estimated_fmax_mhz
        if yosys:
            luts = count_cells(emit(scheduled, find_target("verilog"), "network"), make_folder(folder, "yosys")).luts
    return Figures(result.validation_accuracy, result.test_accuracy, luts, size.levels, fmax_mhz)


def _take_over(source: Path, folder: Path) -> None:
    """Copy what an interrupted training left, its state first: a model that is newer than the state does no harm."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("last.ckpt", "model.pth"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
