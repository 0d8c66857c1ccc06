"""Target languages. A target is a module here and a folder of templates; see :mod:`.target` for the contract."""

from difflut_compiler.targets.target import Target
from difflut_compiler.targets.verilog import Verilog
from difflut_compiler.targets.vhdl import Vhdl

TARGETS: dict[str, Target] = {target.name: target for target in (Verilog(), Vhdl())}

__all__ = ["TARGETS", "Target", "Verilog", "Vhdl"]
