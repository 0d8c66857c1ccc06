"""Approximations: each makes the network smaller by changing a little what it computes, within an accuracy budget.

None runs unless it is asked for. They come before the passes: the approximated graph is what every later check compares
with, and the certificate says what was changed and what that cost.
"""

from difflut_compiler.approximations.narrow_encoder import NarrowEncoder
from difflut_compiler.approximations.replace_luts import ReplaceLuts
from difflut_compiler.approximations.runner import Approximation, Record, approximate

__all__ = ["Approximation", "NarrowEncoder", "Record", "ReplaceLuts", "approximate"]
