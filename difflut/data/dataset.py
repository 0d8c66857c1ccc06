"""The form in which data reach training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from difflut.errors import DataError
from difflut.utils.randomness import make_generator

_MAX_SEED = 2**62


@dataclass(frozen=True)
class Dataset:
    """Training and test data of a classification task.

    Parameters
    ----------
    x_train, x_test : float32 (samples, features), finite.
    y_train, y_test : int64 (samples,), from 0 to ``len(class_names) - 1``.
    class_names : one name per class.
    name : for people to read.
    sample_shape : what the features of a sample are in order, e.g. ``(28, 28)`` for rows of an image;
        ``(features,)`` if not given.

    Raises
    ------
    DataError : a part is empty, not finite, or contradicts another part.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    class_names: list[str]
    name: str
    sample_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            self._check_part(part, x, y)
        if self.x_train.shape[1] != self.x_test.shape[1]:
            raise DataError(
                f"{self.name}: x_train has {self.x_train.shape[1]} features but x_test has {self.x_test.shape[1]}."
            )
        if not self.sample_shape:
            object.__setattr__(self, "sample_shape", (self.x_train.shape[1],))
        if math.prod(self.sample_shape) != self.x_train.shape[1]:
            raise DataError(
                f"{self.name}: samples of shape {self.sample_shape} do not have {self.x_train.shape[1]} features."
            )

    def _check_part(self, part: str, x: Tensor, y: Tensor) -> None:
        if x.dim() != 2 or x.numel() == 0:
            raise DataError(f"{self.name}: x_{part} is empty or not a table of samples and features.")
        if y.shape != (x.shape[0],):
            raise DataError(f"{self.name}: x_{part} has {x.shape[0]} samples but y_{part} has shape {tuple(y.shape)}.")
        bad = (~torch.isfinite(x)).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise DataError(f"{self.name}: x_{part} is not finite in row {row}, feature {column} (counted from 0).")
        if int(y.min()) < 0 or int(y.max()) >= len(self.class_names):
            raise DataError(
                f"{self.name}: y_{part} holds labels from {int(y.min())} to {int(y.max())}, "
                f"expected 0 to {len(self.class_names) - 1}."
            )


def split_stratified(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split sample indices so that each class gives about `fraction` of its samples to the second part.

    A class with at least two samples keeps one in the first part and gives at least one to the second.

    Parameters
    ----------
    labels : int64 (samples,).
    fraction : share of the second part, above 0 and below 1.
    seed : fixes the choice.

    Returns
    -------
    int64 indices of the first and of the second part, each ascending.

    Raises
    ------
    DataError : `fraction` or `seed` is out of its range, or a part would be empty.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise DataError(f"The seed of the split is {seed}; it must be from 0 to {_MAX_SEED}.")
    if not 0 < fraction < 1:
        raise DataError(f"The share of data to split off is {fraction!r}; it must be above 0 and below 1.")
    generator = make_generator(seed)
    split_off = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().squeeze(1)
        count = min(max(1, round(len(members) * fraction)), len(members) - 1)
        split_off[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    if not split_off.any() or split_off.all():
        raise DataError("There are too few samples to split; each class needs at least two.")
    return (~split_off).nonzero().squeeze(1), split_off.nonzero().squeeze(1)
