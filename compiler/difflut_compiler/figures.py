"""Figures of a compile that its documents show, and the fields of ``report.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difflut_compiler.interface import Interface
from difflut_compiler.names import Words


@dataclass(frozen=True)
class Accuracy:
    """Share of labelled samples answered correctly, from 0 to 1.

    ``simulated`` is that of the compiled files; None if not all samples were simulated.
    ``confusion`` counts the circuit's answers: a row per true class, a column per answer.
    """

    data: str
    samples: int
    model: float
    graph: float
    simulated: float | None
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class FirstSamples:
    """Some inputs and what the hardware answers, to look at; ``source`` says who gave the answers."""

    data: str
    source: str
    features: tuple[tuple[int, ...], ...]
    outputs: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class InputPort:
    """What is in the packed port ``features``: how many words, of which formats, and what a step of a word is worth."""

    features: int
    words: tuple[Words, ...]
    scale: float


@dataclass(frozen=True)
class Estimate:
    """An estimate, never a tool's result. ``estimated_fmax_mhz`` is None where no free tool times the family."""

    estimated_luts_by_part: Mapping[str, int]
    estimated_luts: int
    estimated_fmax_mhz: float | None


@dataclass(frozen=True)
class SynthesisCount:
    """Cells after generic synthesis: 6-input (or smaller) LUTs, and flip-flops."""

    luts: int
    flip_flops: int


SIZE_FIELDS: Mapping[str, Any] = {
    "nodes": Mapping[str, int],
    "levels": int,
    "estimated_lut6_by_layer": Mapping[str, int],
    "estimated_lut6": int,
}
REPORT_FIELDS: Mapping[str, Any] = {
    "top": str,
    "core": str,
    "interface": Interface,
    "target": str,
    "pipeline": str,
    "lut_inputs": int,
    "latency_cycles": int,
    "feature_bits": int,
    "input": InputPort,
    "outputs": Mapping[str, int],
    "class_names": tuple[str, ...],
    "lowered": SIZE_FIELDS,
    "optimised": SIZE_FIELDS,
    "estimates": Mapping[str, Estimate],
    "yosys_synthesis": SynthesisCount | None,
    "accuracy": Accuracy | None,
    "first_samples": FirstSamples,
    "files": tuple[str, ...],
    "binary_files": tuple[str, ...],
    "files_sha256": str,
    "model_sha256": str,
    "seconds": Mapping[str, float],
}
"""The types of the fields of ``report.json``, as :func:`~difflut_compiler.shapes.find_misfit` reads them."""
