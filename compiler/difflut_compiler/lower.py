"""From a trained model to a graph: one small function per kind of module, chosen by its exact type.

This is the only door through which torch models enter; a module that is not listed here is refused by name. A
subclass is refused too: it may compute something else than its base.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from difflut.encoders import DistributiveThermometerEncoder, ThermometerEncoder
from difflut.encoders.base_encoder import BaseEncoder
from difflut.input_format import InputFormat
from difflut.layers import LearnableLayer, RandomLayer
from difflut.layers.base_layer import BaseLUTLayer
from difflut.models import BaseLUTModel, SimpleFeedForward
from difflut.utils.modules import GroupSum
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.ops import ArgMax, Compare, Const, Input, Lut, Output, PopCount, bools_to_table

INPUT, ENCODER, CLASS_COUNTS, ARGMAX, OUTPUT = "input", "encoder", "class_counts", "argmax", "output"


@dataclass
class _Lowering:
    """A graph being built: ``bits`` are the nets that the next module reads."""

    graph: LutGraph
    input_format: InputFormat
    features: list[int] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)


def lower(model: BaseLUTModel, name: str) -> LutGraph:
    """Build the graph of a fitted model. Its inputs are the features as integers in ``model.input_format``.

    Raises :class:`CompilerError` naming the first module that has no hardware form.
    """
    if type(model) is not SimpleFeedForward:
        raise _refusal("the model", model, [SimpleFeedForward])
    layer_names = [f"layers.{index}" for index in range(len(model.layers))]
    graph = LutGraph(name, (INPUT, ENCODER, *layer_names, CLASS_COUNTS, ARGMAX, OUTPUT))
    state = _Lowering(graph, model.input_format)
    _lower_module(state, ENCODER, model.encoder)
    for layer_name, layer in zip(layer_names, model.layers, strict=True):
        _lower_module(state, layer_name, layer)
    _lower_module(state, CLASS_COUNTS, model.output_layer)
    graph.verify()
    return graph


def _lower_module(state: _Lowering, name: str, module: nn.Module) -> None:
    function = _LOWERINGS.get(type(module))
    if function is None:
        raise _refusal(name, module, list(_LOWERINGS))
    function(state, name, module)


def _refusal(where: str, module: nn.Module, supported: Sequence[type]) -> CompilerError:
    names = ", ".join(sorted(one.__name__ for one in supported))
    return CompilerError(f"{where} is a {type(module).__name__}, which has no hardware form; supported are {names}")


def _lower_encoder(state: _Lowering, name: str, encoder: BaseEncoder) -> None:
    thresholds = integer_thresholds(encoder.thresholds.cpu().numpy(), state.input_format)
    bits, signed = state.input_format.bits, state.input_format.signed
    for feature, row in enumerate(thresholds.tolist()):
        word = state.graph.add(Input(f"feature_{feature}", bits, signed), origin=Origin(INPUT, feature))
        state.features.append(word)
        for number, threshold in enumerate(row):
            origin = Origin(name, feature * len(row) + number)
            state.bits.append(state.graph.add(Compare(threshold), (word,), origin=origin))


def integer_thresholds(thresholds: NDArray[np.float32], input_format: InputFormat) -> NDArray[np.int64]:
    """The integer ``c`` of every threshold ``t`` such that ``q * scale > t`` is ``q >= c`` for every integer ``q``.

    Exact: dividing by a power of two loses nothing. Thresholds beyond the format's range become the nearest constant
    that is always or never reached.
    """
    exact = np.floor(thresholds.astype(np.float64) / input_format.scale) + 1
    limited: NDArray[np.int64] = np.clip(exact, input_format.min_integer, input_format.max_integer + 1).astype(np.int64)
    return limited


def _lower_layer(state: _Lowering, name: str, layer: BaseLUTLayer) -> None:
    wiring = layer.mapping().cpu().numpy()
    tables = layer.nodes.truth_table().cpu().numpy()
    expected = (layer.output_size, layer.nodes.output_dim, 1 << layer.n)
    if tables.shape != expected or tables.dtype != np.bool_:
        raise CompilerError(
            f"{name}: the truth table has shape {tables.shape} of {tables.dtype}, expected {expected} of bool"
        )
    if wiring.shape != (layer.output_size, layer.n) or wiring.min() < 0 or wiring.max() >= len(state.bits):
        raise CompilerError(
            f"{name}: the wiring must be {(layer.output_size, layer.n)} of inputs 0 to {len(state.bits) - 1}"
        )
    nets = np.array(state.bits, dtype=np.int64)[wiring].tolist()
    outputs = [
        state.graph.add(Lut(layer.n, bools_to_table(table)), pins, origin=Origin(name, node * tables.shape[1] + output))
        for node, pins in enumerate(nets)
        for output, table in enumerate(tables[node])
    ]
    state.bits = outputs


def _lower_group_sum(state: _Lowering, name: str, group_sum: GroupSum) -> None:
    size = group_sum.group_size(len(state.bits))
    counts = []
    for group in range(group_sum.k):
        members = state.bits[group * size : (group + 1) * size]
        op = PopCount() if members else Const(0)
        counts.append(state.graph.add(op, members, origin=Origin(name, group)))
    winner = state.graph.add(ArgMax(), counts, origin=Origin(ARGMAX, 0))
    state.graph.add(Output("class_index"), (winner,), origin=Origin(OUTPUT, 0))


_LOWERINGS: dict[type[nn.Module], Callable[[_Lowering, str, Any], None]] = {
    ThermometerEncoder: _lower_encoder,
    DistributiveThermometerEncoder: _lower_encoder,
    RandomLayer: _lower_layer,
    LearnableLayer: _lower_layer,
    GroupSum: _lower_group_sum,
}


def class_count_nets(graph: LutGraph) -> list[int]:
    """The nets that hold the votes of each class in a graph as it was lowered."""
    argmax = next(net for net in graph if isinstance(graph.node(net).op, ArgMax))
    return list(graph.node(argmax).operands)
