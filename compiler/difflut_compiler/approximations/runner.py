"""Running approximations: one after the other, each with its record for the certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from difflut_compiler.accuracy import LabelledData, count_right, least_right
from difflut_compiler.errors import MismatchError
from difflut_compiler.graph import LutGraph


class Approximation(Protocol):
    """A frozen dataclass with a ``name``; ``apply`` leaves the graph alone and returns another and what it changed."""

    name: ClassVar[str]

    @property
    def budget_points(self) -> float:
        """How many percentage points of accuracy it may cost."""

    def apply(self, graph: LutGraph, training: LabelledData) -> tuple[LutGraph, str]: ...


@dataclass(frozen=True)
class Record:
    """What an approximation changed and what that cost; accuracies are shares from 0 to 1.

    The budget holds for the training samples, on which the choice was made; ``training_agreement`` is the share of them
    that both networks put into the same class. The test samples had no part in the choice.
    """

    name: str
    change: str
    budget_points: float
    data: str
    training_samples: int
    training_accuracy_before: float
    training_accuracy_after: float
    training_agreement: float
    test_samples: int
    test_accuracy_before: float
    test_accuracy_after: float


def approximate(
    graph: LutGraph, approximations: Sequence[Approximation], training: LabelledData, test: LabelledData
) -> tuple[LutGraph, tuple[Record, ...]]:
    """Apply ``approximations`` in order; raises :class:`MismatchError` if one costs more than its budget."""
    records = []
    for one in approximations:
        least = least_right(graph, training, one.budget_points)
        changed, change = one.apply(graph, training)
        changed.verify()
        if count_right(changed, training) < least:
            raise MismatchError(f"{one.name} cost more than {one.budget_points:g} percentage points of accuracy")
        records.append(
            Record(
                name=one.name,
                change=change,
                budget_points=one.budget_points,
                data=training.name,
                training_samples=len(training.labels),
                training_accuracy_before=count_right(graph, training) / len(training.labels),
                training_accuracy_after=count_right(changed, training) / len(training.labels),
                training_agreement=_agreement(graph, changed, training),
                test_samples=len(test.labels),
                test_accuracy_before=count_right(graph, test) / len(test.labels),
                test_accuracy_after=count_right(changed, test) / len(test.labels),
            )
        )
        graph = changed
    return graph, tuple(records)


def _agreement(one: LutGraph, other: LutGraph, data: LabelledData) -> float:
    classes = (graph.evaluate(data.inputs)["class_index"] for graph in (one, other))
    return float(np.equal(*classes).mean())
