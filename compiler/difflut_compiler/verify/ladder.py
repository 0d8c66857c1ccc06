"""The ladder of evidence, rung by rung. Each function is one check and returns what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import MismatchError, NotCheckedError
from difflut_compiler.evaluation import evaluate_nets
from difflut_compiler.graph import LutGraph
from difflut_compiler.ops import Const, Lut, tables_to_bools
from difflut_compiler.passes import PassStep
from difflut_compiler.schedule import Schedule
from difflut_compiler.targets import find_target
from difflut_compiler.tools import make_folder, tool_version
from difflut_compiler.verify.certificate import Finding, require_some
from difflut_compiler.verify.languages import Language, language_of
from difflut_compiler.verify.prove_passes import prove_step
from difflut_compiler.verify.prove_schedule import check_schedule
from difflut_compiler.verify.simulate import SimulationResult

VALUES_AT_ONCE = 1 << 27
"""Values of nets that are compared with the model's in one go, to bound the memory that takes."""
MUTATION_TRIES = 64
MUTATION_SEED = 7


@dataclass(frozen=True)
class ModelAnswers:
    """What the trained model answers in eval mode: winning class ``(samples,)`` and votes ``(samples, classes)``."""

    class_index: NDArray[np.int64]
    class_counts: NDArray[np.int64]
    library_version: str


@dataclass(frozen=True)
class LayerAnswers:
    """What the encoder or a bank of look-up tables answers: bits ``(samples, width)`` on vectors, and all it can.

    ``nets`` are its output bits in the graph. ``tables`` ``(width, 2**n)`` are its answers at every address, and
    ``pins`` ``(width, n)`` the bits of the bank before that make the address, -1 for the constant 0; None for an
    encoder. ``bits`` is None for a bank inside a stage, whose answers on vectors the model does not show. ``observed``
    is False if ``pins`` are what the stage says of itself, which nobody has seen at work.
    """

    name: str
    nets: Sequence[int]
    bits: NDArray[np.bool_] | None
    tables: NDArray[np.bool_] | None
    pins: NDArray[np.int64] | None
    observed: bool = True


def check_lowering(
    graph: LutGraph,
    count_nets: Sequence[int],
    inputs: NDArray[np.int64],
    answers: ModelAnswers,
    layers: Sequence[LayerAnswers],
    what: str,
) -> Finding:
    """Rung 1: the lowered graph gives the model's votes and class on every vector, and each layer the model's bits.

    The vectors hold every threshold and the value below it, so an encoder is compared at all of its steps; LUT layers
    are compared at all addresses and pin by pin, so that nothing depends on the vectors reaching an address.
    """
    counts = evaluate_nets(graph, inputs, count_nets).T
    found = graph.evaluate(inputs)["class_index"]
    for name, wrong in (
        ("class_counts", (counts != answers.class_counts).any(axis=1)),
        ("class_index", found != answers.class_index),
    ):
        if wrong.any():
            raise MismatchError(
                f"{name} of graph and model differ on {int(wrong.sum())} of {len(inputs)} samples, "
                f"first sample {int(np.flatnonzero(wrong)[0])}"
            )
    compared = counts.size + found.size + _check_layers(graph, inputs, layers)
    reason = f"votes and class on {what}; every threshold, wire and table entry of every layer"
    believed = [layer.name for layer in layers if not layer.observed]
    if believed:
        reason += f"; the wires of {', '.join(believed)} as the model lists them, seen at work on the vectors only"
    return Finding(require_some(compared, "the comparison with the model"), reason, "torch", answers.library_version)


def _check_layers(graph: LutGraph, inputs: NDArray[np.int64], layers: Sequence[LayerAnswers]) -> int:
    """Compare layer by layer; returns the number of comparisons."""
    compared = _check_bits(graph, inputs, [(layer, layer.bits) for layer in layers if layer.bits is not None])
    before: NDArray[np.int64] = np.array([], dtype=np.int64)
    for layer in layers:
        if layer.tables is not None and layer.pins is not None:
            luts = [graph.node(net) for net in layer.nets]
            fan_in = layer.pins.shape[1]
            tables = [node.op.table for node in luts if isinstance(node.op, Lut) and node.op.fan_in == fan_in]
            if len(tables) < len(luts) or not np.array_equal(tables_to_bools(tables, fan_in), layer.tables):
                raise MismatchError(f"graph and model differ in the tables of {layer.name}")
            if not _reads(graph, np.array([node.operands for node in luts]), before, layer.pins):
                raise MismatchError(f"graph and model differ in the wiring of {layer.name}")
            compared += layer.tables.size + layer.pins.size
        before = np.array(layer.nets, dtype=np.int64)
    return compared


