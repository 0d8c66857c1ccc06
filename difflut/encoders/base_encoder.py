"""What every encoder shares: a bank of sorted thresholds, which is all that fitting determines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn

from difflut.utils.shapes import flatten_samples

MAX_NUM_BITS = 1024


class BaseEncoder(nn.Module, ABC):
    """Compares every feature with its own ascending thresholds.

    Bit ``f * num_bits + b`` of a sample is [x_f > thresholds[f, b]]: feature-major, bit-minor. Encoding uses nothing
    but these comparisons, so that hardware comparators with the same constants agree exactly. The thresholds are a
    buffer: they travel with ``state_dict`` and ``to``, and load into an encoder that was never fitted.

    Parameters
    ----------
    num_bits : thresholds per feature, 1 to 1024.
    flatten : if true `encode` returns (batch, features * num_bits), else (batch, features, num_bits).
    feature_wise : fit each feature on its own values; if false, all features share the thresholds of the pooled data.

    Raises
    ------
    TypeError, ValueError : an argument has the wrong type or is out of its range.
    """

    thresholds: Tensor

    def __init__(self, num_bits: int, flatten: bool = True, feature_wise: bool = True) -> None:
        super().__init__()
        name = type(self).__name__
        if type(num_bits) is not int:
            raise TypeError(f"{name}: num_bits is {num_bits!r}; it must be an integer.")
        if not 1 <= num_bits <= MAX_NUM_BITS:
            raise ValueError(f"{name}: num_bits is {num_bits}; it must be from 1 to {MAX_NUM_BITS}.")
        if type(flatten) is not bool or type(feature_wise) is not bool:
            raise TypeError(f"{name}: flatten and feature_wise must be true or false.")
        self.num_bits = num_bits
        self.flatten = flatten
        self.feature_wise = feature_wise
        self.register_buffer("thresholds", torch.empty(0, num_bits))

    @abstractmethod
    def compute_thresholds(self, values: Tensor) -> Tensor:
        """Return float64 (features, num_bits), ascending, for float64 values (samples, features)."""

    @property
    def is_fitted(self) -> bool:
        return self.thresholds.shape[0] > 0

    def fit(self, x: Tensor) -> Self:
        """Determine the thresholds from data (samples, features) or (samples, ...), and return the encoder.

        Raises
        ------
        ValueError : the data are empty or not finite.
        """
        values = flatten_samples(x).to(torch.float64)
        if values.numel() == 0 or not torch.isfinite(values).all():
            raise ValueError(f"{type(self).__name__} needs data to fit that are finite and not empty.")
        if self.feature_wise:
            thresholds = self.compute_thresholds(values)
        else:
            thresholds = self.compute_thresholds(values.reshape(-1, 1)).expand(values.shape[1], -1)
        # Rounding keeps the order, so sorted float64 thresholds stay sorted.
        self.thresholds = thresholds.to(torch.float32).contiguous()
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
        bits = (values.t().unsqueeze(1) > self.thresholds.unsqueeze(2)).to(torch.float32)
        return bits.flatten(0, 1).t() if self.flatten else bits.permute(2, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x)

    def extra_repr(self) -> str:
        return f"num_bits={self.num_bits}, flatten={self.flatten}, feature_wise={self.feature_wise}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        saved = state_dict.get(prefix + "thresholds")
        if not self.is_fitted and saved is not None and saved.shape[1:] == self.thresholds.shape[1:]:
            self.thresholds = torch.empty_like(saved)  # make room: the number of features is known only now
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
