"""Checkpoints of other trainers of look-up tables, each recognised by the names of its tensors.

==========  =================================  =========================  =============================================
tool        tensors of a layer                 first input of a table is  bit of the table
==========  =================================  =========================  =============================================
torch-dwn   luts, mapping or mapping.weights   the lowest address bit     entry > 0
torchlogix  weight, connections.indices        the highest address bit    raw: of the likeliest of 16 gates;
                                                                          warp: Walsh transform < 0; light: weight > 0
difflogic   weights                            the highest address bit    of the likeliest of 16 gates
llnn        w, w_comp                          the highest address bit    w > w_comp
==========  =================================  =========================  =============================================

Gate ``g`` of 16 answers inputs A, B with bit ``3 - (2 * A + B)`` of ``g``. difflogic and llnn do not save the wiring;
it comes from a file of its own.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from difflut.errors import CheckpointError
from difflut.utils.archive import read_archive
from difflut_compiler.errors import CompilerError, ImportFileError
from difflut_compiler.graph import LutGraph, Origin
from difflut_compiler.importers import PARAMETRIZATIONS, ImportRequest
from difflut_compiler.importers.netlist import MAX_FILE_BYTES, MAX_NODES
from difflut_compiler.ops import MAX_FAN_IN, ArgMax, Input, Lut, Output, PopCount, bools_to_table

Tensor = NDArray[Any]
GATES = 16
CONTAINERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class LutLayer:
    """Tables ``(luts, 2**n)`` and the bits of the layer before that they read, ``(luts, n)``, lowest address bit first.

    ``inputs`` is how many bits there are before, as far as the checkpoint says.
    """

    name: str
    tables: NDArray[np.bool_]
    pins: NDArray[np.int64]
    inputs: int


@dataclass(frozen=True)
class _Source:
    """One layer's tensors by the rest of their name, and what the user said beside them."""

    request: ImportRequest
    prefix: str
    tensors: Mapping[str, Tensor]
    wiring: Mapping[str, Tensor]

    def fail(self, message: str) -> ImportFileError:
        return ImportFileError(self.request.path, f"layer {self.prefix.rstrip('.') or '0'}: {message}")

    def tensor(self, name: str, dimensions: int) -> Tensor:
        if name not in self.tensors:
            raise self.fail(f"there is no {name}; it has {', '.join(self.tensors)[:200]}")
        found = self.tensors[name]
        if found.ndim != dimensions or 0 in found.shape:
            raise self.fail(f"{name} has the shape {found.shape}, {dimensions} dimensions are wanted")
        if np.issubdtype(found.dtype, np.floating) and not np.isfinite(found).all():
            raise self.fail(f"{name} holds values that are no numbers")
        return found

    def fan_in(self, entries: int) -> int:
        """The inputs of a table of that many entries."""
        inputs = entries.bit_length() - 1
        if entries != 1 << inputs or not 1 <= inputs <= MAX_FAN_IN:
            raise self.fail(f"a table has {entries} entries; a power of two from 2 to {1 << MAX_FAN_IN} is wanted")
        return inputs

    def pins(self, indices: Tensor, fan_in: int, luts: int) -> NDArray[np.int64]:
        """Connections ``(fan_in, luts)`` as whole numbers, checked."""
        if indices.shape != (fan_in, luts) or not np.issubdtype(indices.dtype, np.integer):
            raise self.fail(f"the connections are {indices.dtype} of {indices.shape}, not integers of {(fan_in, luts)}")
        lowest, highest = int(indices.min()), int(indices.max())
        if lowest < 0 or highest >= MAX_NODES:
            raise self.fail(f"a connection is {lowest if lowest < 0 else highest}, allowed are 0 to {MAX_NODES - 1}")
        return indices.astype(np.int64)

    def saved_apart(self, fan_in: int, luts: int) -> NDArray[np.int64]:
        """Connections from the file of the wiring."""
        name = f"{self.prefix}indices"
        if self.request.wiring is None:
            raise self.fail("the checkpoint holds no connections; give a file with them (--wiring)")
        if name not in self.wiring:
            raise ImportFileError(self.request.wiring, f"has no entry {name!r}; it has {', '.join(self.wiring)[:200]}")
        return self.pins(self.wiring[name], fan_in, luts)


def import_state_dict(request: ImportRequest) -> LutGraph:
    """The graph of a checkpoint; raises :class:`CompilerError` naming the file and the layer."""
    tensors = load_tensors(request.path)
    wiring = load_tensors(request.wiring) if request.wiring is not None else {}
    tool = _recognise(request.path, tensors)
    return _build(request, [tool.read(source) for source in _split(request, tool, tensors, wiring)])


