"""Random models of every kind, compiled and run in C, and a share or all of them in Verilog and VHDL, proven as well.

A model and how it is compiled follow from one seed: the kind of network, nodes, encoder, layers and their options, the
input format, and every option of a compile that changes the hardware. The oracle is the model in evaluation mode; with
accuracy budgets, the graph after them, node by node, once it has been found to keep the budgets. What answers is the
compiled C program, and for hardware a bench written by hand (`plain_simulation`), or cocotb's if it has further ports.
From the root of the repository::

    PYTHONPATH=. python rtl_tests/fuzz.py --count 2000 --everything --jobs 2

A failure prints the command that repeats it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflut import save_model
from difflut.models import BaseLUTModel
from difflut_compiler.accuracy import LabelledData
from difflut_compiler.driver import Built, CompileRequest, StepClock, build
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph
from difflut_compiler.interface import INTERFACES, PLAIN, Interface
from difflut_compiler.passes import LUT_INPUTS
from difflut_compiler.schedule import PIPELINES
from difflut_compiler.targets import find_target
from difflut_compiler.tools import make_folder
from difflut_compiler.verify.ladder import check_passes
from difflut_compiler.verify.languages import LANGUAGES
from difflut_compiler.verify.simulate import compare_answers, pack_features, simulate
from plain_simulation import answers
from random_models import draw_model, names_of
from tests.compiler.needs import need
from tests.compiler.random_graphs import Inputs, slow_outputs

SAMPLES = 150
DATA_SAMPLES = 40
WRONG_LABELS = 0.2
HARDWARE = ("verilog", "vhdl", "systemverilog")
EVERY_HARDWARE = 6
"""One model in this many is simulated in one more of the hardware languages."""
PROGRESS = 100
"""Models between two lines that say how far it is."""
PIPELINES_TRIED = (*PIPELINES, "1", "3", "5", "period:6", "period:5:ecp5")
STREAM_BITS = (32, 8, 16, 64)
BUDGETS = (0.0, 5.0, 30.0)
SHARE = 0.25
"""How often an option that is off by default is on."""
NOT_DRAWN = frozenset({"model_path", "target", "top", "data", "simulator", "count_luts"})
"""What a request for a compile has beside its options."""

Answers = Mapping[str, Inputs]


def _is_allowed(what: Interface | CompileRequest) -> bool:
    try:
        what.check()
    except CompilerError:
        return False
    return True


def list_interfaces() -> list[Interface]:
    """Every kind with every combination of switches that it takes, streams of several widths."""
    switches = [one.name for one in fields(Interface) if one.type == "bool"]
    found = [
        Interface(kind, bits, **dict(zip(switches, values, strict=True)))
        for kind in INTERFACES
        for bits in (STREAM_BITS if kind == "axi-stream" else STREAM_BITS[:1])
        for values in itertools.product([False, True], repeat=len(switches))
    ]
    return [one for one in found if _is_allowed(one)]


INTERFACES_TRIED = list_interfaces()


@dataclass(frozen=True)
class Drawn:
    """A model in evaluation mode, the options of its compile, and how many models were refused before this one."""

    model: BaseLUTModel
    options: Mapping[str, Any]
    refused: int
    data_seed: int

    @property
    def budgets(self) -> list[float]:
        """Percentage points of accuracy that may be lost."""
        return [value for name, value in self.options.items() if name.endswith("_budget") and value is not None]

    def names(self, languages: Sequence[str]) -> set[str]:
        """What was drawn, to be counted: registered names, languages, and options that acted and are on."""
        options = dict(self.options)
        interface = options.pop("interface")
        if set(languages) & set(HARDWARE):
            options |= vars(interface)
        else:
            del options["pipeline"]
        chosen = {f"{name} {value}" for name, value in options.items() if value is not None and value is not False}
        return names_of(self.model.config) | chosen | set(languages)


def draw(seed: int) -> Drawn:
    """The model of a seed and the options of its compile."""
    chance = random.Random(seed)
    model, refused = draw_model(chance)
    interface = INTERFACES_TRIED[seed // EVERY_HARDWARE % len(INTERFACES_TRIED)]  # each in turn, in every language
    if interface.reloadable and model.config.num_classes == 1:
        interface = PLAIN  # no table of such a network matters, so none is left to be reloaded, and a compile says so
    return Drawn(model, draw_options(chance, interface), refused, chance.getrandbits(30))


def draw_options(chance: random.Random, interface: Interface) -> dict[str, Any]:
    """Options of a compile for hardware; those that do not go with the interface are drawn anew."""
    while True:
        options: dict[str, Any] = {
            "pipeline": chance.choice(PIPELINES_TRIED),
            "interface": interface,
            "scores": chance.random() < SHARE,
            "lut_inputs": chance.choice(LUT_INPUTS),
            "encoder_budget": chance.choice(BUDGETS) if chance.random() < SHARE else None,
            "lut_budget": chance.choice(BUDGETS) if chance.random() < SHARE else None,
        }
        if _is_allowed(CompileRequest(Path(), "verilog", "net", **options)):
            return options


def check(drawn: Drawn, languages: Sequence[str], folder: Path) -> None:
    """Compile a model to each language and compare all answers; raises an error if any differs.

    Hardware is one circuit, written in each of its languages: what leads to the circuit is proven once.
    """
    save_model(drawn.model, folder / "model.pth")
    data = write_data(drawn, folder / "data.npz") if drawn.budgets else None
    hardware = [language for language in languages if language in HARDWARE]
    for same in ([language for language in languages if language not in HARDWARE], hardware):
        if not same:
            continue
        built = compile_to(same[0], drawn, folder)
        inputs, expected = expect(built, drawn, data)
        for language in same:
            plan = built.plan
            if language != plan.language:
                plan = emit(built.scheduled, find_target(language), plan.top, plan.interface)
            place = make_folder(folder, language)
            compare(plan, built.scheduled.graph, inputs, expected, place)
            prove_files = LANGUAGES[language].prove
            if prove_files is not None:
                prove_files(plan, built.scheduled, built.reference.lowered, make_folder(place, "proof"))
        if same is hardware:
            prove_graph(built, make_folder(folder, "passes"))


def expect(built: Built, drawn: Drawn, data: LabelledData | None) -> tuple[Inputs, Answers]:
    """The first of a compile's vectors, and what the model answers to them; with ``data``, its approximated graph."""
    reference = built.reference
    assert reference.first_rung.status == "passed", reference.first_rung.reason
    inputs = reference.vectors.inputs[:SAMPLES]
    expected = model_answers(drawn.model, inputs)
    if data is not None:
        check_budgets(reference.lowered, data, drawn)
        expected = {name: np.array(found) for name, found in slow_outputs(reference.lowered, inputs).items()}
    return inputs, {name: expected[name] for name in built.plan.outputs}


