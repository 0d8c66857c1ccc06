"""Passes: each makes the graph smaller or simpler without changing what it computes.

``OPTIMISE`` is what every compile runs until nothing changes; ``EXPAND`` turns sums and the argmax into the adders and
comparisons that the hardware is made of, once, at the end.
"""

from difflut_compiler.passes.absorb_inverters import AbsorbInverters
from difflut_compiler.passes.drop_dead import DropDead
from difflut_compiler.passes.drop_unused_inputs import DropUnusedInputs
from difflut_compiler.passes.expand_argmax import ExpandArgMax
from difflut_compiler.passes.expand_popcount import ExpandPopCount
from difflut_compiler.passes.fold_constants import FoldConstants
from difflut_compiler.passes.merge_duplicates import MergeDuplicates
from difflut_compiler.passes.runner import Pass, PassResult, PassStep, run_passes

OPTIMISE: tuple[Pass, ...] = (FoldConstants(), DropUnusedInputs(), AbsorbInverters(), MergeDuplicates(), DropDead())
EXPAND: tuple[Pass, ...] = (ExpandPopCount(), ExpandArgMax(), FoldConstants(), MergeDuplicates(), DropDead())
PASSES: dict[str, Pass] = {one.name: one for one in (*OPTIMISE, *EXPAND)}

__all__ = [
    "EXPAND",
    "OPTIMISE",
    "PASSES",
    "AbsorbInverters",
    "DropDead",
    "DropUnusedInputs",
    "ExpandArgMax",
    "ExpandPopCount",
    "FoldConstants",
    "MergeDuplicates",
    "Pass",
    "PassResult",
    "PassStep",
    "run_passes",
]
