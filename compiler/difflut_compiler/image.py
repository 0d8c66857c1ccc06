"""The image of a trained model's tables, for hardware that was made of another model of the same wiring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.compiled import CompiledNetwork
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.passes import LUT_INPUTS
from difflut_compiler.reference import read_reference
from difflut_compiler.reload import check_same_but_tables, make_image, reloadable_passes


def image_of_model(compiled: CompiledNetwork, model: Path) -> NDArray[np.uint32]:
    """The words, by address, that make the hardware answer as ``model`` does, a checkpoint or a graph file.

    Raises :class:`CompilerError` if its tables cannot be reloaded, or if the model differs in anything but tables.
    """
    if not compiled.plan.interface.reloadable:
        raise CompilerError(f"the tables in {compiled.folder} cannot be reloaded; compile with --reloadable")
    scores = model.suffix != ".json" and "score_0" in compiled.plan.outputs
    reference = read_reference(model, compiled.graph.name, None, scores=scores)
    if reference.first_rung.status == "failed":
        raise MismatchError(reference.first_rung.reason)
    graph = reference.lowered.copy()
    lut_inputs = compiled.report.get("lut_inputs")
    if lut_inputs not in LUT_INPUTS:
        raise CompilerError(f"report.json in {compiled.folder} does not say for which LUTs; compile again")
    for one in reloadable_passes(graph, lut_inputs):
        one.apply(graph)
    check_same_but_tables(compiled.graph, graph)
    made_for = compiled.report["input"]["scale"]
    if model.suffix != ".json" and reference.scale != made_for:  # a graph file says nothing of what its words stand for
        raise CompilerError(
            f"another network: a step of its input words is {reference.scale:g}, that of the hardware {made_for:g}"
        )
    return make_image(graph)
