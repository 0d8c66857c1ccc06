"""Output stage of a network: votes per class."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from difflut.kernels import choice, chosen_for, cpu
from difflut.utils.randomness import make_generator


class GroupSum(nn.Module):
    """Sums consecutive groups of features, one group per class, and divides by a temperature.

    A group has ceil(features / k) features. If k does not divide the number of features, the last groups get fewer or
    none, which costs those classes votes; a UserWarning says which.

    Parameters
    ----------
    k : number of groups (classes).
    tau : positive; larger makes a softmax of the output softer. It does not change which class wins.
    use_randperm : whether groups are of features drawn at random instead. The draw is made once, when the number of
        features is first known, and is the buffer ``permutation``: feature ``permutation[i]`` stands at place i.
    seed : of that draw.

    Raises
    ------
    ValueError : `k` is not a positive integer, `tau` is not positive, or there are fewer features than groups.
    """

    permutation: Tensor | None

    def __init__(self, k: int = 1, tau: float = 1.0, use_randperm: bool = False, *, seed: int = 42) -> None:
        super().__init__()
        if type(use_randperm) is not bool:
            raise ValueError(f"GroupSum: use_randperm is {use_randperm!r}; it must be true or false.")
        if type(k) is not int or k < 1:
            raise ValueError(f"GroupSum: k is {k!r}; it must be a positive integer.")
        if not tau > 0:
            raise ValueError(f"GroupSum: tau is {tau!r}; it must be above 0.")
        self.k = k
        self.tau = tau
        self._seed = seed
        self.register_buffer("permutation", torch.empty(0, dtype=torch.int64) if use_randperm else None)

    def order(self, features: int) -> Tensor:
        """Return which feature stands at which place, int64 (features,); draws the permutation if there is none yet."""
        if self.permutation is None:
            return torch.arange(features)
        if not len(self.permutation):
            drawn = torch.randperm(features, generator=make_generator(self._seed))
            self.permutation = drawn.to(self.permutation.device)
        if len(self.permutation) != features:
            raise ValueError(f"GroupSum: its permutation is of {len(self.permutation)} features, not of {features}.")
        return self.permutation

    def check_buffers(self) -> None:
        """Raise ValueError, naming the buffer, if it could not be a permutation."""
        if self.permutation is not None:
            places = torch.arange(len(self.permutation), device=self.permutation.device)
            if not torch.equal(self.permutation.sort().values, places):
                raise ValueError("permutation is not a permutation")

    def group_size(self, features: int) -> int:
        """Return the size of the first groups for that many features."""
        if features < self.k:
            raise ValueError(f"GroupSum: {features} features cannot be divided into {self.k} groups.")
        return math.ceil(features / self.k)

    def check_votes(self, features: int) -> None:
        """Raise ValueError if a group would have none of that many features, so that its class could never win."""
        served = math.ceil(features / self.group_size(features))
        if served < self.k:
            raise ValueError(
                f"GroupSum: of {features} features, each of {self.k} groups takes {self.group_size(features)}, so "
                f"{_name_groups(served, self.k)} none; make the last layer a multiple of {self.k} wide."
            )

    def sum_groups(self, x: Tensor) -> Tensor:
        """Return the undivided sums: (batch, features) -> (batch, k)."""
        if x.dim() != 2:
            raise ValueError(f"GroupSum got input of shape {tuple(x.shape)}; expected (batch, features).")
        rows = x.t()  # layers answer feature-major, so these lie in one piece
        if self.permutation is not None:
            rows = rows[self.order(x.shape[1])]
        missing = self.k * self.group_size(x.shape[1]) - x.shape[1]
        if missing:
            self._warn_of_fewer_votes(x.shape[1])
            rows = nn.functional.pad(rows, (0, 0, 0, missing))
        if not chosen_for(1, rows=(rows,)) or choice.is_on_gpu(rows) or torch.compiler.is_compiling():
            return _sum_groups(rows, self.k).t()
        sums: Tensor = _SumGroups.apply(rows, self.k)  # type: ignore[no-untyped-call]
        return sums.t()

    def forward(self, x: Tensor) -> Tensor:
        return self.sum_groups(x) / self.tau

    def _warn_of_fewer_votes(self, features: int) -> None:
        size = self.group_size(features)
        full, rest = divmod(features, size)
        served = full + (rest > 0)
        fewer = [f"{_name_groups(full, full + 1)} {rest}"] * (rest > 0)
        none = [f"{_name_groups(served, self.k)} none"] * (served < self.k)
        warnings.warn(
            f"GroupSum: {features} features are not divisible by {self.k} groups: "
            f"{' and '.join([*fewer, *none])}, the others {size}.",
            UserWarning,
            stacklevel=3,
        )

    def extra_repr(self) -> str:
        return f"k={self.k}, tau={self.tau}, use_randperm={self.permutation is not None}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(prefix + "permutation")
        if self.permutation is not None and not len(self.permutation) and saved is not None:
            self.permutation = self.permutation.new_empty(saved.shape)  # the number of features is known only now
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _name_groups(first: int, end: int) -> str:
    """Say which groups get something, for groups from `first` to before `end`."""
    return f"class {first} gets" if end == first + 1 else f"classes {first} to {end - 1} get"


def _sum_groups(rows: Tensor, groups: int) -> Tensor:
    return rows.reshape(groups, rows.shape[0] // groups, rows.shape[1]).sum(1)


class _SumGroups(torch.autograd.Function):
    """`_sum_groups`, whose gradient comes from a kernel: it is as large as a layer's answer."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, groups: int) -> Tensor:
        ctx.group_size = rows.shape[0] // groups
        return _sum_groups(rows, groups)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # to be differentiated again
            return grad.repeat_interleave(ctx.group_size, 0), None
        return cpu.repeat_rows(grad, ctx.group_size), None
