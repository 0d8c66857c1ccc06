"""Random models of every kind, compiled and run: C for each, Verilog and VHDL for a share; all answer as PyTorch does.

A model follows from one seed: the kind of network, nodes, encoder, layers, their options, the input format, the
pipeline, the interface and the size of LUTs. The oracle is the model in evaluation mode. What answers is the compiled C
program, and for hardware a bench written by hand (`plain_simulation`), or cocotb's for interfaces that are not plain.
From the root of the repository::

    PYTHONPATH=. python rtl_tests/fuzz.py --count 2000

A failure prints the command that repeats it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from difflut import REGISTRY, ModelConfig, build_model
from difflut.errors import ConfigError
from difflut.models import BaseLUTModel
from difflut_compiler.emit import BuildPlan, emit
from difflut_compiler.graph import LutGraph
from difflut_compiler.interface import PLAIN, Interface
from difflut_compiler.lower import lower
from difflut_compiler.passes import LUT_INPUTS, expanding_passes, optimising_passes, run_passes
from difflut_compiler.schedule import PIPELINES, schedule
from difflut_compiler.targets import TARGETS
from difflut_compiler.verify.languages import LANGUAGES
from difflut_compiler.verify.simulate import pack_features, simulate
from difflut_compiler.verify.vectors import make_vectors
from plain_simulation import answers
from tests.compiler.needs import need
from tests.compiler.random_graphs import Inputs

SAMPLES = 150
HARDWARE = ("verilog", "vhdl", "systemverilog")
EVERY_HARDWARE = 6
"""One model in this many is also simulated in one of the hardware languages."""
Choices = Mapping[str, Sequence[Any]]

NODE_OPTIONS: Mapping[str, Choices] = {
    "difflogic": {},
    "dwn": {},
    "dwn_stable": {"gradient_scale": [0.5, 1.25], "learn_gradient_scale": [False, True]},
    "fourier": {"use_all_frequencies": [False, True], "max_amplitude": [0.5, 1.0]},
    "hybrid": {},
    "linear_lut": {},
    "neurallut": {
        "hidden_width": [1, 3, 8],
        "depth": [1, 2, 3],
        "skip_interval": [1, 2],
        "activation": ["relu", "tanh"],
    },
    "polylut": {"degree": [1, 2, 3]},
    "probabilistic": {"temperature": [0.5, 1.0]},
    "warp": {"temperature": [0.5, 2.0]},
}
LAYER_OPTIONS: Mapping[str, Choices] = {
    "feature_groups": {},
    "learnable": {"num_candidates": [1, 4, 16], "input_groups": [1, 2]},
    "random": {"ensure_full_input_coverage": [False, True], "input_groups": [1, 2]},
}
PIPELINES_TRIED = (*PIPELINES, "1", "5", "period:6")
INTERFACES_TRIED = (PLAIN, PLAIN, Interface("valid"), Interface("axi-stream", 8), Interface("axi-stream", 64))
MODELS = ("feedforward", "feedforward", "convnet")
ENCODER_BITS = {name: 3 if name in ("binary", "gray", "sign_magnitude") else 5 for name in REGISTRY.list_encoders()}


class Drawn(NamedTuple):
    """A model in evaluation mode and how it is to be compiled."""

    model: BaseLUTModel
    config: ModelConfig
    pipeline: str
    interface: Interface
    lut_inputs: int
    refused: int
    """How many drawn configurations were refused by the library before this one."""


def draw(seed: int) -> Drawn:
    """The model of a seed. What the library refuses to build is drawn anew."""
    chance = random.Random(seed)
    for refused in range(200):
        try:
            config = _draw_config(chance)
            model = _make_model(config, chance)
            pipeline, interface = chance.choice(PIPELINES_TRIED), chance.choice(INTERFACES_TRIED)
            return Drawn(model, config, pipeline, interface, chance.choice(LUT_INPUTS), refused)
        except ConfigError:
            continue
    raise AssertionError(f"seed {seed}: no configuration of 200 can be built")


def _draw_config(chance: random.Random) -> ModelConfig:
    model_type = chance.choice(MODELS)
    layer_type = chance.choice(REGISTRY.list_layers())
    node_type = chance.choice(REGISTRY.list_nodes())
    encoder = chance.choice(REGISTRY.list_encoders())
    bits = chance.randint(1, 8)
    config: dict[str, Any] = {
        "model_type": model_type,
        "layer_type": layer_type,
        "node_type": node_type,
        "encoder_config": {
            "name": encoder,
            "num_bits": chance.randint(1, ENCODER_BITS[encoder]),
            "feature_wise": chance.random() < 0.8,
        },
        "node_input_dim": chance.choice([1, 2, 2, 3, 4, 5, 6]),
        "layer_widths": [chance.randint(1, 24) for _ in range(chance.randint(1, 3))],
        "num_classes": chance.choice([1, 2, 3, 4, 7, 10]),
        "seed": chance.getrandbits(30),
        "node_kwargs": _choose(chance, NODE_OPTIONS[node_type]),
        "layer_kwargs": _choose(chance, LAYER_OPTIONS[layer_type]),
        "input_format": {"bits": bits, "signed": chance.random() < 0.5, "scale": 2.0 ** chance.randint(-4, 2)},
    }
    if chance.random() < 0.2:
        config["node_kwargs"]["output_dim"] = chance.randint(1, 3)
    if model_type == "convnet":
        config["params"] = _draw_images(chance)
    return ModelConfig(**config)


def _choose(chance: random.Random, options: Choices) -> dict[str, Any]:
    """Some of the options, each with one of its values."""
    return {name: chance.choice(values) for name, values in options.items() if chance.random() < 0.5}


def _draw_images(chance: random.Random) -> dict[str, Any]:
    size = chance.randint(2, 5)
    convolutions = []
    for _ in range(chance.randint(1, 2)):
        one: dict[str, Any] = {
            "out_channels": chance.randint(1, 3),
            "receptive_field": chance.randint(1, 3),
            "padding": chance.randint(0, 1),
            "stride": chance.randint(1, 2),
            "tree_depth": chance.randint(0, 1),
            "n_inputs_per_node": chance.randint(1, 4),
        }
        if chance.random() < 0.4:
            one["pool"] = 2
        convolutions.append(one)
    return {"image_shape": [chance.randint(1, 2), size, size], "convolutions": convolutions}


def _make_model(config: ModelConfig, chance: random.Random) -> BaseLUTModel:
    """A fitted model with random weights."""
    shape = config.params.get("image_shape")
    features = shape[0] * shape[1] * shape[2] if shape else chance.randint(1, 8)
    generator = torch.Generator().manual_seed(chance.getrandbits(40))
    model = build_model(config)
    assert isinstance(model, BaseLUTModel)
    data = torch.randn(40, features, generator=generator) * 4 ** chance.uniform(-1, 1)
    model.fit_encoder(model.input_format.quantize(data))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


def check(seed: int, languages: Sequence[str], folder: Path) -> Drawn:
    """Compile the model of a seed to each language and compare all answers; raises ``AssertionError`` otherwise."""
    drawn = draw(seed)
    graph = lower(drawn.model, "network")
    inputs = make_vectors(graph, None).inputs[:SAMPLES]
    expected = model_answers(drawn.model, inputs)
    run_passes(graph, optimising_passes(drawn.lut_inputs), inputs)
    run_passes(graph, expanding_passes(drawn.lut_inputs), inputs, repeat=False)
    for language in languages:
        place = folder / language
        place.mkdir(parents=True)
        in_hardware = language in HARDWARE
        scheduled = schedule(graph, drawn.pipeline if in_hardware else "none")
        plan = emit(scheduled, TARGETS[language], "net", drawn.interface if in_hardware else PLAIN)
        if not plan.interface.is_plain:
            simulator = LANGUAGES[language].simulators[0]
            simulate(plan, graph, inputs, {"class_index": np.array(expected)}, simulator, place)
            continue
        found = run_hardware(plan, graph, inputs, place) if in_hardware else run_c(plan, inputs, place)
        wrong = [sample for sample, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
        assert not wrong, (
            f"{language}: {len(wrong)} of {len(expected)} answers are wrong, first sample {wrong[0]}: "
            f"{found[wrong[0]]}, the model says {expected[wrong[0]]}"
        )
    return drawn


def model_answers(model: BaseLUTModel, inputs: Inputs) -> list[int]:
    """The class of every sample, the lowest of equal ones, by the model in evaluation mode."""
    with torch.no_grad():
        scores = model(model.input_format.to_reals(torch.from_numpy(inputs)))
    return [row.index(max(row)) for row in scores.tolist()]


def run_c(plan: BuildPlan, inputs: Inputs, folder: Path) -> list[int]:
    """The answers of the compiled program."""
    plan.write(folder)
    command = [str(need("gcc")), "-std=c99", "-O0", "-o", "program", f"{plan.top}_test.c"]
    subprocess.run(command, cwd=folder, check=True)
    rows = "\n".join(" ".join(map(str, row)) for row in inputs.tolist())
    done = subprocess.run([folder / "program", "-"], input=rows, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.splitlines()]


def run_hardware(plan: BuildPlan, graph: LutGraph, inputs: Inputs, folder: Path) -> list[int | str]:
    """The answers in simulation; an undefined one as it is printed."""
    printed = answers(plan, pack_features(graph, inputs), folder)
    return [int(bits, 2) if set(bits) <= {"0", "1"} else bits for bits in printed]


def languages_of(number: int, everything: bool = False) -> list[str]:
    """C, and for every so-manieth model one hardware language."""
    if everything:
        return ["c", *HARDWARE]
    return ["c", HARDWARE[number // EVERY_HARDWARE % len(HARDWARE)]] if number % EVERY_HARDWARE == 0 else ["c"]


def fuzz(first_seed: int, count: int, *, everything: bool = False) -> tuple[list[str], Counter[str]]:
    """Check ``count`` models; returns the failures, each with its seed, and how often everything was drawn."""
    failures: list[str] = []
    drawn_names: Counter[str] = Counter()
    for number in range(count):
        seed = first_seed + number
        languages = languages_of(number, everything)
        try:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # classes with fewer votes than others are on purpose
                drawn = check(seed, languages, Path(folder))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the seed that shows it must be printed
            failures.append(
                f"seed {seed}: {type(error).__name__}: {error}\n"
                f"  repeat with: PYTHONPATH=. python rtl_tests/fuzz.py --seed {seed} --count 1 --everything"
            )
            continue
        config = drawn.config
        names = (config.model_type, config.layer_type, config.node_type, config.encoder_config["name"], *languages)
        names += (f"{drawn.lut_inputs} inputs",)
        if set(languages) & set(HARDWARE):
            names += (drawn.interface.kind, drawn.pipeline)
        drawn_names.update([*names, "refused"] if drawn.refused else names)
    return failures, drawn_names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many models")
    parser.add_argument("--seed", type=int, default=None, help="seed of the first model; the next have the next ones")
    parser.add_argument("--everything", action="store_true", help="simulate every model in every language")
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(31)
    start = time.perf_counter()
    failures, drawn = fuzz(first, arguments.count, everything=arguments.everything)
    for failure in failures:
        print(failure)
    print(", ".join(f"{name} {number}" for name, number in sorted(drawn.items())))
    print(
        f"{arguments.count} models from seed {first}: {len(failures)} failures in {time.perf_counter() - start:.0f} s"
    )
    return min(1, len(failures))


if __name__ == "__main__":
    sys.exit(main())
