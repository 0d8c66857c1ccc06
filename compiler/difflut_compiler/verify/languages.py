"""What can be checked about files in each language, and with what: the table behind rungs 3 to 5.

A target names its language; a target in a language that is not listed here is written, and its certificate says that
its files were not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.emit import BuildPlan
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph
from difflut_compiler.schedule import Schedule
from difflut_compiler.tools import find_tool, missing_tools, require_tool
from difflut_compiler.verify.certificate import Finding
from difflut_compiler.verify.prove_files import compare_json, prove_aiger, prove_netlist
from difflut_compiler.verify.run_program import run_program
from difflut_compiler.verify.simulate import SimulationResult, simulate

Answers = Mapping[str, NDArray[np.int64]]
Prove = Callable[[BuildPlan, Schedule, LutGraph | None, Path], Finding]
"""``(plan, scheduled graph, lowered graph or None, empty folder)``; raises :class:`MismatchError` on a difference."""
Simulate = Callable[[BuildPlan, LutGraph, NDArray[np.int64], Answers, str, Path], SimulationResult]
"""``(plan, graph, inputs, expected answers, simulator, empty folder)``; raises :class:`MismatchError`, too."""


@dataclass(frozen=True)
class Language:
    """How files in one language are checked against the graph that they were made from.

    ``product`` is what the certificate calls the files. ``prove`` needs all of ``proof_tools``, ``simulate`` one of
    ``simulators``, the preferred one first, and all of ``bench_tools``; where one is None, ``unproven`` or
    ``unsimulated`` says why.
    """

    product: str
    prove: Prove | None = None
    prover: str = "abc"
    proof_tools: tuple[str, ...] = ()
    unproven: str = ""
    simulate: Simulate | None = None
    simulators: tuple[str, ...] = ()
    bench_tools: tuple[str, ...] = ()
    unsimulated: str = ""

    @property
    def no_proof(self) -> str:
        """Why nothing can be proven here and now; empty if it can."""
        return self.unproven if self.prove is None else missing_tools(self.proof_tools)

    @property
    def installed_simulator(self) -> str | None:
        """The preferred one of the simulators that can be run."""
        if not all(map(find_tool, self.bench_tools)):
            return None
        return next((simulator for simulator in self.simulators if find_tool(simulator)), None)

    @property
    def no_simulation(self) -> str:
        """Why nothing can be simulated here and now; empty if it can."""
        if self.simulate is None:
            return self.unsimulated
        return "" if self.installed_simulator else missing_tools((*self.bench_tools, *self.simulators))


def _hardware(simulators: tuple[str, ...], proof_tools: tuple[str, ...] = ("yosys",)) -> Language:
    return Language(
        "RTL",
        prove=prove_netlist,
        proof_tools=proof_tools,
        simulate=simulate,
        simulators=simulators,
        bench_tools=("cocotb",),
    )


NO_NETLIST_SIMULATION = "a netlist is proven for every input; there is no simulator for it here"
LANGUAGES: dict[str, Language] = {
    "verilog": _hardware(("iverilog", "verilator")),
    "systemverilog": _hardware(("iverilog", "verilator")),
    "vhdl": _hardware(("ghdl",), proof_tools=("yosys", "ghdl")),
    "blif": Language("netlist", prove=prove_netlist, proof_tools=("yosys",), unsimulated=NO_NETLIST_SIMULATION),
    "aiger": Language("netlist", prove=prove_aiger, proof_tools=("yosys",), unsimulated=NO_NETLIST_SIMULATION),
    "c": Language(
        "C program",
        unproven="a C program is not read back; it is compiled and run instead",
        simulate=run_program,
        simulators=("gcc", "g++"),
    ),
    "json": Language(
        "graph file",
        prove=compare_json,
        prover="python",
        unsimulated="the file loads to the graph itself: there is nothing to simulate",
    ),
}


def language_of(name: str) -> Language:
    """The language of that name; one that nothing is known about if it is not in :data:`LANGUAGES`."""
    unknown = f"DiffLUT cannot read the language {name!r}"
    return LANGUAGES.get(name, Language("output", unproven=unknown, unsimulated=unknown))


def choose_simulator(name: str, preferred: str | None) -> str | None:
    """The simulator to use for a language: the preferred one, else the first installed one, else None.

    Raises :class:`CompilerError` if the preferred one cannot simulate the language, :class:`ToolMissingError` if it or
    what it is run with is missing.
    """
    language = language_of(name)
    if preferred is None:
        return language.installed_simulator
    if preferred not in language.simulators:
        choice = f"choose {' or '.join(language.simulators)}" if language.simulators else language.unsimulated
        raise CompilerError(f"{preferred} does not simulate {name}; {choice}")
    for tool in (preferred, *language.bench_tools):
        require_tool(tool)
    return preferred
