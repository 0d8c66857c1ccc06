"""Sweeps: many trainings over a space of configurations, by one worker or many, and which of them are worth having.

``space`` reads what is asked for, ``study`` hands trials to workers through Optuna's storage, ``trial`` trains and
measures one, ``on_ray`` has a Ray cluster start workers, ``report`` shows them all.
"""

from difflut_compiler.sweep.on_ray import run_sweep_on_ray
from difflut_compiler.sweep.report import SweepResult, print_sweep, write_sweep
from difflut_compiler.sweep.run import SweepRequest, run_sweep
from difflut_compiler.sweep.space import Sweep, read_sweep

__all__ = [
    "Sweep",
    "SweepRequest",
    "SweepResult",
    "print_sweep",
    "read_sweep",
    "run_sweep",
    "run_sweep_on_ray",
    "write_sweep",
]
