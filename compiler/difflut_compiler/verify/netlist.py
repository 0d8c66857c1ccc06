"""Reading the hardware back: RTL text, through Yosys (and GHDL for VHDL), to a circuit cut at the graph's nets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

from difflut_compiler.circuits.blif import Circuit
from difflut_compiler.circuits.gates import ONE, ZERO, table_lines
from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import LutGraph
from difflut_compiler.names import name_nets, stage_name
from difflut_compiler.ops import Output, Register
from difflut_compiler.rtl_sources import read_commands, write_sources
from difflut_compiler.tools import run_yosys
from difflut_compiler.verify.cut import cut_names, cut_word, feature_bit_names, next_of

# The first cleaning is for `flatten`, which takes its time for each wire of each module. Every adder and comparison is
# mapped on its own: `alumacc` on the whole would join adders, whose sums are cut points, and make a > b of b > a. An
# index that the cell map leaves may reach beyond what it indexes, and a division may be one by zero; `techmap` would
# choose what comes of it.
YOSYS_SCRIPT = """
{read}
hierarchy -check -top {top}
proc
opt_clean
flatten
opt_clean
{before_reading}
write_rtlil netlist.il
wreduce
techmap -map cell_map.v
opt_expr
opt_clean
techmap t:$lut t:$shiftx %u t:$div* %u t:$mod* %u %n
techmap t:$lut t:$shiftx %u t:$div* %u t:$mod* %u %n
simplemap t:$lut %n
opt_clean
check -assert
write_blif -conn netlist.blif
"""

# A memory that nothing writes keeps what it starts with; a rule of the cell map makes it a look-up table.
NO_LOADING = """
cd {top}
delete -input load load_address load_data
connect -set load 1'b0
cd
opt_expr
opt_clean
memory_collect
opt_mem
techmap -map cell_map.v t:$mem_v2
opt_clean
"""

# What GHDL calls the wires that it makes, n12_o: without a name to keep, Yosys cleans them away. Nets of the graph have
# no such names, since what ends in a part has a number before it: layer_12_part.
HIDE_WIRES_OF_GHDL = "rename -hide w:n*_o w:n*_*_o %d"

BLIF_SCRIPT = """
{read}
hierarchy -check -top {top}
check -assert
write_rtlil netlist.il
write_blif -conn netlist.blif
"""

HARDWARE_ONLY = "$hw"
"""What the names of nets begin with that the graph does not know."""
CONSTANT_NETS = {"$false": ZERO, "$true": ONE}
UNDEFINED = "$undef"
UNDEFINED_CONSTANT = re.compile(r"\b\d+'[01xz-]*[xz-][01xz-]*(?![\w'])")


@dataclass(frozen=True)
class CutHardware:
    """The hardware as a cut circuit, which cut bits are the same wire as another bit or as a constant, and which it
    does without: nothing reads them, since what they would be compared with is a constant.
    """

    circuit: Circuit
    joined: Mapping[str, str]
    absent: frozenset[str]


def read_back(plan: BuildPlan, folder: Path) -> Netlist:
    """The network in ``plan``, without a wrapper and with the tables that it starts with, as Yosys understands it.

    Raises :class:`MismatchError` on a cell that it must not have.
    """
    script = BLIF_SCRIPT if plan.language == "blif" else YOSYS_SCRIPT
    read = read_commands(write_sources(plan, folder, plan.core))
    if plan.language == "vhdl":
        read = f"{read}\n{HIDE_WIRES_OF_GHDL}"
    unloaded = NO_LOADING.format(top=plan.core) if plan.interface.reloadable else ""
    run_yosys(script.format(read=read, top=plan.core, before_reading=unloaded), folder)
    with (folder / "netlist.il").open() as lines:
        _refuse_undefined(lines)
    with (folder / "netlist.blif").open() as lines:
        return replace(_parse_blif(lines), flat=plan.language == "blif")


def _refuse_undefined(lines: Iterable[str]) -> None:
    """Refuse hardware with an undefined bit anywhere: simplification would take it for whatever suits."""
    for line in lines:
        found = UNDEFINED_CONSTANT.search(line)
        if found:
            raise MismatchError(f"the hardware holds the undefined value {found[0]}")


def tie_inputs(netlist: Netlist, values: Mapping[str, bool]) -> Netlist:
    """The netlist with constants at some of its inputs; without registers, it need not have these inputs."""
    missing = values.keys() - set(netlist.inputs)
    if missing and netlist.registers:
        raise MismatchError(f"the hardware has no input {min(missing)}")
    constants = {name: "$true" if value else "$false" for name, value in values.items() if name not in missing}
    inputs = [name for name in netlist.inputs if name not in constants]
    return replace(netlist, inputs=inputs, aliases={**netlist.aliases, **constants})


@dataclass
class Netlist:
    """A flat netlist: ports, tables ``(nets, rows)``, registers ``result -> source``, and wires that are only names.

    Nets are named by the instance of their module, a dot and their signal; without the instance if ``flat``.
    """

    inputs: list[str]
    outputs: list[str]
    tables: list[tuple[list[str], list[str]]]
    registers: dict[str, str]
    clocks: set[str]
    aliases: dict[str, str]
    flat: bool = False

    def logic(self) -> Iterator[tuple[list[str], list[str]]]:
        """The tables, without those at the head of the file that define the constants.

        Pins are in the order of the graph, address bit 0 first. Yosys writes them the other way round.
        """
        for nets, rows in self.tables:
            if nets[-1] not in (*CONSTANT_NETS, UNDEFINED):
                yield [*nets[-2::-1], nets[-1]], sorted(row[-3::-1] + row[-2:] for row in rows)


def _parse_blif(lines: Iterable[str]) -> Netlist:
    netlist = Netlist([], [], [], {}, set(), {})
    for line in _joined(lines):
        words = line.split()
        if not words or words[0] in (".model", ".end") or line.startswith("#"):
            continue
        if words[0] == ".inputs":
            netlist.inputs += words[1:]
        elif words[0] == ".outputs":
            netlist.outputs += words[1:]
        elif words[0] == ".names":
            netlist.tables.append((words[1:], []))
        elif words[0] == ".latch":
            source, result, edge, clock = words[1:5]
            if edge != "re":
                raise MismatchError(f"register {result} is not clocked by a rising edge")
            netlist.registers[result] = source
            netlist.clocks.add(clock)
        elif words[0] == ".conn":
            netlist.aliases[words[2]] = words[1]
        elif words[0].startswith("."):
            raise MismatchError(f"the hardware holds a cell that the circuit does not have: {line[:120]}")
        else:
            netlist.tables[-1][1].append(line)
    return netlist


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Lines with their continuations (a backslash at the end) joined."""
    pending = ""
    for line in lines:
        pending += line.rstrip("\n")
        if pending.endswith("\\"):
            pending = pending[:-1]
        else:
            yield pending
            pending = ""


