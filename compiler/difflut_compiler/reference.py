"""What a compile starts from: the network as it was read, and what it answers on the vectors of every check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.errors import CompilerError
from difflut_compiler.frontend import LabelledData, hash_file, load_model
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.graph_file import read_graph
from difflut_compiler.ops import Output
from difflut_compiler.verify import ladder
from difflut_compiler.verify.certificate import Rung, climb, not_checked
from difflut_compiler.verify.vectors import Vectors, make_vectors

GRAPH_SUFFIX = ".json"


@dataclass(frozen=True)
class Reference:
    """The network as it was read, before any pass: everything made from it is compared with this.

    ``expected`` is what every output must be on ``vectors``, ``scale`` what one step of an input word stands for, and
    ``first_rung`` the evidence that ``lowered`` is the network.
    """

    sha256: str
    class_names: tuple[str, ...]
    scale: float
    data: LabelledData | None
    lowered: LutGraph
    vectors: Vectors
    expected: Mapping[str, NDArray[np.int64]]
    first_rung: Rung


def read_reference(path: Path, name: str, data: str | None, *, scores: bool = False) -> Reference:
    """Read a trained model, or a graph file if the path ends in .json, and call the network ``name``.

    With ``scores``, the votes of every class of a model become outputs beside the class.
    """
    if path.suffix != GRAPH_SUFFIX:
        return _from_model(path, name, data, scores)
    if scores:
        raise CompilerError(f"{path} is a graph, which has the outputs that it has; leave --scores out")
    return _from_graph(path, name, data)


def _from_model(path: Path, name: str, data_source: str | None, scores: bool) -> Reference:
    loaded = load_model(path)
    data = loaded.load_data(data_source) if data_source is not None else None
    lowered, count_nets, bank_nets = loaded.lower(name)
    vectors = make_vectors(lowered, data.inputs if data is not None else None)
    answers = loaded.answers(vectors.inputs)
    layers = loaded.layer_answers(vectors.made, bank_nets)
    first_rung = climb(
        1, lambda: ladder.check_lowering(lowered, count_nets, vectors.inputs, answers, layers, vectors.describe())
    )
    expected = {"class_index": answers.class_index}
    if scores:
        for number, (net, votes) in enumerate(zip(count_nets, answers.class_counts.T, strict=True)):
            lowered.add(Output(f"score_{number}"), (net,), origin=Origin("output", number + 1))
            expected[f"score_{number}"] = votes
    return Reference(
        sha256=loaded.sha256,
        class_names=tuple(loaded.model.class_names),
        scale=loaded.model.input_format.scale,
        data=data,
        lowered=lowered,
        vectors=vectors,
        expected=expected,
        first_rung=first_rung,
    )


def _from_graph(path: Path, name: str, data_source: str | None) -> Reference:
    """A graph is its own reference: there is no model that it could be compared with."""
    if data_source is not None:
        raise CompilerError(f"{path} is a graph, which does not say how data become its inputs; leave --data out")
    lowered = read_graph(path)
    lowered.name = name
    if not lowered.inputs():
        raise CompilerError(f"{path} has no input")
    vectors = make_vectors(lowered, None)
    return Reference(
        sha256=hash_file(path),
        class_names=(),
        scale=1.0,
        data=None,
        lowered=lowered,
        vectors=vectors,
        expected=lowered.evaluate(vectors.inputs),
        first_rung=not_checked(1, "the network came as a graph: there is no model to compare it with"),
    )
