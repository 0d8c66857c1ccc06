"""Output stage of a network: votes per class."""

from __future__ import annotations

import math
import warnings

from torch import Tensor, nn


class GroupSum(nn.Module):
    """Sums consecutive groups of features, one group per class, and divides by a temperature.

    A group has ceil(features / k) features. If k does not divide the number of features, the last groups get fewer,
    which costs those classes votes; a UserWarning says so.

    Parameters
    ----------
    k : number of groups (classes).
    tau : positive; larger makes a softmax of the output softer. It does not change which class wins.

    Raises
    ------
    ValueError : `k` is not a positive integer, `tau` is not positive, or there are fewer features than groups.
    """

    def __init__(self, k: int, tau: float = 1.0) -> None:
        super().__init__()
        if type(k) is not int or k < 1:
            raise ValueError(f"GroupSum: k is {k!r}; it must be a positive integer.")
        if not tau > 0:
            raise ValueError(f"GroupSum: tau is {tau!r}; it must be above 0.")
        self.k = k
        self.tau = tau

    def group_size(self, features: int) -> int:
        """Return the size of the first groups for that many features."""
        if features < self.k:
            raise ValueError(f"GroupSum: {features} features cannot be divided into {self.k} groups.")
        return math.ceil(features / self.k)

    def sum_groups(self, x: Tensor) -> Tensor:
        """Return the undivided sums: (batch, features) -> (batch, k)."""
        if x.dim() != 2:
            raise ValueError(f"GroupSum got input of shape {tuple(x.shape)}; expected (batch, features).")
        missing = self.k * self.group_size(x.shape[1]) - x.shape[1]
        if missing:
            warnings.warn(
                f"GroupSum: {x.shape[1]} features are not divisible by {self.k} groups; "
                f"the last groups lack {missing} features.",
                UserWarning,
                stacklevel=2,
            )
            x = nn.functional.pad(x, (0, missing))
        return x.reshape(x.shape[0], self.k, x.shape[1] // self.k).sum(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.sum_groups(x) / self.tau

    def extra_repr(self) -> str:
        return f"k={self.k}, tau={self.tau}"