def _reads(graph: LutGraph, operands: NDArray[np.int64], before: NDArray[np.int64], pins: NDArray[np.int64]) -> bool:
    """Whether ``operands`` ``(luts, n)`` are the bits ``pins`` of the nets ``before``, constants 0 for pins of -1."""
    is_zero = pins < 0
    are_zeros = all(graph.node(net).op == Const(0) for net in operands[is_zero].tolist())
    return are_zeros and np.array_equal(operands[~is_zero], before[pins[~is_zero]])


def _check_bits(
    graph: LutGraph, inputs: NDArray[np.int64], layers: Sequence[tuple[LayerAnswers, NDArray[np.bool_]]]
) -> int:
    """Compare the bits of layers on the first of the inputs; returns how many they are."""
    if not layers:
        return 0
    nets = [net for layer, _ in layers for net in layer.nets]
    ends = np.cumsum([len(layer.nets) for layer, _ in layers], dtype=np.int64)
    samples = len(layers[0][1])
    step = max(1, VALUES_AT_ONCE // len(nets))
    for first in range(0, samples, step):
        rows = slice(first, min(first + step, samples))
        values = evaluate_nets(graph, inputs[rows], nets) != 0
        for (layer, expected), found in zip(layers, np.split(values, ends[:-1]), strict=True):
            if not np.array_equal(found.T, expected[rows]):
                raise MismatchError(f"graph and model differ in the bits of {layer.name}")
    return samples * len(nets)


def check_passes(
    lowered: LutGraph, steps: Sequence[PassStep], graph: LutGraph, scheduled: Schedule, vectors: int, folder: Path
) -> Finding:
    """Rung 2: the steps lead from ``lowered`` to ``graph``, each is proven, and the schedule only adds registers."""
    _check_chain(lowered, steps, graph)
    proofs = [prove_step(step, make_folder(folder, f"pass_{number}")) for number, step in enumerate(steps)]
    nets = check_schedule(graph, scheduled)
    sat, rule = sum(proof.by_sat for proof in proofs), sum(proof.by_rule for proof in proofs)
    inspected = sum(proof.by_inspection for proof in proofs)
    reason = (
        f"{len(steps)} pass steps proven net by net: {inspected} nets unchanged, {sat} by SAT, {rule} sums and argmax "
        f"by construction rules; outputs equal on {vectors} vectors after each step; registers balanced, latency "
        f"{scheduled.latency_cycles} cycles"
    )
    compared = require_some(sum(proof.comparisons for proof in proofs) + nets, "the proof of the passes")
    return Finding(compared, reason, "abc cec", tool_version("abc"))


def _check_chain(lowered: LutGraph, steps: Sequence[PassStep], graph: LutGraph) -> None:
    """Each step starts where the one before it ended, the first at the lowered graph, the last ends at ``graph``."""
    ends = [lowered.snapshot(), *(step.after for step in steps)]
    starts = [*(step.before for step in steps), graph.snapshot()]
    for end, start in zip(ends, starts, strict=True):
        if end != start:
            raise MismatchError("the graph was changed between the recorded steps of the passes")


def check_simulation(language: Language, result: SimulationResult, vectors: int, plan: BuildPlan) -> Finding:
    """Rung 4, once the simulation of ``plan`` has passed."""
    timing = plan.interface.describe_timing(plan.latency_cycles)
    return Finding(
        require_some(result.comparisons, "the simulation"),
        f"{result.samples} of {vectors} samples, {timing}",
        ", ".join((*language.bench_tools, result.simulator)),
        ", ".join([*map(tool_version, language.bench_tools), f"{result.simulator} {tool_version(result.simulator)}"]),
    )


@dataclass(frozen=True)
class Mutation:
    """The files of a graph with one table entry flipped, and the vectors on which that shows at the outputs."""

    description: str
    plan: BuildPlan
    visible_samples: NDArray[np.int64]


def check_mutation(
    plan: BuildPlan,
    scheduled: Schedule,
    inputs: NDArray[np.int64],
    expected: Mapping[str, NDArray[np.int64]],
    simulator: str | None,
    folder: Path,
) -> Finding:
    """Rung 5: files with one flipped table bit are refused by the proof, and by the simulation where it shows.

    Files in which the flipped bit shows on no vector may be the same circuit, which a proof need not refuse.
    """
    language = language_of(plan.language)
    mutation = flip_one_bit(plan, scheduled, inputs, expected)
    caught_by = {}
    prove = language.prove
    if prove is not None:
        proof_folder = make_folder(folder, "proof")
        if _is_refused(lambda: prove(mutation.plan, scheduled, None, proof_folder)):
            caught_by["the proof"] = language.prover
        elif len(mutation.visible_samples):
            raise MismatchError(f"{mutation.description} was not noticed by the proof")
    run, samples = language.simulate, mutation.visible_samples[:16]
    if run is not None and simulator is not None and len(samples):
        rows = {name: values[samples] for name, values in expected.items()}
        run_folder = make_folder(folder, "simulation")
        if not _is_refused(lambda: run(mutation.plan, scheduled.graph, inputs[samples], rows, simulator, run_folder)):
            raise MismatchError(f"{mutation.description} was not noticed by the simulation in {simulator}")
        caught_by["the simulation"] = simulator
    if not caught_by:
        raise NotCheckedError(f"{mutation.description} shows at no output, so that it may be the same circuit")
    reason = f"{mutation.description}: caught by {' and by '.join(caught_by)}"
    versions = ", ".join(f"{tool} {tool_version(tool)}" for tool in caught_by.values())
    return Finding(len(caught_by), reason, ", ".join(caught_by.values()), versions)


def _is_refused(check: Callable[[], object]) -> bool:
    try:
        check()
    except MismatchError:
        return True
    return False


def flip_one_bit(
    plan: BuildPlan, scheduled: Schedule, inputs: NDArray[np.int64], expected: Mapping[str, NDArray[np.int64]]
) -> Mutation:
    """Flip one table entry of one LUT, preferably one that changes an output on ``inputs``."""
    graph = scheduled.graph
    luts = sorted(net for net in graph if isinstance(graph.node(net).op, Lut))
    if not luts:
        raise NotCheckedError("the optimised circuit has no LUT whose table could be flipped")
    random = np.random.default_rng(MUTATION_SEED)
    sample = inputs[: min(len(inputs), 2048)]
    for _ in range(MUTATION_TRIES):
        net = int(random.choice(luts))
        mutant = _flip_seen_address(graph, net, sample)
        outputs = mutant.evaluate(sample)
        visible = np.flatnonzero(np.any([outputs[name] != expected[name][: len(sample)] for name in outputs], axis=0))
        if visible.size:
            break
    mutant_plan = emit(
        Schedule(mutant, scheduled.pipeline, scheduled.latency_cycles),
        find_target(plan.target),
        plan.top,
        plan.interface,
    )
    if mutant_plan.digest() == plan.digest():
        raise MismatchError("flipping a table bit did not change the files")
    return Mutation(f"one table bit of LUT {graph.node(net).origin} flipped", mutant_plan, visible)


def _flip_seen_address(graph: LutGraph, net: int, inputs: NDArray[np.int64]) -> LutGraph:
    """A copy of ``graph`` in which ``net`` answers wrongly at the address that the first sample makes."""
    node = graph.node(net)
    assert isinstance(node.op, Lut)
    pins = evaluate_nets(graph, inputs[:1], node.operands)[:, 0]
    address = int((pins << np.arange(len(pins))).sum())
    mutant = graph.copy()
    mutant.replace(net, Lut(node.op.fan_in, node.op.table ^ (1 << address)), node.operands)
    return mutant