def prove_graph(built: Built, folder: Path) -> None:
    """The proof of the passes takes a right circuit for what it is: it raises an error if it finds a difference."""
    check_passes(built.reference.lowered, built.steps, built.graph, built.scheduled, built.pass_vectors, folder)


def compile_to(language: str, drawn: Drawn, folder: Path) -> Built:
    """The files of a compile in a language; what needs a clock is left out where there is none."""
    data = str(folder / "data.npz") if drawn.budgets else None
    request = CompileRequest(folder / "model.pth", language, "net", data=data, **drawn.options)
    if language not in HARDWARE:
        request = replace(request, pipeline=None, interface=PLAIN)
    request.check()
    return build(request, StepClock())


def compare(plan: BuildPlan, graph: LutGraph, inputs: Inputs, expected: Answers, folder: Path) -> None:
    """Run the files of a scheduled graph on ``inputs`` and compare with what is ``expected`` of every output."""
    if plan.language not in HARDWARE:
        compare_answers(run_c(plan, inputs, folder), expected)
    elif plan.interface == PLAIN and list(expected) == ["class_index"]:
        compare_answers({"class_index": run_hardware(plan, graph, inputs, folder)}, expected)
    else:
        simulate(plan, graph, inputs, expected, LANGUAGES[plan.language].simulators[0], folder)


def write_data(drawn: Drawn, path: Path) -> LabelledData:
    """Random samples with the model's classes, some of them changed; returns the training part."""
    generator = np.random.default_rng(drawn.data_seed)
    form, features = drawn.model.input_format, drawn.model.config.input_size
    assert features is not None
    arrays: dict[str, Any] = {"class_names": np.array(drawn.model.class_names)}
    for part in ("train", "test"):
        inputs = generator.integers(form.min_integer, form.max_integer + 1, (DATA_SAMPLES, features))
        labels = model_answers(drawn.model, inputs)["class_index"]
        wrong = generator.random(DATA_SAMPLES) < WRONG_LABELS
        labels[wrong] = generator.integers(0, len(drawn.model.class_names), int(wrong.sum()))
        arrays |= {f"x_{part}": form.to_reals(torch.from_numpy(inputs)).numpy(), f"y_{part}": labels}
        if part == "train":
            training = LabelledData("training", inputs, labels)
    np.savez(path, **arrays)
    return training


