"""Proofs that written files are the scheduled graph, one function per way of reading them back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import LutGraph
from difflut_compiler.graph_file import graph_from_json
from difflut_compiler.interface import Interface
from difflut_compiler.ops import Lut, PopCount
from difflut_compiler.schedule import Schedule
from difflut_compiler.tools import make_folder, run_yosys, tool_version
from difflut_compiler.verify.certificate import Finding, require_some
from difflut_compiler.verify.cut import Edge, feature_bit_names, reference_circuit, whole_reference
from difflut_compiler.verify.equivalence import Verdict, check_equivalence, check_read_back
from difflut_compiler.verify.netlist import (
    Netlist,
    cut_hardware,
    output_bit_names,
    read_back,
    tie_inputs,
    whole_hardware,
)

WHOLE_PROOF_MAX_LUTS = 1000
WHOLE_PROOF_MAX_COUNT = 12
"""Equal sums of more bits in different adder shapes are beyond SAT; cut at every adder they are easy."""


def prove_netlist(plan: BuildPlan, scheduled: Schedule, lowered: LutGraph | None, folder: Path) -> Finding:
    """RTL or a netlist with names, read by Yosys, equals the scheduled graph at every net, for every input.

    A small one is also proven to be ``lowered`` in one piece, if that is given.
    """
    product = "netlist" if plan.language == "blif" else "RTL"
    netlist = read_back(plan, folder)
    bits = same_tables = 0
    for number, (edge, controls) in enumerate(_clock_edges(plan.interface)):
        tied, place = tie_inputs(netlist, controls), make_folder(folder, f"edge_{number}")
        verdict, compared = prove_cut(tied, scheduled, place, edge)
        bits += compared
        same_tables += verdict.same_tables
        if not verdict.equivalent:
            where = "".join(f", {name} {value:d}" for name, value in controls.items())
            message = _name_nets(verdict.message, scheduled.graph)
            raise MismatchError(f"the {product} is not the graph{where}: {message}")
    if lowered is None or plan.interface.clock_enable:
        whole = "cut only"
    else:
        running = tie_inputs(netlist, dict.fromkeys(plan.interface.controls, False))
        whole = prove_whole(running, lowered, make_folder(folder, "whole"))
    reader = "ghdl and yosys" if plan.language == "vhdl" else "yosys"
    reason = (
        f"every LUT, comparator, sum and register proven at its own cut point, {product} read by {reader}: "
        f"{same_tables} bits as the same tables, {bits - same_tables} by SAT; {whole}"
    )
    if plan.interface.controls:
        reason += f"; what registers do proven for every value of {' and '.join(plan.interface.controls)}"
    if plan.interface.reloadable:
        reason += "; with the tables that it starts with: that they change when written is left to the simulation"
    if not plan.interface.is_plain:
        reason += f"; of {plan.core}: the {plan.interface.kind} interface around it is left to the simulation"
    version = tool_version("yosys") + (f", ghdl {tool_version('ghdl')}" if plan.language == "vhdl" else "")
    return Finding(require_some(bits, f"the proof of the {product}"), reason, f"{reader}, abc cec", version)


def _clock_edges(interface: Interface) -> Iterator[tuple[Edge, Mapping[str, bool]]]:
    """Every combination of values of the ports that control registers, and what these do then; first, they load."""
    resets, enables = [False, True][: 1 + interface.reset], [True, False][: 1 + interface.clock_enable]
    for reset, enable in itertools.product(resets, enables):
        edge = Edge.CLEAR if reset else Edge.LOAD if enable else Edge.HOLD
        yield edge, {name: value for name, value in (("enable", enable), ("rst", reset)) if name in interface.controls}


def _name_nets(message: str, graph: LutGraph) -> str:
    """What ABC says, with the places in the network behind the cut bits ``n12.0.next`` and ``output_name.0.next``."""

    def place(bit: re.Match[str]) -> str:
        return f"{graph.describe(int(bit[1]))} bit {bit[2]}" if int(bit[1]) in graph else bit[0]

    message = re.sub(r"\bn(\d+)\.(\d+)\.next\b", place, message)
    return re.sub(r"\boutput_(\w+)\.(\d+)\.next\b", r"output \1 bit \2", message)


def prove_cut(netlist: Netlist, scheduled: Schedule, folder: Path, edge: Edge = Edge.LOAD) -> tuple[Verdict, int]:
    """Whether a netlist equals the scheduled graph at every net, and how many bits were compared.

    ``edge`` is what its registers are to do.
    """
    hardware = cut_hardware(netlist, scheduled.graph)
    reference = reference_circuit(scheduled.graph, hardware.joined, hardware.absent, edge)
    return check_equivalence(reference, hardware.circuit, folder), len(reference.outputs)


def prove_whole(netlist: Netlist, lowered: LutGraph, folder: Path) -> str:
    """Prove a small netlist equal to the lowered graph in one piece; returns the sentence on it for the certificate."""
    counts = [len(lowered.node(net).operands) for net in lowered if isinstance(lowered.node(net).op, PopCount)]
    luts = sum(isinstance(lowered.node(net).op, Lut) for net in lowered)
    if max(counts, default=0) > WHOLE_PROOF_MAX_COUNT or luts > WHOLE_PROOF_MAX_LUTS:
        return (
            f"too large for a proof in one piece (up to {WHOLE_PROOF_MAX_LUTS} LUTs, {WHOLE_PROOF_MAX_COUNT} per class)"
        )
    verdict = check_equivalence(whole_reference(lowered), whole_hardware(netlist, lowered), folder)
    if not verdict.equivalent:
        raise MismatchError(f"the RTL is not the lowered graph: {verdict.message}")
    return "also proven against the lowered graph in one piece, from features to class"


def prove_aiger(
    plan: BuildPlan,
    scheduled: Schedule,
    lowered: LutGraph | None,  # noqa: ARG001 - one signature for all languages
    folder: Path,
) -> Finding:
    """Both AIGER files equal the graph in one piece: the binary one as ABC reads it, the text one as Yosys does.

    The gates of the reference are made independently, but from the same sums, so the proof finds equal nets on its way.
    """
    plan.write(folder)
    reference = whole_reference(scheduled.graph)
    text, binary = f"{plan.top}.aag", f"{plan.top}.aig"
    run_yosys(f"read_aiger -clk_name none {text}\nwrite_blif from_text.blif\n", folder)
    _check_symbols(plan, scheduled.graph)
    for reader, read in (("abc", f"read_aiger ../{binary}"), ("yosys", "read_blif ../from_text.blif")):
        verdict = check_read_back(reference, read, make_folder(folder, reader))
        if not verdict.equivalent:
            raise MismatchError(f"the AIGER file read by {reader} is not the graph: {verdict.message}")
    bits = require_some(2 * len(reference.outputs), "the proof of the AIGER files")
    reason = "all output bits, for every input; the binary file read by abc, the text file by yosys"
    return Finding(bits, reason, "abc cec, yosys", tool_version("abc"))


def _check_symbols(plan: BuildPlan, graph: LutGraph) -> None:
    """Both files have the graph's ports, in the order of the reference and under their names, and no latch."""
    inputs, outputs = list(feature_bit_names(graph)), list(output_bit_names(graph))
    symbols = [f"i{place} {name}" for place, name in enumerate(inputs)]
    symbols += [f"o{place} {name}" for place, name in enumerate(outputs)]
    table = "\n".join(symbols).encode()
    for name, content in plan.all_files.items():
        data = content.encode() if isinstance(content, str) else content
        counts = data.split(b"\n", maxsplit=1)[0].split()[2:5]
        if counts != [b"%d" % len(inputs), b"0", b"%d" % len(outputs)] or table not in data:
            raise MismatchError(f"{name} has other inputs, outputs or latches than the circuit")


def compare_json(
    plan: BuildPlan,
    scheduled: Schedule,
    lowered: LutGraph | None,  # noqa: ARG001 - one signature for all languages
    folder: Path,  # noqa: ARG001
) -> Finding:
    """The file loads to a graph equal to the one it was written from: every node, operand, table and origin."""
    found, graph = graph_from_json(plan.files[f"{plan.top}.json"]), scheduled.graph
    if (found.name, found.layers, found.snapshot()) != (graph.name, graph.layers, graph.snapshot()):
        different = found.snapshot().items() ^ graph.snapshot().items()
        raise MismatchError(f"the graph file is another graph: {len(different)} nodes differ, or its name or layers")
    return Finding(
        require_some(len(graph), "the comparison of the graph"),
        "every node loads as it was",
        "python",
        tool_version("python"),
    )
