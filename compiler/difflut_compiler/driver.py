"""One compile from model file to checked hardware: load, lower, optimise, schedule, emit, prove, simulate."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.accuracy import check_budget
from difflut_compiler.approximations import Approximation, NarrowEncoder, ReplaceLuts
from difflut_compiler.costs.estimate import estimate_all
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError
from difflut_compiler.figures import Accuracy, Estimate, FirstSamples, InputPort, SynthesisCount
from difflut_compiler.graph import GraphSize, LutGraph
from difflut_compiler.graph_file import graph_to_json
from difflut_compiler.interface import PLAIN, Interface
from difflut_compiler.names import check_identifier, feature_words
from difflut_compiler.passes import LUT_INPUTS, Pass, PassStep, expanding_passes, optimising_passes, run_passes
from difflut_compiler.passes.runner import Observer
from difflut_compiler.reference import Reference, read_reference
from difflut_compiler.reload import reloadable_passes
from difflut_compiler.schedule import Schedule, check_pipeline, schedule
from difflut_compiler.synth import count_cells
from difflut_compiler.targets import HardwareTarget, find_target
from difflut_compiler.tools import make_folder
from difflut_compiler.verify import ladder
from difflut_compiler.verify.certificate import Certificate, Finding, Rung, about, climb, hash_text
from difflut_compiler.verify.check_files import FileChecks
from difflut_compiler.verify.languages import choose_simulator, language_of
from difflut_compiler.verify.simulate import SimulationResult

LUTS_COUNTED_BY_DEFAULT = 6000
"""Above this many LUTs, counting by synthesis takes minutes and is done only on request."""
PASS_VECTORS = 1024
SAMPLES_SHOWN = 12


@dataclass(frozen=True)
class CompileRequest:
    """What to compile and how: a trained model, or a graph file if ``model_path`` ends in .json.

    ``data`` is ``digits`` or the path of an ``.npz`` or ``.csv`` file to check with. Where they are None, ``pipeline``
    is ``layers`` for hardware and ``none`` for what has no clock, and ``simulator`` and ``count_luts`` are chosen by
    what is installed and by size. With ``scores``, the votes of every class are outputs, too. ``lut_inputs`` is how
    many inputs the LUTs of the FPGA have: small tables are packed into such, and sums are made of them; tables with
    more inputs stay whole. ``encoder_budget`` and ``lut_budget`` are how many percentage points of accuracy on
    the training part of ``data`` rounding the encoder's thresholds and replacing LUTs may cost; None leaves them alone.
    """

    model_path: Path
    target: str
    top: str
    pipeline: str | None = None
    data: str | None = None
    simulator: str | None = None
    count_luts: bool | None = None
    interface: Interface = PLAIN
    scores: bool = False
    lut_inputs: int = 6
    encoder_budget: float | None = None
    lut_budget: float | None = None

    def check(self) -> None:
        """Refuse what cannot work before any work is done."""
        if self.lut_inputs not in LUT_INPUTS:
            sizes = ", ".join(map(str, LUT_INPUTS))
            raise CompilerError(f"there are no LUTs of {self.lut_inputs} inputs; choose one of {sizes}")
        target = find_target(self.target)
        check_pipeline(self.chosen_pipeline)
        if self.chosen_pipeline != "none" and not isinstance(target, HardwareTarget):
            raise CompilerError(f"the target {self.target} has no clock; it takes only the pipeline none")
        check_identifier(self.top, "the top name")
        self.interface.check()
        if self.interface.controls and self.chosen_pipeline == "none":
            raise CompilerError("clock enable and reset control registers, and a circuit without pipeline has none")
        if self.interface.reloadable and self.chosen_pipeline == "none":
            raise CompilerError("reloadable tables need a clock, and a circuit without pipeline has none")
        if self.interface.reloadable and self.approximations:
            raise CompilerError("tables that are to be reloaded cannot be approximated; leave the budgets out")
        if self.interface.needs_clock and not isinstance(target, HardwareTarget):
            raise CompilerError(f"the target {self.target} has no interface {self.interface.kind}; it has no clock")
        choose_simulator(target.language, self.simulator)
        for option, budget in (("--lut-budget", self.lut_budget), ("--encoder-budget", self.encoder_budget)):
            if budget is not None:
                check_budget(budget, option)

    @property
    def approximations(self) -> tuple[Approximation, ...]:
        """Those that are asked for; the encoder's is last, since thresholds with fewer readers are rounded further."""
        luts = [ReplaceLuts(self.lut_budget)] if self.lut_budget is not None else []
        encoder = [NarrowEncoder(self.encoder_budget)] if self.encoder_budget is not None else []
        return (*luts, *encoder)

    @property
    def chosen_pipeline(self) -> str:
        if self.pipeline is not None:
            return self.pipeline
        return "layers" if isinstance(find_target(self.target), HardwareTarget) else "none"


