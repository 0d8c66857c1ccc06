"""Target languages. A target is a module here and a folder of templates; see :mod:`.target` for the contract."""

from pathlib import Path

from difflut_compiler.errors import CompilerError
from difflut_compiler.output import RESULT_FOLDERS
from difflut_compiler.targets.aiger import Aiger
from difflut_compiler.targets.blif import Blif
from difflut_compiler.targets.c import C
from difflut_compiler.targets.graph_json import Json
from difflut_compiler.targets.systemverilog import SystemVerilog
from difflut_compiler.targets.target import CircuitFiles, CircuitTarget, HardwareTarget, Target
from difflut_compiler.targets.templates import add_templates
from difflut_compiler.targets.verilog import Verilog
from difflut_compiler.targets.vhdl import Vhdl

TARGETS: dict[str, Target] = {
    target.name: target for target in (Verilog(), SystemVerilog(), Vhdl(), Blif(), Aiger(), C(), Json())
}


def register_target(target: Target, templates: Path | None = None) -> None:
    """Add a target under its name, and the folder that holds its folder of templates.

    Raises :class:`CompilerError` if there is a target of that name, or if its files would go to an unknown place.
    """
    if target.name in TARGETS:
        raise CompilerError(f"there is a target {target.name!r} already; choose another name")
    if target.folder not in RESULT_FOLDERS:
        raise CompilerError(f"the target {target.name} writes to {target.folder!r}; choose of {RESULT_FOLDERS}")
    TARGETS[target.name] = target
    if templates is not None:
        add_templates(templates)


def find_target(name: str) -> Target:
    """The target of that name; raises :class:`CompilerError` if there is none."""
    if name not in TARGETS:
        raise CompilerError(f"there is no target {name!r}; choose one of {', '.join(TARGETS)}")
    return TARGETS[name]


__all__ = [
    "TARGETS",
    "Aiger",
    "Blif",
    "C",
    "CircuitFiles",
    "CircuitTarget",
    "HardwareTarget",
    "Json",
    "SystemVerilog",
    "Target",
    "Verilog",
    "Vhdl",
    "find_target",
    "register_target",
]
