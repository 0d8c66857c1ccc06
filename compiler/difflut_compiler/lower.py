"""From a trained model to a graph: one small function per kind of module, chosen by its exact type.

This is the only door through which torch models enter; a module that is not listed here is refused by name. A
subclass is refused too: it may compute something else than its base. A model is `difflut.BaseLUTModel`'s chain of
encoder, stages and votes, whatever its class; one that overrides how the chain is computed is refused.

A new kind of layer is a `difflut.layers.LutStage`, whose `wired_banks` say all that hardware and proof need, and takes
one line in ``_LOWERINGS``. Subclasses of `difflut.layers.BaseLUTLayer` and `difflut.encoders.BaseEncoder` take none, as
long as they do not override how layers and encoders compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from difflut.encoders import BaseEncoder, CodedEncoder
from difflut.input_format import InputFormat
from difflut.layers import BaseLUTLayer, BitPlanes, ConvolutionalLayer, LutStage, OrPool2d, WiredBank
from difflut.models import BaseLUTModel
from difflut.utils.modules import GroupSum
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Node, Origin
from difflut_compiler.ops import ArgMax, Compare, Const, Input, Lut, Output, PopCount, bools_to_table, bools_to_tables

INPUT, ENCODER, CLASS_COUNTS, ARGMAX, OUTPUT = "input", "encoder", "class_counts", "argmax", "output"
XOR_FAN_IN = 6


_THE_CHAIN = ("encode", "forward", "_answer", "class_counts", "predict", "input_format", "as_hardware")
"""What a model must have from its base class, because the graph is built as these compute."""
_THE_LAYER = ("forward", "_answer")
"""The same of a layer that only wires otherwise."""


@dataclass
class Lowering:
    """A graph being built: ``bits`` are the nets that the next module reads.

    ``bank_nets`` are the output bits of every bank of look-up tables, by the name of the stage that it belongs to; the
    encoder counts as one bank, and so does a stage that puts bits in another order.
    """

    graph: LutGraph
    input_format: InputFormat
    features: list[int] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    bank_nets: dict[str, list[list[int]]] = field(default_factory=dict)


def lower(model: BaseLUTModel, name: str) -> LutGraph:
    """Build the graph of a fitted model. Its inputs are the features as integers in ``model.input_format``.

    Raises :class:`CompilerError` naming the first module that has no hardware form.
    """
    return trace_lowering(model, name).graph


def trace_lowering(model: BaseLUTModel, name: str) -> Lowering:
    """Like :func:`lower`, and also says which nets hold the bits of the encoder and of every bank."""
    _check_chain(model)
    stages = model.stages()
    banks = {stage_name: stage.wired_banks() for stage_name, stage in stages if isinstance(stage, LutStage)}
    layers = [layer for stage_name, wired in banks.items() for layer in name_banks(stage_name, len(wired))]
    graph = LutGraph(name, (INPUT, ENCODER, *layers, CLASS_COUNTS, ARGMAX, OUTPUT))
    state = Lowering(graph, model.input_format)
    for stage_name, module in ((ENCODER, model.encoder), *stages, (CLASS_COUNTS, model.output_layer)):
        _lower_module(state, stage_name, module)
    graph.verify()
    return state


def name_banks(stage_name: str, banks: int) -> list[str]:
    """What the banks of a stage are called: each is a layer of the graph, and the last one has the stage's name."""
    return [*(f"{stage_name}.bank{number}" for number in range(banks - 1)), stage_name]


def _check_chain(model: BaseLUTModel) -> None:
    if not isinstance(model, BaseLUTModel):
        raise CompilerError(
            f"the model is a {type(model).__name__}; only subclasses of BaseLUTModel have a hardware form"
        )
    for name in _THE_CHAIN:
        if getattr(type(model), name) is not getattr(BaseLUTModel, name) or name in vars(model):
            raise CompilerError(
                f"the model is a {type(model).__name__}, which has its own {name}, so it may compute something else "
                f"than its encoder, stages and votes; override only build_layers and stages"
            )


def _lower_module(state: Lowering, name: str, module: nn.Module) -> None:
    function = _LOWERINGS.get(type(module))
    if _only_wires_otherwise(module):
        function = _lower_stage
    if isinstance(module, BaseEncoder) and _encodes_by_code_table(type(module)):
        function = _lower_encoder  # whatever the thresholds and the code are
    if function is None:
        raise _refusal(name, module, list(_LOWERINGS))
    function(state, name, module)