def check_budgets(approximated: LutGraph, training: LabelledData, drawn: Drawn) -> None:
    """The approximated graph is right on the training samples as often as the budgets demand."""
    before = model_answers(drawn.model, training.inputs)["class_index"] == training.labels
    after = np.array(slow_outputs(approximated, training.inputs)["class_index"]) == training.labels
    allowed = sum(math.floor(budget / 100 * len(training.labels)) for budget in drawn.budgets)
    assert before.sum() - after.sum() <= allowed, f"{before.sum() - after.sum()} samples lost, {allowed} allowed"


def model_answers(model: BaseLUTModel, inputs: Inputs) -> dict[str, Inputs]:
    """The class of every sample, the lowest of equal ones, and its votes, by the model in evaluation mode."""
    reals = model.input_format.to_reals(torch.from_numpy(inputs))
    with torch.no_grad():
        scores, votes = model(reals).tolist(), model.class_counts(reals).to(torch.int64).numpy()
    classes = {"class_index": np.array([row.index(max(row)) for row in scores])}
    return classes | {f"score_{number}": column for number, column in enumerate(votes.T)}


def run_c(plan: BuildPlan, inputs: Inputs, folder: Path) -> dict[str, Inputs]:
    """The answers of the compiled program."""
    plan.write(folder)
    command = [str(need("gcc")), "-std=c99", "-O0", "-o", "program", f"{plan.top}_test.c"]
    subprocess.run(command, cwd=folder, check=True)
    rows = "\n".join(" ".join(map(str, row)) for row in inputs.tolist())
    done = subprocess.run([folder / "program", "-"], input=rows, capture_output=True, text=True, check=True)
    table = np.array(done.stdout.split(), dtype=np.int64).reshape(len(inputs), -1)
    return dict(zip(plan.outputs, table.T, strict=True))


def run_hardware(plan: BuildPlan, graph: LutGraph, inputs: Inputs, folder: Path) -> Inputs:
    """The answers in simulation; -1 for an undefined one."""
    printed = answers(plan, pack_features(graph, inputs), folder)
    assert len(printed) == len(inputs), f"{len(printed)} answers to {len(inputs)} samples"
    return np.array([int(bits, 2) if set(bits) <= {"0", "1"} else -1 for bits in printed])


def languages_of(number: int, everything: bool = False) -> list[str]:
    """C, and for every so-manieth model one hardware language; if everything is wanted, all, the last for so many."""
    one_more = number % EVERY_HARDWARE == 0
    if everything:
        return ["c", *(HARDWARE if one_more else HARDWARE[:-1])]
    return ["c", HARDWARE[number // EVERY_HARDWARE % len(HARDWARE)]] if one_more else ["c"]


def check_seed(seed: int, languages: Sequence[str]) -> tuple[str | None, Counter[str]]:
    """Check the model of one seed; returns its failure, if there is one, and how often everything was drawn."""
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes with fewer votes than others are on purpose
            drawn = draw(seed)
            check(drawn, languages, Path(folder))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong, the seed that shows it must be printed
        return (
            f"seed {seed}: {type(error).__name__}: {error}\n"
            f"  repeat with: PYTHONPATH=. python rtl_tests/fuzz.py --seed {seed} --count 1 --everything"
        ), Counter()
    return None, Counter(drawn.names(languages)) + Counter(refused=drawn.refused)


def fuzz(
    first_seed: int, count: int, *, everything: bool = False, jobs: int = 1
) -> Iterator[tuple[str | None, Counter[str]]]:
    """Check ``count`` models, in so many processes; yields what `check_seed` finds, model by model."""
    seeds = range(first_seed, first_seed + count)
    languages = [languages_of(number, everything) for number in range(count)]
    if jobs == 1:
        yield from map(check_seed, seeds, languages)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(check_seed, seeds, languages)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many models")
    parser.add_argument("--seed", type=int, default=None, help="seed of the first model; the next have the next ones")
    parser.add_argument("--everything", action="store_true", help="simulate every model in Verilog and VHDL, too")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(31)
    start = time.perf_counter()
    failures, drawn = 0, Counter[str]()
    print(f"models from seed {first}", flush=True)
    found = fuzz(first, arguments.count, everything=arguments.everything, jobs=arguments.jobs)
    for number, (failure, names) in enumerate(found, start=1):
        drawn.update(names)
        if failure is not None:
            failures += 1
            print(failure, flush=True)
        if number % PROGRESS == 0:
            print(f"{number} of {arguments.count} models, {failures} failures", flush=True)
    print(", ".join(f"{name} {number}" for name, number in sorted(drawn.items())))
    print(f"{arguments.count} models: {failures} failures in {time.perf_counter() - start:.0f} s")
    return min(1, failures)


if __name__ == "__main__":
    sys.exit(main())
