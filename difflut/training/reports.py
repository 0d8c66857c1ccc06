"""What a training run says while it runs and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepReport:
    """After each optimiser step: `step` of `steps` in `epoch` of `epochs`, all counted from 1, and its loss."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochReport:
    """After each epoch (counted from 1). Accuracies are shares from 0 to 1.

    train_loss, train_accuracy : averages over the epoch's steps, in train mode, while the weights were changing.
    eval_train_accuracy : in eval mode, on a fixed part of the training data.
    validation_accuracy : in eval mode, on all held-out data.
    learning_rate : of the epoch's last step.
    is_best : whether no earlier epoch had a higher validation accuracy.
    seconds : duration of the epoch.
    """

    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    eval_train_accuracy: float
    validation_accuracy: float
    learning_rate: float
    is_best: bool
    seconds: float


def find_best(history: list[EpochReport]) -> EpochReport | None:
    """Return the last report with the highest validation accuracy; None if there is no report yet.

    The last one, because the learning rate falls: of equally good epochs it is the most settled.
    """
    return max(reversed(history), key=lambda report: report.validation_accuracy, default=None)


@dataclass(frozen=True)
class TrainingResult:
    """The outcome: accuracies (0 to 1) of the best epoch's model in eval mode, and where that model is.

    seconds : duration of all epochs, those before an interruption included.
    """

    best_epoch: int
    epochs: int
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    model_path: Path