def cut_hardware(netlist: Netlist, graph: LutGraph) -> CutHardware:
    """The hardware cut at the nets of the scheduled ``graph``.

    Raises :class:`MismatchError` if the hardware has other registers, clocks or signals than the graph says.
    """
    _check_ports(netlist, graph)
    names = cut_names(graph)
    wires = _Wires(netlist.aliases, _hardware_names(graph, netlist.flat))
    cut_bits = frozenset(names.cut_bits)
    lines = [f".names {ZERO}", f".names {ONE}", "1"]
    driven: set[str] = set()
    read: set[str] = set()

    def source_name(net: str) -> str:
        read.add(wires[net])
        return wires[net]

    def result_name(net: str) -> str:
        bit = wires[net]
        driven.add(bit)
        return next_of(bit) if bit in cut_bits else bit

    for nets, rows in netlist.logic():
        lines += table_lines([source_name(net) for net in nets[:-1]], rows, result_name(nets[-1]))
    for result, source in netlist.registers.items():
        lines += [f".names {source_name(source)} {result_name(result)}", "1 1"]
    for hardware, bit in output_bit_names(graph).items():
        lines += [f".names {source_name(hardware)} {next_of(bit)}", "1 1"]
    undriven = [bit for bit in names.cut_bits if bit not in driven and bit not in wires.joined]
    missing = [bit for bit in undriven if bit in read]
    if missing:
        net = int(missing[0].removeprefix("n").split(".")[0])
        raise MismatchError(
            f"the hardware does not drive {len(missing)} of the circuit's bits, first {graph.describe(net)}"
        )
    _refuse_undriven(read, driven)
    absent = {*undriven, *(bit for bit, same in wires.joined.items() if same in undriven)}
    of_registers = _register_bits(graph)
    held = {wires[result] for result in netlist.registers}
    for bit, same in wires.joined.items():
        if bit not in absent:
            # Two registers that are one in hardware are to load the same; else a bit is what its wire is.
            source = next_of(same) if bit in of_registers and same in of_registers & held else same
            lines += [f".names {source} {next_of(bit)}", "1 1"]
    _check_registers(netlist, of_registers - absent, wires)
    outputs = [next_of(bit) for bit in (*names.cut_bits, *names.output_bits) if bit not in absent]
    return CutHardware(Circuit(names.inputs, outputs, lines), wires.joined, frozenset(absent))


