"""What every encoder shares: sorted thresholds, which are all that fitting determines, and fixed logic behind them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from difflut.utils.shapes import flatten_samples

MAX_THRESHOLDS = 1024  # per feature: each one becomes a comparator


class BaseEncoder(nn.Module, ABC):
    """Compares every feature with its own ascending thresholds and turns the answers into a code.

    The level of a feature is the number of thresholds [x_f > thresholds[f, k]] that it exceeds, and `code_table` says
    which bits every level has. Bit ``b`` of feature ``f`` is number ``f * num_bits + b``: feature-major, bit-minor.
    Encoding uses nothing but these comparisons and this table, so that hardware comparators with the same constants
    agree exactly. The thresholds are a buffer: they travel with ``state_dict`` and ``to``, and load into an encoder
    that was never fitted.

    This class is the thermometer code: a threshold per bit, and the bits are the comparisons themselves. A subclass
    says where the thresholds are (`compute_thresholds`); one with another code is a `CodedEncoder`.

    Parameters
    ----------
    num_bits : bits per feature, from `min_num_bits` to `max_num_bits` of the encoder: 1 to 1024 for thermometers.
    flatten : if true `encode` returns (batch, features * num_bits), else (batch, features, num_bits).
    feature_wise : fit each feature on its own values; if false, all features share the thresholds of the pooled data.
    auto_fit : if true, calling an unfitted encoder in training mode fits it on that batch, with a warning. `encode`
        itself never fits, and neither does a model.

    Raises
    ------
    TypeError, ValueError : an argument has the wrong type or is out of its range.
    """

    min_num_bits: ClassVar[int] = 1
    max_num_bits: ClassVar[int] = MAX_THRESHOLDS
    thresholds: Tensor

    def __init__(
        self, num_bits: int = 1, flatten: bool = True, feature_wise: bool = True, auto_fit: bool = True
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if type(num_bits) is not int:
            raise TypeError(f"{name}: num_bits is {num_bits!r}; it must be an integer.")
        if not self.min_num_bits <= num_bits <= self.max_num_bits:
            raise ValueError(
                f"{name}: num_bits is {num_bits}; it must be from {self.min_num_bits} to {self.max_num_bits}."
            )
        if not all(type(switch) is bool for switch in (flatten, feature_wise, auto_fit)):
            raise TypeError(f"{name}: flatten, feature_wise and auto_fit must be true or false.")
        self.num_bits = num_bits
        self.flatten = flatten
        self.feature_wise = feature_wise
        self.auto_fit = auto_fit
        self.num_thresholds = self.count_thresholds(num_bits)
        self.register_buffer("thresholds", torch.empty(0, self.num_thresholds))

    @abstractmethod
    def compute_thresholds(self, values: Tensor) -> Tensor:
        """Return float64 (features, num_thresholds), ascending, for float64 values (samples, features)."""

    @staticmethod
    def count_thresholds(num_bits: int) -> int:
        """Return how many thresholds per feature a code of `num_bits` bits takes."""
        return num_bits

    def code_table(self) -> Tensor:
        """Return bool (num_thresholds + 1, num_bits): row k is the code of a feature that exceeds k thresholds."""
        return torch.ones(self.num_thresholds + 1, self.num_bits, dtype=torch.bool).tril(-1)

    @property
    def is_fitted(self) -> bool:
        """Whether there are thresholds, from `fit` or from a checkpoint."""
        return self.thresholds.shape[0] > 0

    def fit(self, x: Tensor) -> Self:
        """Determine the thresholds from data (samples, features) or (samples, ...), and return the encoder.

        Raises
        ------
        ValueError : the data are empty or not finite.
        """
        values = flatten_samples(x).detach().to("cpu", torch.float64)  # the same thresholds wherever the data are
        if values.numel() == 0 or not torch.isfinite(values).all():
            raise ValueError(f"{type(self).__name__} needs data to fit that are finite and not empty.")
        if self.feature_wise:
            thresholds = self.compute_thresholds(values)
        else:
            thresholds = self.compute_thresholds(values.reshape(-1, 1)).expand(values.shape[1], -1)
        # Limiting and rounding keep the order, so sorted float64 thresholds stay sorted.
        limits = torch.finfo(torch.float32)
        thresholds = thresholds.clamp(limits.min, limits.max)
        self.thresholds = thresholds.to(self.thresholds.device, torch.float32).contiguous()
        return self

    def encode(self, x: Tensor) -> Tensor:
        """Encode data (batch, features) or (batch, ...) as float32 zeros and ones.

        Returns
        -------
        (batch, features * num_bits), or (batch, features, num_bits) if not `flatten`; feature-major in memory.

        Raises
        ------
        RuntimeError : the encoder is not fitted.
        ValueError : the number of features is not the fitted one.
        """
        if not self.is_fitted:
            raise RuntimeError(f"{type(self).__name__} has no thresholds yet; call fit() on training data first.")
        values = flatten_samples(x)
        features = self.thresholds.shape[0]
        if values.shape[1] != features:
            raise ValueError(f"{type(self).__name__} was fitted on {features} features but got {values.shape[1]}.")
        bits = self.code_bits(values.t())
        return bits.flatten(0, 1).t() if self.flatten else bits.permute(2, 0, 1)

    def code_bits(self, values: Tensor) -> Tensor:
        """Return the bits, float32 (features, num_bits, batch), of values (features, batch), as `code_table` says."""
        return (values.unsqueeze(1) > self.thresholds.unsqueeze(2)).to(torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Encode as `encode` does, but see `auto_fit` for an encoder that is not fitted."""
        if self.auto_fit and self.training and not self.is_fitted:
            warnings.warn(
                f"{type(self).__name__} was not fitted and takes its thresholds from the first batch, of "
                f"{x.shape[0]} samples; call fit() on the training data to have better ones.",
                UserWarning,
                stacklevel=2,
            )
            self.fit(x)
        return self.encode(x)

    def extra_repr(self) -> str:
        return f"num_bits={self.num_bits}, flatten={self.flatten}, feature_wise={self.feature_wise}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(prefix + "thresholds")
        if not self.is_fitted and saved is not None and saved.shape[1:] == self.thresholds.shape[1:]:
            self.thresholds = self.thresholds.new_empty(saved.shape)  # the number of features is known only now
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
