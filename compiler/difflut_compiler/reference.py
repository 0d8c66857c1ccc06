"""What a compile starts from: the network as it was read, and what it answers on the vectors of every check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.accuracy import LabelledData
from difflut_compiler.approximations import Approximation, Record, approximate
from difflut_compiler.errors import CompilerError
from difflut_compiler.frontend import hash_file, load_model
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.graph_file import read_graph
from difflut_compiler.ops import Output
from difflut_compiler.vectors import Vectors, make_vectors
from difflut_compiler.verify import ladder
from difflut_compiler.verify.certificate import Finding, Rung, climb, not_checked

GRAPH_SUFFIX = ".json"


@dataclass(frozen=True)
class Reference:
    """The network as it was read, before any pass: everything made from it is compared with this.

    ``expected`` is what every output must be on ``vectors``, ``scale`` what one step of an input word stands for, and
    ``first_rung`` the evidence that ``lowered`` is the network. After ``approximations``, ``lowered`` and ``expected``
    are the approximated network's; ``model_classes``, the trained model's answers on ``data``, are what they were.
    ``not_as_trained`` is what ``expected`` comes from, in words for the certificate, if that is no trained model.
    """

    sha256: str
    class_names: tuple[str, ...]
    scale: float
    data: LabelledData | None
    model_classes: NDArray[np.int64] | None
    lowered: LutGraph
    vectors: Vectors
    expected: Mapping[str, NDArray[np.int64]]
    first_rung: Rung
    approximations: tuple[Record, ...] = ()
    not_as_trained: str = ""


def read_reference(
    path: Path, name: str, data: str | None, *, scores: bool = False, approximations: Sequence[Approximation] = ()
) -> Reference:
    """Read a trained model, or a graph file if the path ends in .json, and call the network ``name``.

    With ``scores``, the votes of every class of a model become outputs beside the class. ``approximations`` choose by
    the training part of ``data``.
    """
    if path.suffix != GRAPH_SUFFIX:
        return _from_model(path, name, data, scores, approximations)
    if approximations:
        raise CompilerError(f"{path} is a graph, whose accuracy cannot be measured; leave accuracy budgets out")
    if scores:
        raise CompilerError(f"{path} is a graph, which has the outputs that it has; leave --scores out")
    return _from_graph(path, name, data)


def _from_model(
    path: Path, name: str, data_source: str | None, scores: bool, approximations: Sequence[Approximation]
) -> Reference:
    if approximations and data_source is None:
        raise CompilerError("an accuracy budget needs data to measure accuracy on; name them with --data")
    loaded = load_model(path)
    data = loaded.load_data(data_source) if data_source is not None else None
    lowered, count_nets, bank_nets = loaded.lower(name)
    vectors = make_vectors(lowered, data.inputs if data is not None else None)
    answers = loaded.answers(vectors.inputs)
    layers = loaded.layer_answers(vectors.made, bank_nets)

    def check() -> Finding:
        loaded.check_votes(lowered, count_nets, bank_nets)
        return ladder.check_lowering(lowered, count_nets, vectors.inputs, answers, layers, vectors.describe())

    first_rung = climb(1, check)
    expected = {"class_index": answers.class_index}
    if scores:
        for number, (net, votes) in enumerate(zip(count_nets, answers.class_counts.T, strict=True)):
            lowered.add(Output(f"score_{number}"), (net,), origin=Origin("output", number + 1))
            expected[f"score_{number}"] = votes
    reference = Reference(
        sha256=loaded.sha256,
        class_names=tuple(loaded.model.class_names),
        scale=loaded.model.input_format.scale,
        data=data,
        model_classes=answers.class_index[-len(data.labels) :] if data is not None else None,
        lowered=lowered,
        vectors=vectors,
        expected=expected,
        first_rung=first_rung,
    )
    if not approximations or data_source is None:
        return reference
    return _approximate(reference, approximations, loaded.load_training_data(data_source))


def _from_graph(path: Path, name: str, data_source: str | None) -> Reference:
    """A graph is its own reference: there is no model that it could be compared with."""
    if data_source is not None:
        raise CompilerError(f"{path} is a graph, which does not say how data become its inputs; leave --data out")
    lowered = read_graph(path)
    lowered.name = name
    if not lowered.inputs():
        raise CompilerError(f"{path} has no input")
    if lowered.size().count_by_kind.get("register"):
        raise CompilerError(f"{path} has registers; give the graph without them, and choose a --pipeline")
    vectors = make_vectors(lowered, None)
    return Reference(
        sha256=hash_file(path),
        class_names=(),
        scale=1.0,
        data=None,
        model_classes=None,
        lowered=lowered,
        vectors=vectors,
        expected=lowered.evaluate(vectors.inputs),
        first_rung=not_checked(1, "the network came as a graph: there is no model to compare it with"),
        not_as_trained="the graph that was given",
    )


def _approximate(reference: Reference, approximations: Sequence[Approximation], training: LabelledData) -> Reference:
    """The reference for all that follows when the network may answer a little differently than trained."""
    assert reference.data is not None
    lowered, records = approximate(reference.lowered, approximations, training, reference.data)
    vectors = make_vectors(lowered, reference.data.inputs)
    expected = lowered.evaluate(vectors.inputs)
    return replace(
        reference,
        lowered=lowered,
        vectors=vectors,
        expected=expected,
        approximations=records,
        not_as_trained="the approximated graph",
    )
