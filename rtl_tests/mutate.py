"""Random small changes of emitted Verilog: every one that changes an answer must be refused by the proof.

Whether a change shows is decided by simulating all inputs there are; the vectors that a compile would simulate with are
looked at on their own. From the root of the repository::

    PYTHONPATH=. python rtl_tests/mutate.py --count 300
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from difflut_compiler.emit import BuildPlan
from difflut_compiler.verify import vectors
from difflut_compiler.verify.simulate import pack_features
from plain_simulation import answers, as_answers
from tests.compiler.designs import Design, is_proven, make_design, with_files
from tests.compiler.random_graphs import Shape, all_inputs

SHAPES = (
    Shape(features=2, bits=4, thresholds=5, widths=(14, 12), classes=3),
    Shape(features=2, bits=5, signed=True, thresholds=4, widths=(20,), max_fan_in=6, classes=5),
    Shape(features=3, bits=3, thresholds=3, widths=(10, 10, 9), classes=2),
)
VECTORS = 256
"""Fewer than a compile takes, since these networks have only a few hundred inputs."""

Change = Callable[[random.Random, re.Match[str]], str]


def _flip_bit(chance: random.Random, match: re.Match[str]) -> str:
    size, digits = int(match[1]), match[2]
    return f"{size}'h{int(digits, 16) ^ 1 << chance.randrange(size):0{len(digits)}x}"


def _other_index(chance: random.Random, match: re.Match[str]) -> str:
    return f"[{max(0, int(match[1]) + chance.choice([-2, -1, 1, 2]))}]"


def _other_number(chance: random.Random, match: re.Match[str]) -> str:
    size = int(match[1])
    return f"{size}'d{int(match[2]) ^ 1 << chance.randrange(size)}"


def _swap_pins(chance: random.Random, match: re.Match[str]) -> str:
    pins = match[1].split(", ")
    first, second = chance.sample(range(len(pins)), 2)
    pins[first], pins[second] = pins[second], pins[first]
    return "{" + ", ".join(pins) + "}"


def _other_operator(chance: random.Random, match: re.Match[str]) -> str:
    return f" {chance.choice([one for one in ('>', '>=', '<', '+', '-', '&', '|', '^') if one != match[1]])} "


CHANGES: tuple[tuple[str, str, Change], ...] = (
    ("table bit", r"(\d+)'h([0-9a-f]+)", _flip_bit),
    ("index", r"(?<=\w)\[(\d+)\]", _other_index),
    ("number", r"(\d+)'d(\d+)", _other_number),
    ("pins", r"\{(\w+\[\d+\](?:, \w+\[\d+\])+)\}", _swap_pins),
    ("operator", r" (>=|>|\+) ", _other_operator),
    ("inverter", r"(?<== )(?=LUT_)", lambda chance, match: "~"),
    ("choice", r" \? (.+?) : (.+?);", lambda chance, match: f" ? {match[2]} : {match[1]};"),
)


def mutate(plan: BuildPlan, chance: random.Random) -> tuple[str, BuildPlan]:
    """One change at one place: what kind it is, and the changed hardware."""
    while True:
        kind, pattern, change = chance.choice(CHANGES)
        places = [(name, match) for name, text in plan.files.items() for match in re.finditer(pattern, text)]
        if not places:
            continue
        name, match = chance.choice(places)
        text = plan.files[name]
        changed = text[: match.start()] + change(chance, match) + text[match.end() :]
        if changed != text:
            return kind, with_files(plan, {**plan.files, name: changed})


def outcome(design: Design, mutant: BuildPlan, folder: Path) -> str:
    """What became of a mutant: ``no hardware``, ``same answers``, ``caught``, ``caught by the proof`` or ``missed``.

    ``caught`` is by simulation and proof; ``missed`` by the proof, whatever the simulation says.
    """
    inputs = all_inputs(design.original)
    try:
        found = answers(mutant, pack_features(design.original, inputs), folder / "simulation")
    except AssertionError:  # the simulator does not take it
        return "no hardware"
    right = as_answers(design.expected(inputs), design.plan)
    wrong = np.flatnonzero([one != other for one, other in zip(found, right, strict=True)])
    if not len(wrong):
        return "same answers"
    (folder / "proof").mkdir()
    if is_proven(design, mutant, folder / "proof"):
        return "missed"
    seen = vectors.make_vectors(design.original, None).inputs[:VECTORS]
    wrong_inputs = {tuple(row) for row in inputs[wrong].tolist()}
    return "caught" if any(tuple(row) in wrong_inputs for row in seen.tolist()) else "caught by the proof"


def measure(first_seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """Outcomes of ``count`` mutants, and the seeds of those that were missed."""
    outcomes: Counter[str] = Counter()
    missed: list[str] = []
    for seed in range(first_seed, first_seed + count):
        chance = random.Random(seed)
        design = make_design(chance.choice(SHAPES), chance.randrange(40), pipeline=chance.choice(["layers", "none"]))
        kind, mutant = mutate(design.plan, chance)
        with tempfile.TemporaryDirectory() as folder:
            result = outcome(design, mutant, Path(folder))
        outcomes[result] += 1
        if result == "missed":
            missed.append(f"seed {seed}: {kind}")
    return outcomes, missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first")
    arguments = parser.parse_args()
    start = time.perf_counter()
    outcomes, missed = measure(arguments.seed, arguments.count)
    for line in missed:
        print(line)
    print(", ".join(f"{name} {number}" for name, number in outcomes.items()), f"in {time.perf_counter() - start:.0f} s")
    return min(1, len(missed))


if __name__ == "__main__":
    sys.exit(main())
