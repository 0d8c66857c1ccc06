"""The rungs of the ladder that look at written files: read back, simulated, and refused with a flipped bit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.emit import BuildPlan
from difflut_compiler.graph import LutGraph
from difflut_compiler.schedule import Schedule
from difflut_compiler.side_by_side import SideBySide, side_by_side
from difflut_compiler.tools import make_folder
from difflut_compiler.verify import ladder
from difflut_compiler.verify.certificate import Finding, Rung, climb, not_checked
from difflut_compiler.verify.languages import choose_simulator, language_of
from difflut_compiler.verify.simulate import SimulationResult

SIMULATION_BUDGET = 12_000_000
"""LUT evaluations that a simulation may take by default: half a minute in an event-driven simulator."""


class FileChecks:
    """Rungs 3 to 5 of the files in ``plan``, which a scheduled graph was written to, with the tools that are there.

    ``inputs`` ``(samples, features)`` are simulated and must give ``expected``; ``lowered`` is the graph before all
    passes, if it is known. ``folder`` is empty and for the tools.
    """

    def __init__(
        self,
        plan: BuildPlan,
        scheduled: Schedule,
        lowered: LutGraph | None,
        inputs: NDArray[np.int64],
        expected: Mapping[str, NDArray[np.int64]],
        simulator: str | None,
        folder: Path,
    ) -> None:
        self.plan = plan
        self.scheduled = scheduled
        self.lowered = lowered
        self.inputs = inputs
        self.expected = expected
        self.folder = folder
        self.language = language_of(plan.language)
        self.simulator = choose_simulator(plan.language, simulator)
        self.simulated: SimulationResult | None = None

    def climbing(self) -> AbstractContextManager[SideBySide[Rung]]:
        """All three rungs at once, by their ids; the last one takes longest, being a proof and a simulation."""
        return side_by_side({5: self.mutation, 3: self.proof, 4: self.simulation})

    def proof(self) -> Rung:
        language, prove = self.language, self.language.prove
        if prove is None or language.no_proof:
            return not_checked(3, language.no_proof, language.product)
        folder = make_folder(self.folder, "files")
        return climb(3, lambda: prove(self.plan, self.scheduled, self.lowered, folder), language.product)

    def simulation(self) -> Rung:
        if self.simulator is None:
            return not_checked(4, self.language.no_simulation, self.language.product)
        return climb(4, self._simulate, self.language.product)

    def _simulate(self) -> Finding:
        assert self.language.simulate is not None
        assert self.simulator is not None
        luts = self.scheduled.graph.size().count_by_kind.get("lut", 0)
        samples = min(len(self.inputs), max(64, SIMULATION_BUDGET // max(1, luts)))
        self.simulated = self.language.simulate(
            self.plan,
            self.scheduled.graph,
            self.inputs[:samples],
            {name: values[:samples] for name, values in self.expected.items()},
            self.simulator,
            make_folder(self.folder, "simulation"),
        )
        finding = ladder.check_simulation(self.language, self.simulated, len(self.inputs), self.plan)
        if self.plan.interface.reloadable:
            return replace(finding, reason=f"{finding.reason}; then again with every bit of every table inverted")
        return finding

    def mutation(self) -> Rung:
        if self.language.no_proof and (self.language.prove is not None or self.simulator is None):
            return not_checked(5, self.language.no_proof)
        folder = make_folder(self.folder, "mutation")
        return climb(
            5,
            lambda: ladder.check_mutation(
                self.plan, self.scheduled, self.inputs, self.expected, self.simulator, folder
            ),
        )
