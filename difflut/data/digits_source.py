"""The 8x8 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import torch

from difflut.data.dataset import Dataset, split_stratified
from difflut.errors import DataError


def load_digits(*, test_fraction: float = 0.2, seed: int = 42) -> Dataset:
    """Load 1797 digits (64 features from 0 to 16, 10 classes; UCI Optical Digits), split stratified by class.

    Raises
    ------
    DataError : scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load  # optional, and slow to import
    except ImportError as error:
        raise DataError("The digits data need scikit-learn; install it with: pip install scikit-learn") from error
    digits = load()
    x = torch.from_numpy(digits.data).to(torch.float32)
    y = torch.from_numpy(digits.target).to(torch.int64)
    train, test = split_stratified(y, test_fraction, seed)
    names = [str(name) for name in digits.target_names]
    return Dataset(x[train], y[train], x[test], y[test], names, "digits", sample_shape=(8, 8))