def _split(
    request: ImportRequest, tool: _Tool, tensors: Mapping[str, Tensor], wiring: Mapping[str, Tensor]
) -> list[_Source]:
    """The tensors of every layer, in the order of the file; one that belongs to none is refused."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        found = re.fullmatch(rf"((?:.*\.)?)({tool.names})", name)
        if found is None:
            raise ImportFileError(
                request.path,
                f"{name[:100]} belongs to no layer of look-up tables of {tool.name}; nothing else is read",
            )
        layers.setdefault(found[1], {})[found[2]] = value
    return [_Source(request, prefix, own, wiring) for prefix, own in layers.items()]


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The arrays in a file by name, in its order: a PyTorch file without code, or an .npz file."""
    if path.suffix.lower() == ".npz":
        return _load_arrays(path)
    try:
        content = read_archive(path)
    except CheckpointError as error:
        raise ImportFileError(path, str(error)) from None
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content:
        raise ImportFileError(path, "the file holds no state dict")
    return {str(name): _to_array(path, str(name), value) for name, value in content.items()}


def _load_arrays(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_FILE_BYTES:
            raise ImportFileError(path, f"the arrays have {size} bytes, the limit is {MAX_FILE_BYTES}")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except OSError as error:
        raise ImportFileError(path, f"the file cannot be read ({error.strerror})") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ImportFileError(path, f"the file is no .npz file of plain arrays: {error}") from None


def _to_array(path: Path, name: str, value: object) -> Tensor:
    if isinstance(value, list | tuple) and all(isinstance(one, torch.Tensor) for one in value):
        if len({(one.shape, one.dtype) for one in value}) > 1:
            raise ImportFileError(path, f"{name} is a list of tensors of different shapes or types")
        value = torch.stack(list(value)) if value else torch.zeros(0)
    if not isinstance(value, torch.Tensor):
        raise ImportFileError(path, f"{name} is a {type(value).__name__}, not a tensor")
    array: Tensor = value.detach().float().numpy() if value.is_floating_point() else value.detach().numpy()
    return array


def _recognise(path: Path, tensors: Mapping[str, Tensor]) -> _Tool:
    """The tool of which a tensor in the file has a name that no other tool gives."""
    for tool in TOOLS:
        if any(re.fullmatch(rf"(?:.*\.)?{tool.mark}", name) for name in tensors):
            return tool
    tools = ", ".join(tool.name for tool in TOOLS)
    raise ImportFileError(path, f"is of none of {tools}, by the names of its tensors: {', '.join(tensors)[:200]}")


def _read_dwn(source: _Source) -> LutLayer:
    luts = source.tensor("luts", 2)
    fan_in = source.fan_in(luts.shape[1])
    if "mapping.weights" in source.tensors:
        scores = source.tensor("mapping.weights", 2)
        order = next((value for name, value in source.tensors.items() if name.endswith("dummy_mapping")), None)
        if (
            order is None
            or not np.issubdtype(order.dtype, np.integer)
            or order.shape != (len(luts), fan_in)
            or sorted(order.ravel().tolist()) != list(range(scores.shape[1]))
        ):
            raise source.fail(f"mapping.weights has no order of its {scores.shape[1]} columns for {len(luts)} tables")
        pins, inputs = scores.argmax(axis=0)[order], scores.shape[0]
    else:
        pins = source.tensor("mapping", 2)
        inputs = int(pins.max()) + 1
    return LutLayer(source.prefix, luts > 0, source.pins(pins.T, fan_in, len(luts)).T, inputs)


def _read_torchlogix(source: _Source) -> LutLayer:
    weight = source.tensor("weight", 2)
    is_learned = "connections.weights" in source.tensors
    indices = source.tensor("connections.indices", 3 if is_learned else 2)
    if is_learned:
        scores = source.tensor("connections.weights", 3)
        if indices.shape != scores.shape:
            raise source.fail(f"connections.indices is {indices.shape}, connections.weights {scores.shape}")
        indices = np.take_along_axis(indices, scores.argmax(axis=0)[np.newaxis], axis=0)[0]
    fan_in = len(indices)
    tables = _torchlogix_tables(source, weight, fan_in)
    pins = source.pins(indices, fan_in, len(weight))
    return LutLayer(source.prefix, tables, pins[::-1].T, int(pins.max()) + 1)


def _torchlogix_tables(source: _Source, weight: Tensor, fan_in: int) -> NDArray[np.bool_]:
    kind = source.request.parametrization
    if kind is None and (fan_in, weight.shape[1]) == (2, GATES):
        kind = "raw"
    if kind not in PARAMETRIZATIONS:
        raise source.fail(
            f"tables of {fan_in} inputs with {weight.shape[1]} weights may be of either kind; "
            f"say which (--parametrization {' or '.join(PARAMETRIZATIONS[1:])})"
        )
    wanted = GATES if kind == "raw" else 1 << fan_in
    if weight.shape[1] != wanted or (kind == "raw" and fan_in != 2):
        raise source.fail(f"{kind} tables of {fan_in} inputs with {weight.shape[1]} weights, {wanted} are wanted")
    if kind == "raw":
        return _gate_tables(weight)
    return walsh_transform(weight) < 0 if kind == "warp" else weight > 0


def walsh_transform(weight: Tensor) -> NDArray[np.float64]:
    """``sum_s w[s] * (-1)**popcount(s & a)`` at every address ``a``, for weights ``(luts, 2**n)``."""
    values: NDArray[np.float64] = weight.astype(np.float64)
    step = 1
    while step < values.shape[1]:
        pairs = values.reshape(len(values), -1, 2, step)
        low, high = pairs[:, :, 0], pairs[:, :, 1]
        values = np.stack([low + high, low - high], axis=2).reshape(len(values), -1)
        step *= 2
    return values


def _gate_tables(weights: Tensor) -> NDArray[np.bool_]:
    """Tables ``(luts, 4)`` of the likeliest gates, A the higher address bit."""
    gates = weights.argmax(axis=1)[:, np.newaxis]
    tables: NDArray[np.bool_] = (gates >> (3 - np.arange(4)) & 1).astype(np.bool_)
    return tables


def _read_difflogic(source: _Source) -> LutLayer:
    weights = source.tensor("weights", 2)
    if weights.shape[1] != GATES:
        raise source.fail(f"weights has {weights.shape[1]} columns, one for each of {GATES} gates is wanted")
    pins = source.saved_apart(2, len(weights))
    return LutLayer(source.prefix, _gate_tables(weights), pins[::-1].T, int(pins.max()) + 1)


def _read_llnn(source: _Source) -> LutLayer:
    ones, zeros = source.tensor("w", 2), source.tensor("w_comp", 2)
    if ones.shape != zeros.shape:
        raise source.fail(f"w is {ones.shape}, w_comp {zeros.shape}")
    fan_in = source.fan_in(ones.shape[1])
    pins = source.saved_apart(fan_in, len(ones))
    return LutLayer(source.prefix, ones > zeros, pins[::-1].T, int(pins.max()) + 1)


@dataclass(frozen=True)
class _Tool:
    """A trainer: the tensor by which it is recognised, all names of a layer's tensors, and how a layer is read."""

    name: str
    mark: str
    names: str
    read: Callable[[_Source], LutLayer]


TOOLS = (
    _Tool("torch-dwn", "luts", r"luts|mapping|mapping\.weights|\w*dummy_mapping", _read_dwn),
    _Tool("torchlogix", r"connections\.indices", r"weight|connections\.(?:indices|weights)", _read_torchlogix),
    _Tool("llnn", "w_comp", "w|w_comp", _read_llnn),
    _Tool("difflogic", "weights", "weights", _read_difflogic),
)
"""In this order: a tensor called weights alone is difflogic's."""


def _build(request: ImportRequest, layers: list[LutLayer]) -> LutGraph:
    """Input bits, a layer of tables each, and votes per class with their argmax, or the last layer's bits."""
    if sum(len(layer.tables) for layer in layers) > MAX_NODES:
        raise ImportFileError(request.path, f"has more than {MAX_NODES} tables, which is the limit")
    inputs = layers[0].inputs if request.inputs is None else request.inputs
    if not layers[0].inputs <= inputs <= MAX_NODES:
        raise CompilerError(f"{request.path} reads {layers[0].inputs} input bits, --inputs says {inputs}")
    names = [f"layers.{number}" for number in range(len(layers))]
    graph = LutGraph(request.name, ("input", *names, "class_counts", "argmax", "output"))
    bits = [graph.add(Input(f"bit_{number}", 1), origin=Origin("input", number)) for number in range(inputs)]
    for name, layer in zip(names, layers, strict=True):
        if layer.pins.max() >= len(bits):
            raise ImportFileError(
                request.path, f"layer {layer.name.rstrip('.')} reads bit {layer.pins.max()} of {len(bits)} before it"
            )
        bits = [
            graph.add(Lut(len(pins), bools_to_table(table)), [bits[pin] for pin in pins], origin=Origin(name, number))
            for number, (table, pins) in enumerate(zip(layer.tables, layer.pins.tolist(), strict=True))
        ]
    if request.classes is None:
        for number, bit in enumerate(bits):
            graph.add(Output(f"bit_{number}"), (bit,), origin=Origin("output", number))
    else:
        _add_votes(request, graph, bits, request.classes)
    graph.verify()
    return graph


def _add_votes(request: ImportRequest, graph: LutGraph, bits: list[int], classes: int) -> None:
    """Neighbouring bits vote for the same class, as all of these tools group them."""
    if classes < 1 or len(bits) % classes:
        raise CompilerError(f"{request.path} ends in {len(bits)} bits, which are no equal groups of {classes} classes")
    size = len(bits) // classes
    counts = [
        graph.add(PopCount(), bits[number * size : (number + 1) * size], origin=Origin("class_counts", number))
        for number in range(classes)
    ]
    winner = graph.add(ArgMax(), counts, origin=Origin("argmax", 0))
    graph.add(Output("class_index"), (winner,), origin=Origin("output", 0))
