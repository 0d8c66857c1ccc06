"""Random small changes of emitted Verilog and VHDL: every one that changes an answer must be refused by the proof.

Whether a change shows is decided by simulating all inputs there are, 4096 of them; the vectors that a compile simulates
with, a quarter as many, come first and are counted on their own. From the root of the repository::

    PYTHONPATH=. python rtl_tests/mutate.py --count 400
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from difflut_compiler.emit import BuildPlan
from difflut_compiler.vectors import make_vectors
from difflut_compiler.verify.simulate import pack_features
from plain_simulation import answers, as_answers
from tests.compiler.designs import Design, is_proven, make_design, with_files
from tests.compiler.random_graphs import Inputs, Shape, all_inputs

LANGUAGES = ("verilog", "vhdl")
SHAPES = (
    Shape(features=3, bits=4, thresholds=5, widths=(14, 12), classes=3),
    Shape(features=2, bits=6, signed=True, thresholds=4, widths=(20,), max_fan_in=6, classes=5),
    Shape(features=4, bits=3, thresholds=3, widths=(10, 10, 9), classes=2),
)

Change = Callable[[random.Random, re.Match[str]], str]


def _flip_bit(chance: random.Random, match: re.Match[str]) -> str:
    size, digits = int(match[1]), match[2]
    return f"{size}'h{_flip_hex(chance, digits, size)}"


def _flip_bit_of_digits(chance: random.Random, match: re.Match[str]) -> str:
    return f'X"{_flip_hex(chance, match[1], 4 * len(match[1]))}"'


def _flip_hex(chance: random.Random, digits: str, bits: int) -> str:
    return f"{int(digits, 16) ^ 1 << chance.randrange(bits):0{len(digits)}x}"


def _other_index(chance: random.Random, match: re.Match[str]) -> str:
    return f"{match[1]}{max(0, int(match[2]) + chance.choice([-2, -1, 1, 2]))}{match[3]}"


def _other_number(chance: random.Random, match: re.Match[str]) -> str:
    size = int(match[1])
    return f"{size}'d{int(match[2]) ^ 1 << chance.randrange(size)}"


def _other_threshold(chance: random.Random, match: re.Match[str]) -> str:
    return f">= {int(match[1]) + chance.choice([-2, -1, 1, 2])})"


def _swap_pins(separator: str) -> Change:
    def swap(chance: random.Random, match: re.Match[str]) -> str:
        pins = match[0].split(separator)
        first, second = chance.sample(range(len(pins)), 2)
        pins[first], pins[second] = pins[second], pins[first]
        return separator.join(pins)

    return swap


def _other_operator(*operators: str) -> Change:
    return lambda chance, match: f" {chance.choice([one for one in operators if one != match[1]])} "


CHANGES: dict[str, tuple[tuple[str, str, Change], ...]] = {
    "verilog": (
        ("table bit", r"(\d+)'h([0-9a-f]+)", _flip_bit),
        ("index", r"(?<=\w)(\[)(\d+)(\])", _other_index),
        ("number", r"(\d+)'d(\d+)", _other_number),
        ("pins", r"\w+\[\d+\](?:, \w+\[\d+\])+", _swap_pins(", ")),
        ("operator", r" (>=|>|\+) ", _other_operator(">", ">=", "<", "+", "-", "&", "|", "^")),
        ("inverter", r"(?<== )(?=LUT_)", lambda chance, match: "~"),
        ("choice", r" \? (.+?) : (.+?);", lambda chance, match: f" ? {match[2]} : {match[1]};"),
    ),
    "vhdl": (
        ("table bit", r'X"([0-9a-f]+)"', _flip_bit_of_digits),
        ("index", r"(?<=\w)(\()(\d+)(\))", _other_index),
        ("number", r">= (-?\d+)\)", _other_threshold),
        ("pins", r"\w+\(\d+\)(?: & \w+\(\d+\))+", _swap_pins(" & ")),
        ("operator", r" (>=|>) ", _other_operator(">", ">=", "<", "<=", "=", "/=")),
        ("inverter", r"(?<=<= )(?=lut\()", lambda chance, match: "not "),
        (
            "choice",
            r"<= (.+) when (.+) else (.+);",
            lambda chance, match: f"<= {match[3]} when {match[2]} else {match[1]};",
        ),
    ),
}


def mutate(plan: BuildPlan, chance: random.Random) -> tuple[str, BuildPlan]:
    """One change at one place: what kind it is, and the changed hardware."""
    while True:
        kind, pattern, change = chance.choice(CHANGES[plan.language])
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
    try:
        seen = _answers_wrong(design, mutant, make_vectors(design.original, None).inputs, folder / "vectors")
        shows = seen or _answers_wrong(design, mutant, all_inputs(design.original), folder / "all")
    except AssertionError:  # the simulator does not take it
        return "no hardware"
    if not shows:
        return "same answers"
    (folder / "proof").mkdir()
    if is_proven(design, mutant, folder / "proof"):
        return "missed"
    return "caught" if seen else "caught by the proof"


def _answers_wrong(design: Design, mutant: BuildPlan, inputs: Inputs, folder: Path) -> bool:
    found = answers(mutant, pack_features(design.original, inputs), folder)
    return found != as_answers(design.expected(inputs), design.plan)


def measure(first_seed: int, count: int, languages: Sequence[str] = LANGUAGES) -> tuple[Counter[str], list[str]]:
    """Outcomes of ``count`` mutants, in each of ``languages`` in turn, and those that not both checks caught."""
    outcomes: Counter[str] = Counter()
    remarkable: list[str] = []
    for seed in range(first_seed, first_seed + count):
        chance = random.Random(seed)
        target, pipeline = languages[seed % len(languages)], chance.choice(["layers", "none"])
        adders = chance.random() < 0.5
        shape, number = chance.choice(SHAPES), chance.randrange(40)
        design = make_design(shape, number, target=target, pipeline=pipeline, adders=adders)
        kind, mutant = mutate(design.plan, chance)
        with tempfile.TemporaryDirectory() as folder:
            result = outcome(design, mutant, Path(folder))
        outcomes[result] += 1
        if result in ("missed", "caught by the proof"):
            remarkable.append(f"seed {seed}: {target}, {kind}: {result}")
    return outcomes, remarkable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first")
    arguments = parser.parse_args()
    start = time.perf_counter()
    outcomes, remarkable = measure(arguments.seed, arguments.count)
    for line in remarkable:
        print(line)
    print(", ".join(f"{name} {number}" for name, number in outcomes.items()), f"in {time.perf_counter() - start:.0f} s")
    return min(1, outcomes["missed"])


if __name__ == "__main__":
    sys.exit(main())
