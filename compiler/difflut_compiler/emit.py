"""From a scheduled graph to files, as a value. Hardware is split into modules, each written in the target's language.

``emit`` reads as the table of contents of what is made: one module per layer, in the order of data flow, and a top
module that connects them. Decisions are made here, once for every language; a target only knows how its language
writes an expression (:mod:`difflut_compiler.targets`), and the templates only how a file is laid out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import numpy as np

from difflut_compiler.arrays import GraphArrays, Rows, distinct
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph, Node, reads_signed
from difflut_compiler.interface import LOAD_PORTS, PLAIN, Interface
from difflut_compiler.names import Ref, Signal, check_identifier, feature_slices, feature_words, name_nets, stage_name
from difflut_compiler.ops import Bit, Compare, Const, Input, Lut, Output, Register
from difflut_compiler.reload import IMAGE_FILE, LOAD_BITS, LoadMap, image_text, make_image, map_tables
from difflut_compiler.schedule import Schedule
from difflut_compiler.targets.target import (
    CircuitFiles,
    CircuitTarget,
    HardwareTarget,
    LoadGroup,
    Module,
    Slice,
    Statement,
    Target,
    TopModule,
    Value,
    Wrapper,
    lut_name,
)

ABOUT_COMPARATORS = (
    "; LUT_<n> is comparator n, LUT_<n>_low and LUT_<n>_from<bit> answer for its low bits, perhaps of others, too"
)
"""What a reader of an encoder made of LUTs must know."""


@dataclass(frozen=True)
class BuildPlan:
    """Hardware as a value: file names and their text, in the order in which tools must read them.

    ``binary_files`` are files beside them that these tools do not read; ``language`` is what the files are written in.
    ``core`` is the module with plain ports, ``top`` itself if there is no wrapper around it; ``feature_bits``,
    ``outputs`` and ``latency_cycles`` are the core's.
    """

    top: str
    core: str
    interface: Interface
    target: str
    language: str
    files: Mapping[str, str]
    latency_cycles: int
    feature_bits: int
    outputs: Mapping[str, int]
    binary_files: Mapping[str, bytes] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 over names and contents; equal plans have equal digests on every machine."""
        sha = hashlib.sha256()
        for name, content in self.all_files.items():
            sha.update(f"{name}\0{len(content)}\0".encode())
            sha.update(content.encode() if isinstance(content, str) else content)
        return sha.hexdigest()

    @property
    def all_files(self) -> Mapping[str, str | bytes]:
        return {**self.files, **self.binary_files}

    def write(self, folder: Path) -> None:
        """Write all files into an existing folder."""
        for name, content in self.all_files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def emit(scheduled: Schedule, target: Target, top: str, interface: Interface = PLAIN) -> BuildPlan:
    """Write ``scheduled`` in the form of ``target`` with ``top`` as the name of the whole; plain ports by default."""
    interface.check()
    taken = [name for name in scheduled.graph.output_names() if name in interface.names]
    if taken:
        raise CompilerError(f"an output is called {taken[0]!r}, a name that the interface uses; choose another")
    core = top if interface.is_plain else f"{top}_core"
    graph = scheduled.graph
    check_identifier(top, "the top name")
    refs = name_nets(graph)
    features = Signal("features", sum(width for _, _, width in feature_slices(graph)))
    if isinstance(target, HardwareTarget):
        loads = map_tables(graph) if interface.reloadable else None
        modules = _split_modules(graph, refs, features, top, ("clk", *interface.controls), loads)
        load_ports = _load_signals(loads) if loads else ()
        core_module = _connect(graph, refs, features, load_ports, modules, scheduled, core)
        _check_names(refs, modules, core_module, top)
        wrapped = {} if interface.is_plain else target.wrap(Wrapper(top, core_module, interface))
        image = {IMAGE_FILE: image_text(make_image(graph)).encode()} if loads else {}
        files = CircuitFiles({**target.write(modules, core_module), **wrapped}, image)
    elif isinstance(target, CircuitTarget):
        if scheduled.pipeline != "none" or interface.needs_clock:
            raise CompilerError(f"the target {target.name} has no clock; it takes only the pipeline none")
        files = target.write_circuit(graph, top)
    else:
        raise TypeError(f"the target {target.name} has neither write nor write_circuit")
    return BuildPlan(
        top=top,
        core=core,
        interface=interface,
        target=target.name,
        language=target.language,
        files=files.texts,
        latency_cycles=scheduled.latency_cycles,
        feature_bits=features.width or 0,
        outputs={refs[net].signal.name: graph.node(net).width for net in graph.outputs()},
        binary_files=files.binaries,
    )


def _check_names(refs: Mapping[int, Ref], modules: Sequence[Module], core: TopModule, top: str) -> None:
    """Make sure that no two things have the same name, which outputs and layers of a graph file may bring about."""
    vectors = {ref.signal.name for ref in refs.values() if ref.bit is not None}
    words = [ref.signal.name for ref in refs.values() if ref.bit is None]
    ports = [*core.controls, *(port.name for port in core.load_ports), core.features.name]
    files = [module.name for module in modules]
    for names in (
        [*vectors, *words, *ports, *(module.instance for module in modules), core.name],
        [*files, *dict.fromkeys((core.name, top)), core.package_name, *[core.table_name] * bool(core.load_ports)],
        *(map(lut_name, module.luts) for module in modules),
    ):
        name, count = max(Counter(names).items(), key=itemgetter(1), default=("", 1))
        if count > 1:
            raise CompilerError(f"two things in the hardware would be called {name}; rename an output or a layer")


