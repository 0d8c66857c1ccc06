"""Running a network on the CPU: rows of features to the outputs of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.compiled import load_compiled
from difflut_compiler.errors import CompilerError
from difflut_compiler.frontend import data_options, load_model
from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import read_graph
from difflut_compiler.ops import Input
from difflut_compiler.packed import MAX_EXACT_BITS, Features, PackedNetwork, can_pack, pack_network
from difflut_compiler.reference import GRAPH_SUFFIX

CLASS_INDEX = "class_index"


@dataclass(frozen=True)
class Predictor:
    """A graph ready to answer for rows of real numbers; ``scale`` is what one step of its input words stands for.

    ``network`` is the graph as a program, None where numpy has to do. It takes the real numbers if it only compares
    them, and the integers of the input words if it reads their bits. ``label_column`` is where tables of such rows have
    their class, if they have one.
    """

    graph: LutGraph
    scale: float
    class_names: tuple[str, ...]
    network: PackedNetwork | None
    label_column: str | int = -1

    @property
    def features(self) -> int:
        return len(self.graph.inputs())

    def predict(self, features: Features, threads: int = 0) -> dict[str, NDArray[np.int64]]:
        """Every output ``(samples,)`` for features ``(samples, features)``, rounded to the input format.

        With ``threads`` 0 there are as many as OpenMP likes.
        """
        if self.network is None:
            return self.graph.evaluate(round_to_words(self.graph, features, self.scale))
        if not self.network.only_compares:
            features = round_to_words(self.graph, features, self.scale).astype(np.float32)
        values = self.network.run(features, threads)
        return dict(zip(self.graph.output_names(), values, strict=True))


def make_predictor(graph: LutGraph, scale: float = 1.0, class_names: tuple[str, ...] = ()) -> Predictor:
    """Make a predictor of a graph."""
    network = pack_network(graph, graph.outputs()) if can_pack(graph) else None
    if network is not None and network.only_compares:
        network = network.for_reals(graph, scale)
    return Predictor(graph, scale, class_names, network)


def load_predictor(path: Path) -> Predictor:
    """Read a trained model, the output folder of a compile, or a graph file, whose features are integers."""
    if path.is_dir():
        compiled = load_compiled(path)
        return make_predictor(compiled.graph, compiled.report["input"]["scale"], tuple(compiled.report["class_names"]))
    if path.suffix == GRAPH_SUFFIX:
        graph = read_graph(path)
        _check_exact(path, graph)
        return make_predictor(graph)
    loaded = load_model(path)
    graph, _, _ = loaded.lower("network")
    predictor = make_predictor(graph, loaded.model.input_format.scale, tuple(loaded.model.class_names))
    return replace(predictor, label_column=data_options(loaded.model, "csv").get("label_column", -1))


def _check_exact(path: Path, graph: LutGraph) -> None:
    """Refuse words that the numbers of a data set, float32, do not reach."""
    for net in graph.inputs():
        op = graph.node(net).op
        if isinstance(op, Input) and op.bits > MAX_EXACT_BITS:
            raise CompilerError(
                f"{path}: the input {op.name} has {op.bits} bits; data hold whole numbers of up to {MAX_EXACT_BITS} "
                f"bits exactly. Evaluate the graph from Python, LutGraph.evaluate takes any integers"
            )


def round_to_words(graph: LutGraph, features: Features, scale: float) -> NDArray[np.int64]:
    """The integers of the input words nearest to ``features``, rounded half to even and saturated."""
    if np.isnan(features).any():
        raise CompilerError("the features hold a NaN, which no fixed-point number stands for; clean the data first")
    words = [op for net in graph.inputs() if isinstance(op := graph.node(net).op, Input)]
    lowest, highest = ([getattr(op, bound) for op in words] for bound in ("min_value", "max_value"))
    return np.clip(np.rint(features.astype(np.float64) / scale), lowest, highest).astype(np.int64)


def format_predictions(outputs: Mapping[str, NDArray[np.int64]]) -> str:
    """A CSV table with a column per output and a row per sample."""
    rows = zip(*(values.tolist() for values in outputs.values()), strict=True)
    return "".join(f"{','.join(map(str, row))}\n" for row in (outputs, *rows))
