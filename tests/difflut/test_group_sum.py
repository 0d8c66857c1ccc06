"""GroupSum, by value."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from difflut.errors import ConfigError
from difflut.models import ModelConfig, build_model, validate_config
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
    with pytest.warns(UserWarning, match=r"not divisible by 3 groups: class 2 gets 2, the others 4\."):
        assert GroupSum(3)(torch.ones(1, 10)).tolist() == [[4.0, 4.0, 2.0]]
    assert GroupSum(3).group_size(10) == 4
    assert GroupSum(3).group_size(9) == 3


@pytest.mark.parametrize(
    ("features", "k", "named"),
    [
        (9, 8, "class 4 gets 1 and classes 5 to 7 get none, the others 2"),
        (10, 7, "classes 5 to 6 get none, the others 2"),
        (7, 4, "class 3 gets 1, the others 2"),
        (12, 7, "class 6 gets none, the others 2"),
    ],
)
def test_the_warning_counts_votes_as_the_sums_do(features: int, k: int, named: str) -> None:
    with pytest.warns(UserWarning, match=f"{features} features are not divisible by {k} groups: {named}"):
        votes = GroupSum(k)(torch.ones(1, features))[0].tolist()
    for group, vote in enumerate(votes):
        if vote == 0:
            with pytest.raises(
                ValueError, match=f"(class {group} gets|classes .* to .* get) none; make the last layer"
            ):
                GroupSum(k).check_votes(features)
    if all(votes):
        GroupSum(k).check_votes(features)


def test_a_network_with_a_class_that_cannot_win_is_refused(make_config: Callable[..., ModelConfig]) -> None:
    with pytest.raises(ConfigError, match=r"output layer .* classes 5 to 7 get none"):
        build_model(make_config(layer_widths=[9], num_classes=8, input_size=5))
    late = build_model(make_config(layer_widths=[9], num_classes=8))
    with pytest.raises(ConfigError, match="classes 5 to 7 get none"):
        late.fit_encoder(torch.rand(20, 5))
    layers = [{"type": "random", "node_type": "dwn", "input_size": 8, "output_size": 9, "n": 2}]
    with pytest.raises(ConfigError, match=r"groupsum: .* classes 5 to 7 get none"):
        validate_config(
            {
                "encoder": {"type": "thermometer", "params": {"num_bits": 2}},
                "layers": layers,
                "groupsum": {"k": 8},
            }
        )


@pytest.mark.parametrize(("k", "tau"), [(0, 1.0), (-1, 1.0), (2.0, 1.0), (2, 0.0), (2, -1.0), (2, float("nan"))])
def test_bad_arguments(k: int, tau: float) -> None:
    with pytest.raises(ValueError, match="GroupSum"):
        GroupSum(k, tau)


def test_bad_inputs() -> None:
    with pytest.raises(ValueError, match="3 features"):
        GroupSum(4)(torch.ones(1, 3))
    with pytest.raises(ValueError, match="expected"):
        GroupSum(4)(torch.ones(8))


@pytest.mark.filterwarnings("ignore:.*is a no-op:UserWarning")  # nothing is copied to the meta device
def test_a_permutation_is_drawn_once_and_travels_with_the_state() -> None:
    x = torch.rand(5, 12, generator=torch.Generator().manual_seed(0))
    first, second, other = (GroupSum(3, use_randperm=True, seed=seed) for seed in (1, 1, 2))
    found = first(x)
    order = first.state_dict()["permutation"].tolist()
    assert sorted(order) == list(range(12))
    assert order != sorted(order)
    for sample, sums in zip(x.tolist(), found.tolist(), strict=True):
        expected = [sum(sample[order[4 * group + place]] for place in range(4)) for group in range(3)]
        assert sums == pytest.approx(expected)
    assert torch.equal(first.eval()(x), found)
    assert torch.equal(second(x), found)
    assert not torch.equal(other(x), found)
    fresh = GroupSum(3, use_randperm=True, seed=3)
    fresh.load_state_dict(other.state_dict())
    assert torch.equal(fresh(x), other(x))
    elsewhere = GroupSum(3, use_randperm=True).to("meta")
    elsewhere.load_state_dict(other.state_dict())
    assert elsewhere.order(12).device.type == "meta"
    with pytest.raises(ValueError, match="permutation is of 12 features, not of 15"):
        first(torch.rand(2, 15))
    first.permutation = torch.zeros(12, dtype=torch.int64)
    with pytest.raises(ValueError, match="permutation is not a permutation"):
        first.check_buffers()
    assert not GroupSum(3).state_dict()


def test_without_arguments_everything_is_summed() -> None:
    assert GroupSum()(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[6.0]]


@pytest.mark.filterwarnings("ignore:GroupSum")
def test_padding_comes_after_the_permutation() -> None:
    group_sum = GroupSum(3, use_randperm=True)
    sums = group_sum(torch.arange(10.0).unsqueeze(0))
    order = group_sum.order(10).tolist()
    assert sums.tolist() == [[float(sum(order[:4])), float(sum(order[4:8])), float(sum(order[8:]))]]


@pytest.mark.parametrize(("batch", "features"), [(5, 12), (1024, 120), (1024, 119)])  # the last ones in used memory
@pytest.mark.filterwarnings("ignore:GroupSum")
def test_gradients_of_first_and_second_order(batch: int, features: int) -> None:
    x = torch.rand(batch, features, dtype=torch.float64)
    member = torch.arange(features) // math.ceil(features / 4)
    sums = torch.stack([x[:, member == k].sum(1) for k in range(4)], dim=1) / 3
    slope = (3 * sums**2 / 3)[:, member]  # of the sum of the cubes
    total = torch.stack([slope[:, member == k].sum(1) for k in range(4)], dim=1)
    second = (2 * total * 2 * sums / 3)[:, member]  # of the sum of the squared slopes

    for _ in range(2):
        given = x.to(torch.float32).requires_grad_()
        (first,) = torch.autograd.grad((GroupSum(4, tau=3)(given) ** 3).sum(), given, create_graph=True)
        torch.testing.assert_close(first, slope.to(torch.float32))
        torch.testing.assert_close(torch.autograd.grad(first.square().sum(), given)[0], second.to(torch.float32))