def _split_modules(
    graph: LutGraph,
    refs: Mapping[int, Ref],
    features: Signal,
    top: str,
    controls: tuple[str, ...],
    loads: LoadMap | None,
) -> list[Module]:
    """One module per layer that computes or registers anything."""
    members: dict[str, list[int]] = {layer: [] for layer in graph.layers}
    arrays = graph.arrays()
    exported = arrays.nets[_rows_exported(arrays)].tolist()
    signals = {refs[net].signal for net in exported if net in refs}
    for row in arrays.by_origin[np.argsort(_depth_in_layer(arrays)[arrays.by_origin], kind="stable")].tolist():
        net, node = int(arrays.nets[row]), arrays.nodes[row]
        if not isinstance(node.op, Input | Bit | Const | Output):
            members[node.origin.layer].append(net)
    values = _values(graph, refs, features)
    return [
        _make_module(graph, refs, values, layer, nets, signals, top, controls, loads)
        for layer, nets in members.items()
        if nets
    ]


def _depth_in_layer(arrays: GraphArrays) -> Rows:
    """How many nodes of the same layer lie before each node: statements in this order never read what comes later."""
    same_layer = arrays.layer_ranks[arrays.operands] == arrays.layer_ranks[arrays.readers]
    return arrays.longest_path_before(np.ones(len(arrays), dtype=np.int64), same_layer)


def _rows_exported(arrays: GraphArrays) -> Rows:
    """What is read in another layer, or by an output."""
    is_output = np.zeros(len(arrays), dtype=np.bool_)
    is_output[arrays.rows_where(Output)] = True
    leaves = arrays.layer_ranks[arrays.operands] != arrays.layer_ranks[arrays.readers]
    return distinct(arrays.operands[leaves | is_output[arrays.readers]])


def _values(graph: LutGraph, refs: Mapping[int, Ref], features: Signal) -> Mapping[int, Value]:
    """What a reader of each net reads, as the targets see it: a reference, a constant, or a slice of the input port."""
    constants = {net: node.op for net, node in graph.nodes.items() if isinstance(node.op, Const)}
    slices = {net: Slice(features, low, width) for net, low, width in feature_slices(graph)}
    bits = {
        net: Slice(features, slices[node.operands[0]].low + node.op.place, 1)
        for net, node in graph.nodes.items()
        if isinstance(node.op, Bit)
    }
    return {**refs, **constants, **slices, **bits}


def _make_module(
    graph: LutGraph,
    refs: Mapping[int, Ref],
    values: Mapping[int, Value],
    layer: str,
    nets: Sequence[int],
    signals_exported: Set[Signal],
    top: str,
    controls: tuple[str, ...],
    loads: LoadMap | None,
) -> Module:
    nodes = {net: graph.node(net) for net in nets}
    statements = [_state(graph, values, refs[net], node) for net, node in nodes.items()]
    groups = _load_groups(loads, dict(zip(nets, statements, strict=True)))
    own = {refs[net].signal for net in nets}
    read = {signal for statement in statements for signal in statement.signals_read()}
    exported = own & signals_exported
    registers = tuple(sorted((s for s in statements if isinstance(s.op, Register)), key=lambda s: s.result))
    return Module(
        name=f"{top}_{stage_name(layer)}",
        instance=f"{stage_name(layer)}_stage",
        title=_title(graph, layer, list(nodes.values())),
        inputs=(*(_load_signals(loads) if loads and groups else ()), *sorted(read - own)),
        outputs=tuple(sorted(exported)),
        internals=tuple(sorted(own - exported)),
        bits=tuple(s for s in statements if isinstance(s.op, Lut | Compare)) if not groups else (),
        groups=groups,
        words=tuple(s for s in statements if not isinstance(s.op, Lut | Compare | Register)),
        registers=registers,
        controls=controls if registers or groups else (),
    )


def _load_groups(loads: LoadMap | None, statements: Mapping[int, Statement]) -> tuple[LoadGroup, ...]:
    """The groups of reloadable tables among the LUTs of a module; all of its LUTs, or none."""
    if loads is None:
        return ()
    return tuple(
        LoadGroup(number, loads.entry_bits, loads.address_bits, tuple(statements[net] for net in nets))
        for number, nets in enumerate(loads.groups)
        if nets[0] in statements
    )


def _load_signals(loads: LoadMap) -> tuple[Signal, ...]:
    return tuple(map(Signal, LOAD_PORTS, (None, loads.address_bits, LOAD_BITS)))


def _state(graph: LutGraph, values: Mapping[int, Value], result: Ref, node: Node) -> Statement:
    operands = tuple(values[operand] for operand in node.operands)
    signed = isinstance(node.op, Compare) and reads_signed(node, graph.nodes)
    return Statement(result, node.op, operands, node.origin, signed)


def _title(graph: LutGraph, layer: str, nodes: Sequence[Node]) -> str:
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.op.kind] = counts.get(node.op.kind, 0) + 1
    compares_bits = any(isinstance(graph.node(operand).op, Bit) for node in nodes for operand in node.operands)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return f"{layer}: {kinds}{ABOUT_COMPARATORS if compares_bits else ''}"


def _connect(
    graph: LutGraph,
    refs: Mapping[int, Ref],
    features: Signal,
    load_ports: tuple[Signal, ...],
    modules: Sequence[Module],
    scheduled: Schedule,
    top: str,
) -> TopModule:
    values = _values(graph, refs, features)
    outputs = graph.outputs()
    driven = {signal for module in modules for signal in module.outputs}
    return TopModule(
        name=top,
        features=features,
        words=tuple(feature_words(graph)),
        load_ports=load_ports,
        outputs=tuple(refs[net].signal for net in outputs),
        internals=tuple(sorted(driven)),
        modules=tuple(modules),
        assignments=tuple((refs[net].signal, values[graph.node(net).operands[0]]) for net in outputs),
        latency_cycles=scheduled.latency_cycles,
    )
