"""GroupSum, by value."""

from __future__ import annotations

import pytest
import torch

from difflut.utils.modules import GroupSum


def test_sums_of_consecutive_groups_divided_by_tau() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]])
    assert GroupSum(3)(x).tolist() == [[3.0, 7.0, 11.0], [0.0, 1.0, 1.0]]
    assert GroupSum(2, tau=2.0)(x).tolist() == [[3.0, 7.5], [0.5, 0.5]]
    assert GroupSum(2, tau=2.0).sum_groups(x).tolist() == [[6.0, 15.0], [1.0, 1.0]]


def test_feature_major_memory_gives_the_same_sums() -> None:
    x = torch.rand(6, 4)
    assert torch.equal(GroupSum(2)(x.t()), GroupSum(2)(x.t().contiguous()))


def test_last_groups_lack_what_does_not_divide() -> None:
    with pytest.warns(UserWarning, match="lack 2 features"):
        assert GroupSum(3)(torch.ones(1, 10)).tolist() == [[4.0, 4.0, 2.0]]
    assert GroupSum(3).group_size(10) == 4
    assert GroupSum(3).group_size(9) == 3


@pytest.mark.parametrize(("k", "tau"), [(0, 1.0), (-1, 1.0), (2.0, 1.0), (2, 0.0), (2, -1.0), (2, float("nan"))])
def test_bad_arguments(k: int, tau: float) -> None:
    with pytest.raises(ValueError, match="GroupSum"):
        GroupSum(k, tau)


def test_bad_inputs() -> None:
    with pytest.raises(ValueError, match="3 features"):
        GroupSum(4)(torch.ones(1, 3))
    with pytest.raises(ValueError, match="expected"):
        GroupSum(4)(torch.ones(8))