@dataclass(frozen=True)
class CompileResult:
    """Everything a compile found out; the hardware is in ``plan``, ``graph_text`` is the graph's file."""

    request: CompileRequest
    plan: BuildPlan
    graph: LutGraph
    graph_text: str
    certificate: Certificate
    input_port: InputPort
    lowered_size: GraphSize
    size: GraphSize
    estimates: Mapping[str, Estimate]
    synthesis: SynthesisCount | None
    accuracy: Accuracy | None
    first_samples: FirstSamples
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


@dataclass(frozen=True)
class Built:
    """What the steps up to the hardware's text have made: everything that the checks look at."""

    reference: Reference
    optimised_size: GraphSize
    graph: LutGraph
    scheduled: Schedule
    plan: BuildPlan
    steps: Sequence[PassStep]
    pass_vectors: int


def compile_model(
    request: CompileRequest, *, on_step: Callable[[str], None] | None = None, observer: Observer | None = None
) -> CompileResult:
    """Compile a model file and check the result as far as the installed tools allow.

    Raises :class:`CompilerError` or :class:`difflut.DifflutError` for what cannot be compiled. A failed check raises
    nothing: it is in the result's certificate.
    """
    request.check()
    clock = StepClock(on_step)
    built = build(request, clock, observer)
    with tempfile.TemporaryDirectory(prefix="difflut-") as name:
        folder, reference = Path(name), built.reference
        checks = FileChecks(
            built.plan,
            built.scheduled,
            reference.lowered,
            reference.vectors.inputs,
            reference.expected,
            request.simulator,
            folder,
        )
        with clock.step("prove passes"):
            second_rung = climb(2, lambda: _prove_passes(built, make_folder(folder, "passes")))
        with clock.step("check files"), checks.climbing() as climbing:
            file_rungs = [climbing.result(rung) for rung in (3, 4, 5)]
        with clock.step("count LUTs"):
            synthesis = _synthesis(request, built, make_folder(folder, "synthesis"))
    graph_text = graph_to_json(built.graph)
    rungs: tuple[Rung, ...] = (second_rung, *file_rungs)
    if reference.not_as_trained:
        rungs = about(reference.not_as_trained, rungs)
    return CompileResult(
        request=request,
        plan=built.plan,
        graph=built.graph,
        graph_text=graph_text,
        certificate=Certificate(
            target=request.target,
            model_sha256=reference.sha256,
            graph_sha256=hash_text(graph_text),
            files_sha256=built.plan.digest(),
            approximations=reference.approximations,
            rungs=(reference.first_rung, *rungs),
        ),
        input_port=InputPort(len(built.graph.inputs()), tuple(feature_words(built.graph)), built.reference.scale),
        lowered_size=built.reference.lowered.size(),
        size=built.optimised_size,
        estimates=estimate_all(built.scheduled.graph),
        synthesis=synthesis,
        accuracy=_accuracy(built, checks.simulated),
        first_samples=_first_samples(built, checks.simulated),
        class_names=built.reference.class_names,
        seconds=clock.seconds,
    )


