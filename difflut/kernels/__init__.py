"""Fast implementations of the training rules, and which one runs.

The rules in `difflut.rules` are written in torch. Where a kernel can stand in for one, the rule asks `chosen_for`; its
torch form is then the twin that the kernel is tested against. `describe` says what runs, `use` and the environment
variable ``DIFFLUT_KERNELS`` (``torch`` or ``cpu``) force it.

The names below are loaded on first use, so that `difflut.kernels.build`, which compiles, does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difflut.kernels.choice import IMPLEMENTATIONS, KernelInfo, chosen_for, describe, use

__all__ = ["IMPLEMENTATIONS", "KernelInfo", "chosen_for", "describe", "use"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from difflut.kernels import choice

    return getattr(choice, name)
