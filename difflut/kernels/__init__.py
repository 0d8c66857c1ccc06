"""Fast implementations of the training rules, and which one runs.

The rules in `difflut.rules` are written in torch. Where a kernel can stand in for one, the rule asks `chosen_for`; its
torch form is then the twin that the kernel is tested against. `describe` says what runs, `use` and the environment
variable ``DIFFLUT_KERNELS`` (``torch`` or ``cpu``) force it.
"""

from difflut.kernels.choice import IMPLEMENTATIONS, KernelInfo, chosen_for, describe, use

__all__ = ["IMPLEMENTATIONS", "KernelInfo", "chosen_for", "describe", "use"]