def build(request: CompileRequest, clock: StepClock, observer: Observer | None = None) -> Built:
    """From the model file to the hardware's text, before any check but that of the lowered graph."""
    with clock.step("read and evaluate"):
        reference = read_reference(
            request.model_path,
            request.top,
            request.data,
            scores=request.scores,
            approximations=request.approximations,
        )
    with clock.step("passes"):
        graph = reference.lowered.copy()
        sample = reference.vectors.inputs[:PASS_VECTORS]
        optimise, expand = _choose_passes(request, graph)
        steps = run_passes(graph, optimise, sample, observer=observer)
        optimised_size = graph.size()
        steps += run_passes(graph, expand, sample, repeat=False, observer=observer)
    with clock.step("schedule"):
        scheduled = schedule(graph, request.chosen_pipeline)
        scheduled.graph.verify()
    with clock.step("emit"):
        plan = emit(scheduled, find_target(request.target), request.top, request.interface)
    return Built(reference, optimised_size, graph, scheduled, plan, steps, len(sample))


def _choose_passes(request: CompileRequest, graph: LutGraph) -> tuple[Sequence[Pass], Sequence[Pass]]:
    """The passes to be run until nothing changes, and those to be run once after them."""
    if request.interface.reloadable:
        return (), reloadable_passes(graph, request.lut_inputs)
    return optimising_passes(request.lut_inputs), expanding_passes(request.lut_inputs)


def _prove_passes(built: Built, folder: Path) -> Finding:
    lowered = built.reference.lowered
    return ladder.check_passes(lowered, built.steps, built.graph, built.scheduled, built.pass_vectors, folder)


def _synthesis(request: CompileRequest, built: Built, folder: Path) -> SynthesisCount | None:
    """The LUTs that Yosys makes of the hardware, if that is wanted and can be known."""
    wanted = request.count_luts
    if wanted is None:
        wanted = built.optimised_size.lut6_total <= LUTS_COUNTED_BY_DEFAULT
    hardware = isinstance(find_target(request.target), HardwareTarget)
    if built.plan.interface.reloadable:  # Yosys counts no memories here; difflut synth does, for a family
        return None
    if not (wanted and hardware) or language_of(built.plan.language).no_proof:
        return None
    return count_cells(built.plan, folder)


def _accuracy(built: Built, simulated: SimulationResult | None) -> Accuracy | None:
    data = built.reference.data
    if data is None or built.reference.model_classes is None:
        return None
    samples = len(data.labels)

    def share(classes: NDArray[np.int64]) -> float:
        return float((classes[-samples:] == data.labels).mean())

    all_simulated = simulated is not None and simulated.samples == len(built.reference.vectors.inputs)
    compiled = share(simulated.outputs["class_index"]) if simulated and all_simulated else None
    graph_classes = built.graph.evaluate(data.inputs)["class_index"]
    classes = len(built.reference.class_names)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (data.labels, graph_classes), 1)
    return Accuracy(
        data.name,
        samples,
        share(built.reference.model_classes),
        share(graph_classes),
        compiled,
        tuple(tuple(row) for row in confusion.tolist()),
    )


def _first_samples(built: Built, simulated: SimulationResult | None) -> FirstSamples:
    """The first samples of the data, or the first random inputs, with the answers of the simulation if it got there."""
    vectors = built.reference.vectors
    start = len(vectors.made) if built.reference.data is not None else vectors.corner_samples
    rows = slice(start, start + SAMPLES_SHOWN)
    inputs = vectors.inputs[rows]
    if simulated is not None and simulated.samples >= start + len(inputs):
        source = f"the {language_of(built.plan.language).product}, simulated"
        outputs = {name: values[rows] for name, values in simulated.outputs.items()}
    else:
        source, outputs = "the circuit's graph", built.graph.evaluate(inputs)
    return FirstSamples(
        data=built.reference.data.name if built.reference.data is not None else "random inputs",
        source=source,
        features=tuple(tuple(row) for row in inputs.tolist()),
        outputs={name: tuple(values.tolist()) for name, values in outputs.items()},
    )