class _Wires:
    """Names of the hardware's nets: the cut's name where a net is one of the graph's, a name of its own elsewhere.

    Several bits of the graph may be one wire in hardware (a multiplexer between constants is its select line). The
    earliest of them keeps the name; ``joined`` says of every other one which bit, or constant, it is the same wire as.
    Bits that Yosys found to be read by nothing are undefined in what it writes, and have no name: no hardware with an
    undefined bit of its own gets here, and what reads one of these is refused.
    """

    def __init__(self, aliases: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._parent = dict(aliases)
        self._name: dict[str, str] = {}
        self.joined: dict[str, str] = {}
        for constant, name in CONSTANT_NETS.items():
            self._name[self._root(constant)] = name
        for hardware, bit in names.items():
            root = self._root(hardware)
            first = self._name.setdefault(root, bit) if root != UNDEFINED else bit
            if first != bit:
                self.joined[bit] = first

    def _root(self, net: str) -> str:
        path = []
        while net in self._parent:
            path.append(net)
            net = self._parent[net]
        for seen in path:
            self._parent[seen] = net
        return net

    def __getitem__(self, net: str) -> str:
        root = self._root(net)
        if root == UNDEFINED:
            raise MismatchError("the hardware reads an undefined value")
        return self._name.get(root, f"{HARDWARE_ONLY}{root}")


def whole_hardware(netlist: Netlist, graph: LutGraph) -> Circuit:
    """The hardware in one piece, from the features to the outputs, its registers looked through."""
    ports = feature_bit_names(graph)
    wires = _Wires(netlist.aliases, ports)
    lines = [f".names {ZERO}", f".names {ONE}", "1"]
    for nets, rows in netlist.logic():
        lines += table_lines([wires[net] for net in nets[:-1]], rows, wires[nets[-1]])
    for result, source in netlist.registers.items():
        lines += [f".names {wires[source]} {wires[result]}", "1 1"]
    outputs = output_bit_names(graph)
    read = {wires[net] for nets, _ in netlist.logic() for net in nets[:-1]} | {wires[net] for net in outputs}
    _refuse_undriven(read, {wires[nets[-1]] for nets, _ in netlist.logic()} | {wires[net] for net in netlist.registers})
    for hardware, bit in outputs.items():
        lines += [f".names {wires[hardware]} {next_of(bit)}", "1 1"]
    return Circuit(list(ports.values()), [next_of(bit) for bit in outputs.values()], lines)


def _hardware_names(graph: LutGraph, flat: bool) -> dict[str, str]:
    """Hardware names of all bits of the graph to their cut names, operands before readers."""
    refs = name_nets(graph)
    names = feature_bit_names(graph)
    for net in graph.order():
        node = graph.node(net)
        if net in refs and not isinstance(node.op, Output):
            instance = "" if flat else f"{stage_name(node.origin.layer)}_stage."
            bits = refs[net].bit_names()
            names.update((f"{instance}{bit}", cut) for bit, cut in zip(bits, cut_word(graph, net), strict=True))
    return names


def output_bit_names(graph: LutGraph) -> dict[str, str]:
    """Names of the bits of the output ports to their cut names, in the order of the outputs."""
    refs = name_nets(graph)
    return {
        hardware: bit
        for net in graph.outputs()
        for hardware, bit in zip(refs[net].bit_names(), cut_word(graph, net), strict=True)
    }


def _check_ports(netlist: Netlist, graph: LutGraph) -> None:
    """The hardware has the ports of the graph, bit for bit, and no other: a further input could change anything."""
    clock = ["clk"] if any(isinstance(graph.node(net).op, Register) for net in graph) else []
    for kind, found, wanted in (
        ("inputs", netlist.inputs, [*feature_bit_names(graph), *clock]),
        ("outputs", netlist.outputs, list(output_bit_names(graph))),
    ):
        different = sorted(set(found) ^ set(wanted))
        if different:
            raise MismatchError(f"the hardware has other {kind} than the circuit: {', '.join(different[:4])}")


def _refuse_undriven(read: Set[str], driven: Set[str]) -> None:
    """What is read must be driven; the clock, which only registers may see, is not driven by anything either."""
    undriven = sorted(net for net in read - driven if net.startswith(HARDWARE_ONLY))
    if undriven:
        net = undriven[0].removeprefix(HARDWARE_ONLY)
        raise MismatchError(f"the hardware reads {net}, which is no data of the circuit")


def _register_bits(graph: LutGraph) -> set[str]:
    registers = [net for net in graph if isinstance(graph.node(net).op, Register)]
    return {bit for net in registers for bit in cut_word(graph, net)}


def _check_registers(netlist: Netlist, scheduled: Set[str], wires: _Wires) -> None:
    """The hardware has exactly the registers of the schedule that it needs, all on the one clock.

    It may do without those that it makes constants, and may have one for several: that what they would hold is that
    constant, or what the one holds, is proven.
    """
    expected = {wires.joined.get(bit, bit) for bit in scheduled} - {ZERO, ONE}
    found = {wires[result] for result in netlist.registers}
    if found != expected:
        raise MismatchError(
            f"the hardware has {len(found)} register bits, the schedule {len(expected)}; "
            f"{len(found ^ expected)} are not in both"
        )
    if netlist.clocks - {"clk"}:
        raise MismatchError(f"the hardware is clocked by {sorted(netlist.clocks)}, not by clk alone")