def _only_wires_otherwise(module: nn.Module) -> bool:
    """Whether a module is a layer that, however it is wired, answers as its mapping and the tables of its bank say."""
    return isinstance(module, BaseLUTLayer) and all(
        getattr(type(module), name) is getattr(BaseLUTLayer, name) for name in _THE_LAYER
    )


def _encodes_by_code_table(encoder: type[BaseEncoder]) -> bool:
    """Whether a kind of encoder computes what its thresholds and its code table say."""
    if encoder.encode is not BaseEncoder.encode or encoder.forward is not BaseEncoder.forward:
        return False
    if issubclass(encoder, CodedEncoder):
        return encoder.code_bits is CodedEncoder.code_bits
    return encoder.code_bits is BaseEncoder.code_bits and encoder.code_table is BaseEncoder.code_table


def _refusal(where: str, module: nn.Module, supported: Sequence[type]) -> CompilerError:
    names = ", ".join(sorted(one.__name__ for one in supported))
    return CompilerError(f"{where} is a {type(module).__name__}, which has no hardware form; supported are {names}")


def _lower_encoder(state: Lowering, name: str, encoder: BaseEncoder) -> None:
    """Comparators for the thresholds of every feature, and for every bit of its code the parity of some of them.

    Comparators of ascending thresholds come on one after another. A bit of the code that flips wherever one of its
    comparators comes on is their parity, inverted if the bit starts at 1; a thermometer's bit is one comparator.
    """
    thresholds = integer_thresholds(encoder.thresholds.cpu().numpy(), state.input_format)
    codes = encoder.code_table().cpu().numpy()
    bits, signed = state.input_format.bits, state.input_format.signed
    for feature, row in enumerate(thresholds):
        word = state.graph.add(Input(f"feature_{feature}", bits, signed), origin=Origin(INPUT, feature))
        state.features.append(word)
        compares = [
            state.graph.add(Compare(threshold), (word,), origin=Origin(name, feature * len(row) + number))
            for number, threshold in enumerate(row.tolist())
        ]
        steps, flips = code_flips(row, codes)
        for bit in range(encoder.num_bits):
            pins = [compares[step] for step in steps[flips[:, bit]]]
            origin = Origin(name, feature * encoder.num_bits + bit)
            state.bits.append(_add_parity(state.graph, pins, bool(codes[0, bit]), origin))
    state.bank_nets[name] = [state.bits]


def integer_thresholds(thresholds: NDArray[np.float32], input_format: InputFormat) -> NDArray[np.int64]:
    """The integer ``c`` of every threshold ``t`` such that ``q * scale > t`` is ``q >= c`` for every integer ``q``.

    Exact: dividing by a power of two loses nothing. Thresholds beyond the format's range become the nearest constant
    that is always or never reached.
    """
    exact = np.floor(thresholds.astype(np.float64) / input_format.scale) + 1
    limited: NDArray[np.int64] = np.clip(exact, input_format.min_integer, input_format.max_integer + 1).astype(np.int64)
    return limited


