"""One compile from model file to checked hardware: load, lower, optimise, schedule, emit, prove, simulate."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError
from difflut_compiler.frontend import LabelledData, load_model
from difflut_compiler.graph import GraphSize, LutGraph
from difflut_compiler.names import check_identifier
from difflut_compiler.ops import Input
from difflut_compiler.passes import EXPAND, OPTIMISE, PassStep, run_passes
from difflut_compiler.passes.runner import Observer
from difflut_compiler.schedule import Schedule, check_pipeline, schedule
from difflut_compiler.synth import SynthesisCount, count_cells
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify import ladder
from difflut_compiler.verify.certificate import Certificate, Finding, Rung, climb, not_checked
from difflut_compiler.verify.simulate import SimulationResult, choose_simulator, simulate
from difflut_compiler.verify.tools import missing_tools
from difflut_compiler.verify.vectors import Vectors, make_vectors

LUTS_COUNTED_BY_DEFAULT = 6000
"""Above this many LUTs, counting by synthesis takes minutes and is done only on request."""
SIMULATION_BUDGET = 40_000_000
"""LUT evaluations that a simulation may take by default: some minutes in an event-driven simulator."""


@dataclass(frozen=True)
class CompileRequest:
    """What to compile and how.

    ``data`` is ``digits`` or the path of an ``.npz`` or ``.csv`` file to check with; ``simulator`` and ``count_luts``
    are chosen by what is installed and by size where they are None.
    """

    model_path: Path
    target: str
    top: str
    pipeline: str = "layers"
    data: str | None = None
    simulator: str | None = None
    count_luts: bool | None = None

    def check(self) -> None:
        """Refuse what cannot work before any work is done."""
        if self.target not in TARGETS:
            raise CompilerError(f"there is no target {self.target!r}; choose one of {', '.join(TARGETS)}")
        check_pipeline(self.pipeline)
        check_identifier(self.top, "the top name")
        choose_simulator(self.target, self.simulator)


@dataclass(frozen=True)
class Accuracy:
    """Share of labelled samples answered correctly, from 0 to 1; ``rtl`` is None if not all were simulated."""

    data: str
    samples: int
    model: float
    graph: float
    rtl: float | None


@dataclass(frozen=True)
class InputPort:
    """The number format of the packed port ``features``."""

    features: int
    bits: int
    signed: bool
    scale: float


@dataclass(frozen=True)
class CompileResult:
    """Everything a compile found out; the hardware is in ``plan``."""

    request: CompileRequest
    plan: BuildPlan
    graph: LutGraph
    certificate: Certificate
    input_port: InputPort
    lowered_size: GraphSize
    size: GraphSize
    synthesis: SynthesisCount | None
    accuracy: Accuracy | None
    class_names: tuple[str, ...]
    seconds: Mapping[str, float]


class StepClock:
    """Times the steps of a compile and tells whoever watches which one is running."""

    def __init__(self, on_step: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._on_step = on_step

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        if self._on_step is not None:
            self._on_step(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def compile_model(
    request: CompileRequest, *, on_step: Callable[[str], None] | None = None, observer: Observer | None = None
) -> CompileResult:
    """Compile a model file and check the result as far as the installed tools allow.

    Raises :class:`CompilerError` or :class:`difflut.DifflutError` for what cannot be compiled. A failed check raises
    nothing: it is in the result's certificate.
    """
    request.check()
    clock = StepClock(on_step)
    with clock.step("load"):
        loaded = load_model(request.model_path)
        data = loaded.load_data(request.data) if request.data is not None else None
    with clock.step("lower"):
        lowered, count_nets = loaded.lower(request.top)
    with clock.step("evaluate"):
        vectors = make_vectors(lowered, data.inputs if data is not None else None)
        answers = loaded.answers(vectors.inputs)
        first_rung = climb(
            1, lambda: ladder.check_lowering(lowered, count_nets, vectors.inputs, answers, vectors.describe())
        )
    with clock.step("passes"):
        graph = lowered.copy()
        sample = vectors.inputs[-1024:]
        steps = run_passes(graph, OPTIMISE, sample, observer=observer)
        optimised_size = graph.size()
        steps += run_passes(graph, EXPAND, sample, repeat=False, observer=observer)
    with clock.step("schedule"):
        scheduled = schedule(graph, request.pipeline)
        scheduled.graph.verify()
    with clock.step("emit"):
        plan = emit(scheduled, TARGETS[request.target], request.top)
    with tempfile.TemporaryDirectory(prefix="difflut-") as folder:
        checks = _Checks(
            request, plan, graph, scheduled, steps, vectors, answers.class_index, len(sample), Path(folder)
        )
        with clock.step("prove passes"):
            second_rung = climb(2, checks.passes)
        with clock.step("prove RTL"):
            third_rung = checks.rtl()
        with clock.step("simulate"):
            fourth_rung = checks.simulation()
        with clock.step("flip a bit"):
            fifth_rung = checks.mutation()
        with clock.step("count LUTs"):
            synthesis = checks.synthesis(optimised_size)
    rungs = (first_rung, second_rung, third_rung, fourth_rung, fifth_rung)
    return CompileResult(
        request=request,
        plan=plan,
        graph=graph,
        certificate=Certificate(request.target, loaded.sha256, plan.digest(), rungs),
        input_port=_input_port(graph, loaded.model.input_format.scale),
        lowered_size=lowered.size(),
        size=optimised_size,
        synthesis=synthesis,
        accuracy=_accuracy(data, answers.class_index, graph, checks.simulated),
        class_names=tuple(loaded.model.class_names),
        seconds=clock.seconds,
    )


class _Checks:
    """The rungs that need the hardware, with the tools that are there."""

    def __init__(
        self,
        request: CompileRequest,
        plan: BuildPlan,
        graph: LutGraph,
        scheduled: Schedule,
        steps: list[PassStep],
        vectors: Vectors,
        answers: NDArray[np.int64],
        pass_vectors: int,
        folder: Path,
    ) -> None:
        self.request = request
        self.plan = plan
        self.graph = graph
        self.scheduled = scheduled
        self.steps = steps
        self.vectors = vectors
        self.answers = answers
        self.pass_vectors = pass_vectors
        self.folder = folder
        self.simulator = choose_simulator(request.target, request.simulator)
        self.simulated: SimulationResult | None = None
        self.missing_for_proof = missing_tools(("yosys", "ghdl") if request.target == "vhdl" else ("yosys",))

    def passes(self) -> Finding:
        return ladder.check_passes(
            self.steps, self.graph, self.scheduled, self.pass_vectors, ladder.make_folder(self.folder, "passes")
        )

    def rtl(self) -> Rung:
        if self.missing_for_proof:
            return not_checked(3, self.missing_for_proof)
        folder = ladder.make_folder(self.folder, "rtl")
        return climb(3, lambda: ladder.check_rtl(self.plan, self.scheduled, folder))

    def simulation(self) -> Rung:
        if self.simulator is None:
            simulators = ladder_simulators(self.request.target)
            return not_checked(4, f"no simulator for {self.request.target}: {missing_tools(simulators)}")
        return climb(4, self._simulate)

    def _simulate(self) -> Finding:
        assert self.simulator is not None
        luts = self.graph.size().count_by_kind.get("lut", 0)
        samples = min(len(self.vectors.inputs), max(64, SIMULATION_BUDGET // max(1, luts)))
        folder = ladder.make_folder(self.folder, "simulation")
        expected = {"class_index": self.answers[:samples]}
        inputs = self.vectors.inputs[:samples]
        self.simulated = simulate(self.plan, self.scheduled.graph, inputs, expected, self.simulator, folder)
        return ladder.check_simulation(self.simulated, self.plan.latency_cycles)

    def mutation(self) -> Rung:
        if self.missing_for_proof:
            return not_checked(5, self.missing_for_proof)
        expected = {"class_index": self.answers}
        folder = ladder.make_folder(self.folder, "mutation")
        return climb(
            5,
            lambda: ladder.check_mutation(
                self.plan, self.scheduled, self.vectors.inputs, expected, self.simulator, folder
            ),
        )

    def synthesis(self, size: GraphSize) -> SynthesisCount | None:
        wanted = self.request.count_luts
        if wanted is None:
            wanted = size.lut6_total <= LUTS_COUNTED_BY_DEFAULT
        if not wanted or self.missing_for_proof:
            return None
        return count_cells(self.plan, ladder.make_folder(self.folder, "synthesis"))


def ladder_simulators(target: str) -> tuple[str, ...]:
    """The tools without which nothing in this language can be simulated."""
    return ("cocotb", "iverilog", "verilator") if target == "verilog" else ("cocotb", "ghdl")


def _input_port(graph: LutGraph, scale: float) -> InputPort:
    words = [op for net in graph.inputs() if isinstance(op := graph.node(net).op, Input)]
    return InputPort(len(words), words[0].bits, words[0].signed, scale)


def _accuracy(
    data: LabelledData | None, answers: NDArray[np.int64], graph: LutGraph, simulated: SimulationResult | None
) -> Accuracy | None:
    if data is None:
        return None
    samples = len(data.labels)

    def share(classes: NDArray[np.int64]) -> float:
        return float((classes[:samples] == data.labels).mean())

    rtl = share(simulated.outputs["class_index"]) if simulated and simulated.samples >= samples else None
    graph_classes = graph.evaluate(data.inputs)["class_index"]
    return Accuracy(data.name, samples, share(answers), share(graph_classes), rtl)
