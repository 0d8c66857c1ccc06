"""Passes: each makes the graph smaller or simpler without changing what it computes.

``OPTIMISE`` is what every compile runs until nothing changes; ``EXPAND`` turns counts, the argmax and the encoder into
the LUTs and comparisons that the hardware is made of, once, at the end. Both are for LUTs of six inputs.
"""

from difflut_compiler.passes.absorb_inverters import AbsorbInverters
from difflut_compiler.passes.drop_dead import DropDead
from difflut_compiler.passes.drop_unused_inputs import DropUnusedInputs
from difflut_compiler.passes.expand_argmax import ExpandArgMax
from difflut_compiler.passes.expand_encoder import ExpandEncoder
from difflut_compiler.passes.expand_popcount import ExpandPopCount
from difflut_compiler.passes.expand_words import ExpandWords
from difflut_compiler.passes.fold_constants import FoldConstants
from difflut_compiler.passes.merge_duplicates import MergeDuplicates
from difflut_compiler.passes.pack_luts import PackLuts
from difflut_compiler.passes.resynthesise import Resynthesise
from difflut_compiler.passes.runner import Pass, PassResult, PassStep, run_passes
from difflut_compiler.passes.use_dont_cares import UseDontCares

LUT_INPUTS = (4, 5, 6)
"""How many inputs the LUTs of FPGA families have."""


def optimising_passes(lut_inputs: int = 6) -> tuple[Pass, ...]:
    """The passes for hardware with LUTs of so many inputs, to be run until nothing changes."""
    return (
        FoldConstants(),
        DropUnusedInputs(),
        AbsorbInverters(),
        MergeDuplicates(),
        UseDontCares(),
        PackLuts(lut_inputs),
        DropDead(),
        Resynthesise(lut_inputs),
    )


def expanding_passes(lut_inputs: int = 6) -> tuple[Pass, ...]:
    """The passes that turn sums, argmax and encoder into hardware with LUTs of so many inputs, to be run once."""
    return (
        ExpandPopCount(lut_inputs),
        ExpandArgMax(lut_inputs),
        ExpandEncoder(lut_inputs),
        ExpandWords(lut_inputs),
        FoldConstants(),
        AbsorbInverters(),
        MergeDuplicates(),
        DropDead(),
    )


OPTIMISE = optimising_passes()
"""What makes a graph smaller, repeated until nothing changes."""
EXPAND = expanding_passes()
"""What turns counts, the argmax and the encoder into LUTs, once, at the end."""
PASSES: dict[str, Pass] = {one.name: one for one in (*OPTIMISE, *EXPAND)}
"""All passes by name, in the order in which they run first."""

__all__ = [
    "EXPAND",
    "LUT_INPUTS",
    "OPTIMISE",
    "PASSES",
    "AbsorbInverters",
    "DropDead",
    "DropUnusedInputs",
    "ExpandArgMax",
    "ExpandEncoder",
    "ExpandPopCount",
    "ExpandWords",
    "FoldConstants",
    "MergeDuplicates",
    "PackLuts",
    "Pass",
    "PassResult",
    "PassStep",
    "Resynthesise",
    "UseDontCares",
    "expanding_passes",
    "optimising_passes",
    "run_passes",
]