def code_flips(thresholds: NDArray[np.int64], codes: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where a growing feature changes its code: the first of every run of equal thresholds, and which bits flip there.

    ``thresholds`` (thresholds,) are ascending, ``codes`` (thresholds + 1, bits) has a row for every level. Returns
    positions ``(runs,)`` in ``thresholds``, and ``(runs, bits)``. Equal thresholds are passed at once, so the levels
    between them do not count.
    """
    _, first = np.unique(thresholds, return_index=True)
    level_above = np.append(first[1:], len(thresholds))
    return first, codes[first] != codes[level_above]


def _add_parity(graph: LutGraph, pins: list[int], inverted: bool, origin: Origin) -> int:
    """Add a tree of LUTs for [the number of ones among ``pins`` is odd], perhaps inverted; return the net it ends in.

    The parity of a single pin is that pin, and of none a constant.
    """
    if not pins:
        return graph.add(Const(int(inverted)), origin=origin._replace(part="constant"))
    luts = 0
    while len(pins) > XOR_FAN_IN:
        part = origin._replace(part=f"xor{luts}")
        parity = graph.add(_parity_lut(XOR_FAN_IN, False), pins[:XOR_FAN_IN], origin=part)
        pins = [*pins[XOR_FAN_IN:], parity]  # at the end of the queue, so that the tree is balanced
        luts += 1
    if len(pins) == 1 and not inverted:
        return pins[0]
    return graph.add(_parity_lut(len(pins), inverted), pins, origin=origin._replace(part=f"xor{luts}"))


def _parity_lut(fan_in: int, inverted: bool) -> Lut:
    ones = np.bitwise_count(np.arange(1 << fan_in))
    return Lut(fan_in, bools_to_table((ones + inverted) % 2 == 1))


def _lower_stage(state: Lowering, name: str, stage: LutStage) -> None:
    banks = stage.wired_banks()
    state.bank_nets[name] = []
    for bank_name, wired in zip(name_banks(name, len(banks)), banks, strict=True):
        state.bits = _add_luts(state, bank_name, wired)
        state.bank_nets[name].append(state.bits)


def _lower_convolution(state: Lowering, name: str, layer: ConvolutionalLayer) -> None:
    for number, level in enumerate(layer.lut_levels()):
        if not _only_wires_otherwise(level):
            raise _refusal(f"{name}.levels.{number}", level, [BaseLUTLayer])
    _lower_stage(state, name, layer)


def _add_luts(state: Lowering, name: str, wired: WiredBank) -> list[int]:
    """Add the look-up tables of a bank, which read ``state.bits``; return the nets of their outputs."""
    bank = wired.bank
    tables, nodes, pins = (tensor.cpu().numpy() for tensor in (bank.truth_table(), wired.nodes, wired.pins))
    expected = (bank.num_nodes, bank.output_dim, 1 << bank.input_dim)
    if tables.shape != expected or tables.dtype != np.bool_:
        raise CompilerError(
            f"{name}: the truth table has shape {tables.shape} of {tables.dtype}, expected {expected} of bool"
        )
    if nodes.ndim != 1 or not _all_below(nodes, bank.num_nodes):
        raise CompilerError(f"{name}: the look-up tables must be a list of nodes 0 to {bank.num_nodes - 1}")
    if pins.shape != (len(nodes), bank.input_dim) or not _all_below(pins + 1, len(state.bits) + 1):
        raise CompilerError(
            f"{name}: the wiring must be {(len(nodes), bank.input_dim)} of inputs 0 to {len(state.bits) - 1}, "
            f"or -1 for the constant 0"
        )
    zero = [state.graph.add(Const(0), origin=Origin(name, 0, "zero"))] if (pins < 0).any() else []
    ops = [Lut(bank.input_dim, table) for table in bools_to_tables(tables.reshape(-1, tables.shape[-1]))]
    nets = np.array([*state.bits, *zero], dtype=np.int64)[pins].tolist()  # pin -1 is the last one
    parts = [""] * len(nodes) if wired.names is None else wired.names
    luts = [
        Node(ops[node * bank.output_dim + output], tuple(reads), 1, Origin(name, lut * bank.output_dim + output, part))
        for lut, (node, reads, part) in enumerate(zip(nodes.tolist(), nets, parts, strict=True))
        for output in range(bank.output_dim)
    ]
    return list(state.graph.extend(luts))


def _all_below(indices: NDArray[np.int64], count: int) -> bool:
    return bool(((indices >= 0) & (indices < count)).all())


def _pass_bits(state: Lowering, name: str, module: nn.Module) -> None:
    """ReLU and Flatten leave the bits of a sample as they are."""


def _lower_bit_planes(state: Lowering, name: str, planes: BitPlanes) -> None:
    bits = np.array(state.bits).reshape(*planes.image_shape, planes.num_bits)
    state.bits = bits.transpose(0, 3, 1, 2).flatten().tolist()
    state.bank_nets[name] = [state.bits]


def _lower_group_sum(state: Lowering, name: str, group_sum: GroupSum) -> None:
    size = group_sum.group_size(len(state.bits))
    bits = [state.bits[feature] for feature in group_sum.order(len(state.bits)).tolist()]
    counts = []
    for group in range(group_sum.k):
        members = bits[group * size : (group + 1) * size]
        op = PopCount() if members else Const(0)
        counts.append(state.graph.add(op, members, origin=Origin(name, group)))
    winner = state.graph.add(ArgMax(), counts, origin=Origin(ARGMAX, 0))
    state.graph.add(Output("class_index"), (winner,), origin=Origin(OUTPUT, 0))


_LOWERINGS: dict[type[nn.Module], Callable[[Lowering, str, Any], None]] = {
    BaseEncoder: _lower_encoder,  # and every subclass that encodes as it does
    BaseLUTLayer: _lower_stage,  # and every subclass that does not override forward
    ConvolutionalLayer: _lower_convolution,
    OrPool2d: _lower_stage,
    BitPlanes: _lower_bit_planes,
    nn.Flatten: _pass_bits,
    nn.ReLU: _pass_bits,
    GroupSum: _lower_group_sum,
}


def class_count_nets(graph: LutGraph) -> list[int]:
    """The nets that hold the votes of each class in a graph as it was lowered."""
    argmax = next(net for net in graph if isinstance(graph.node(net).op, ArgMax))
    return list(graph.node(argmax).operands)
