"""Encoders, against their formulas in plain Python."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from difflut import encoder, encoders
from difflut.encoders import DistributiveThermometerEncoder, GaussianThermometerEncoder, ThermometerEncoder
from difflut.registry import REGISTRY

ALL = REGISTRY.list_encoders()
THERMOMETERS = ["thermometer", "distributive_thermometer", "gaussian_thermometer"]


def sample_data() -> Tensor:
    return torch.randn(31, 4, generator=torch.Generator().manual_seed(3)) * torch.tensor([1.0, 100.0, 1e-3, 0.0])


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("feature_wise", [True, False])
def test_thermometer_thresholds(bits: int, feature_wise: bool) -> None:
    data = sample_data()
    thresholds = ThermometerEncoder(bits, feature_wise=feature_wise).fit(data).thresholds
    for f in range(4):
        column = data[:, f].tolist() if feature_wise else data.flatten().tolist()
        low, high = min(column), max(column)
        expected = torch.tensor([low + k * (high - low) / (bits + 1) for k in range(1, bits + 1)])
        assert torch.equal(thresholds[f], expected)


@pytest.mark.parametrize("bits", [1, 2, 5, 40])
@pytest.mark.parametrize("feature_wise", [True, False])
def test_distributive_thresholds(bits: int, feature_wise: bool) -> None:
    data = sample_data()
    thresholds = DistributiveThermometerEncoder(bits, feature_wise=feature_wise).fit(data).thresholds
    for f in range(4):
        column = sorted(data[:, f].tolist() if feature_wise else data.flatten().tolist())
        expected = [column[int(len(column) * k / (bits + 1))] for k in range(1, bits + 1)]
        assert thresholds[f].tolist() == expected


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("feature_wise", [True, False])
def test_gaussian_thresholds(bits: int, feature_wise: bool) -> None:
    data = sample_data()
    thresholds = GaussianThermometerEncoder(bits, feature_wise=feature_wise).fit(data).thresholds
    for f in range(4):
        column = data[:, f].tolist() if feature_wise else data.flatten().tolist()
        mean, deviation = statistics.mean(column), statistics.stdev(column)
        normal = statistics.NormalDist()
        expected = [mean + deviation * normal.inv_cdf(k / (bits + 1)) for k in range(1, bits + 1)]
        assert thresholds[f].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6 * deviation)


def test_gaussian_thresholds_of_a_single_sample_are_that_sample() -> None:
    encoder = GaussianThermometerEncoder(3).fit(torch.tensor([[2.0, -1.0]]))
    assert encoder.thresholds.tolist() == [[2.0] * 3, [-1.0] * 3]


# -- codes, against their definition in exact arithmetic ---------------------------------------------------------------


def level(x: Fraction, low: Fraction, high: Fraction, parts: int) -> int:
    """The number of the part of [low, high] that holds x; a boundary belongs to the part below it."""
    return min(max(math.ceil((x - low) / (high - low) * parts) - 1, 0), parts - 1)


def in_binary(number: int, bits: int) -> list[int]:
    return [int(digit) for digit in f"{number:0{bits}b}"]


def slow_binary(x: Fraction, column: list[Fraction], bits: int) -> list[int]:
    return in_binary(level(x, min(column), max(column), 2**bits), bits)


def slow_gray(x: Fraction, column: list[Fraction], bits: int) -> list[int]:
    number = level(x, min(column), max(column), 2**bits)
    return in_binary(number ^ (number >> 1), bits)


def slow_onehot(x: Fraction, column: list[Fraction], bits: int) -> list[int]:
    number = level(x, min(column), max(column), bits)
    return [int(k == number) for k in range(bits)]


def slow_sign_magnitude(x: Fraction, column: list[Fraction], bits: int) -> list[int]:
    magnitude = level(abs(x), Fraction(0), max(map(abs, column)), 2 ** (bits - 1))
    return [int(x < 0), *in_binary(magnitude, bits - 1)]


def slow_logarithmic(x: Fraction, column: list[Fraction], bits: int) -> list[int]:
    offset = 0 if min(column) > 0 else 1 - min(column)
    start, ratio = min(column) + offset, (max(column) + offset) / (min(column) + offset)
    # Exact: (x + offset) / start > ratio ** (k / 2**bits), both sides to the power 2**bits.
    position = max(x + offset, start) / start
    return in_binary(sum(position ** (2**bits) > ratio**k for k in range(1, 2**bits)), bits)


SLOW: dict[str, Callable[[Fraction, list[Fraction], int], list[int]]] = {
    "binary": slow_binary,
    "gray": slow_gray,
    "onehot": slow_onehot,
    "sign_magnitude": slow_sign_magnitude,
    "logarithmic": slow_logarithmic,
}


def test_every_encoder_has_a_slow_definition() -> None:
    assert sorted([*SLOW, *THERMOMETERS]) == ALL


@pytest.mark.parametrize("feature_wise", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("name", SLOW)
def test_codes_are_those_of_the_definition(name: str, bits: int, feature_wise: bool) -> None:
    # Ranges whose edges are float32 numbers (values on them count), or else keep away from the values.
    columns: list[list[float]] = [
        [0, 16, 48, 64],
        [-64, -3, 7, 64],
        [-7.5, 0, 1, 8.5],
        [-48, -16, -1, -32],
        [1, 3, 5, 65536],
    ]
    data = torch.tensor(columns, dtype=torch.float32).t()
    encoder = REGISTRY.get_encoder(name)(bits, flatten=False, feature_wise=feature_wise).fit(data)
    pooled = [value for column in columns for value in column]
    for f, column in enumerate(columns):
        exact = [Fraction(value) for value in (column if feature_wise else pooled)]
        values = [*column, *(k / 2 for k in range(-140, 140)), 2.0**10, 2.0**12, 2.0**20, 1e30, -1e30, -0.0]
        batch = torch.zeros(len(values), len(columns))
        batch[:, f] = torch.tensor(values)
        codes = encoder(batch)[:, f].int().tolist()
        for x, code in zip(values, codes, strict=True):
            assert code == SLOW[name](Fraction(x), exact, bits), (f, x)


@pytest.mark.parametrize("name", ALL)
def test_code_words_are_distinct_and_levels_grow(name: str) -> None:
    encoder = REGISTRY.get_encoder(name)(5, flatten=False).fit(torch.linspace(-3, 5, 1001).unsqueeze(1))
    table = encoder.code_table()
    assert table.dtype == torch.bool
    assert table.shape == (encoder.num_thresholds + 1, 5)
    assert encoder.thresholds.shape == (1, encoder.num_thresholds)
    rows = table.int().tolist()
    assert len({tuple(row) for row in rows}) == len(rows)
    codes = encoder(torch.linspace(-3, 5, 1001).unsqueeze(1))[:, 0].int().tolist()
    levels = [rows.index(code) for code in codes]
    assert levels == sorted(levels)
    if name != "sign_magnitude":  # its range is from -5 to 5
        assert levels[0] == 0
    assert levels[-1] == len(rows) - 1
    if name not in ("logarithmic", "sign_magnitude"):
        assert set(levels) == set(range(len(rows)))


@pytest.mark.parametrize("name", ["binary", "gray", "sign_magnitude", "logarithmic"])
def test_every_word_of_a_dense_code_is_used(name: str) -> None:
    for bits in (2, 10):
        rows = REGISTRY.get_encoder(name)(bits).code_table().int().tolist()
        assert sorted(rows) == [in_binary(number, bits) for number in range(2**bits)]


def test_neighbours_in_gray_code_differ_in_one_bit() -> None:
    table = REGISTRY.get_encoder("gray")(7).code_table()
    assert ((table[1:] ^ table[:-1]).sum(1) == 1).all()


def test_sign_magnitude_is_symmetric_also_on_the_edges() -> None:
    encoder = REGISTRY.get_encoder("sign_magnitude")(4).fit(torch.tensor([[-0.7], [0.3]]))
    edges = encoder.thresholds[0, 8:]
    beside = [torch.nextafter(edges, torch.full_like(edges, side)) for side in (-math.inf, math.inf)]
    x = torch.cat([edges, *beside, torch.tensor([1e-30, 1e-3, 9.0])]).unsqueeze(1)
    assert torch.equal(encoder(x)[:, 1:], encoder(-x)[:, 1:])
    assert encoder(x)[:, 0].sum() == 0
    assert encoder(-x)[:, 0].all()
    assert encoder(torch.tensor([[0.0], [-0.0]])).sum() == 0


# -- what holds for all of them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature_wise", [True, False])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "data",
    [
        torch.zeros(5, 3),
        torch.full((5, 3), -7.0),
        torch.full((5, 3), 0.1),
        torch.tensor([[3.4e38, -3.4e38, 1e-45], [-3.4e38, -3.3e38, 3.4e38]]),
        torch.tensor([[1e300, -1e300, 0.0], [-1e300, -1e299, 1e-300]], dtype=torch.float64),
        torch.tensor([[1.0, -2.0, 3.0]]),
        torch.tensor([[0, 255, 3], [1, 255, 200]], dtype=torch.uint8),
        torch.tensor([[1.0, 1e8, -1e8], [1.0 + 1e-7, 1e8 + 8, -1e8 - 8]]),
    ],
    ids=["zeros", "constant", "no float", "huge", "beyond float32", "one sample", "bytes", "few numbers apart"],
)
def test_odd_data_give_ascending_thresholds_and_bits(name: str, data: Tensor, feature_wise: bool) -> None:
    encoder = REGISTRY.get_encoder(name)(4, flatten=False, feature_wise=feature_wise).fit(data)
    thresholds = encoder.thresholds
    assert torch.isfinite(thresholds).all()
    assert (thresholds[:, 1:] >= thresholds[:, :-1]).all()
    rows = encoder.code_table().int().tolist()
    x = torch.tensor([[-math.inf], [-1e38], [-1.0], [0.0], [0.1], [1.0], [1e38], [math.inf]]).expand(-1, 3)
    for values in (x, x.double(), data):
        for sample, codes in zip(values, encoder(values).int().tolist(), strict=True):
            for f, code in enumerate(codes):
                expected = sum(value > t for t in thresholds[f].tolist() for value in [sample[f].item()])
                assert code == rows[expected]
    assert set(encoder(torch.full((1, 3), math.nan)).flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("name", ALL)
def test_values_outside_the_range_have_the_outermost_codes(name: str) -> None:
    encoder = REGISTRY.get_encoder(name)(3).fit(torch.tensor([[-2.0], [0.5], [6.0]]))
    table = encoder.code_table().float()
    assert torch.equal(encoder(torch.tensor([[6.5], [1e30], [math.inf]])), table[[-1, -1, -1]])
    assert torch.equal(encoder(torch.tensor([[-6.5], [-1e30], [-math.inf]])), table[[0, 0, 0]])


@pytest.mark.parametrize("bits", [2, 6])
@pytest.mark.parametrize("name", ALL)
def test_bits_are_the_code_of_the_level_in_feature_major_order(name: str, bits: int) -> None:
    data = sample_data()
    encoder = REGISTRY.get_encoder(name)(num_bits=bits).fit(data)
    table, thresholds = encoder.code_table().float().tolist(), encoder.thresholds.tolist()
    found = encoder(data)
    assert found.shape == (31, 4 * bits)
    assert found.dtype == torch.float32
    for sample, row in zip(data.tolist(), found.tolist(), strict=True):
        levels = [sum(x > t for t in own) for x, own in zip(sample, thresholds, strict=True)]
        assert row == [bit for number in levels for bit in table[number]]


@pytest.mark.parametrize("name", ALL)
def test_unflattened_bits_and_samples_of_any_rank(name: str) -> None:
    data = sample_data().reshape(31, 2, 2)
    flat = REGISTRY.get_encoder(name)(num_bits=3).fit(data)
    cube = REGISTRY.get_encoder(name)(num_bits=3, flatten=False).fit(data)
    assert torch.equal(cube(data), flat(data).reshape(31, 4, 3))


@pytest.mark.parametrize("name", ALL)
def test_thresholds_load_into_an_unfitted_encoder(name: str) -> None:
    data = sample_data()
    fitted = REGISTRY.get_encoder(name)(num_bits=3).fit(data)
    fresh = REGISTRY.get_encoder(name)(num_bits=3)
    fresh.load_state_dict(fitted.state_dict())
    assert fresh.is_fitted
    assert torch.equal(fresh(data), fitted(data))


@pytest.mark.filterwarnings("ignore:.*is a no-op:UserWarning")  # nothing is copied to the meta device
@pytest.mark.parametrize("name", ALL)
def test_thresholds_load_in_the_type_and_to_the_device_of_the_encoder(name: str) -> None:
    state = REGISTRY.get_encoder(name)(num_bits=3).fit(sample_data()).state_dict()
    for device, dtype in (("meta", torch.float32), ("cpu", torch.float64)):
        fresh = REGISTRY.get_encoder(name)(num_bits=3).to(device, dtype)
        fresh.load_state_dict(state)
        assert (fresh.thresholds.device.type, fresh.thresholds.dtype) == (device, dtype)


def test_thresholds_do_not_remember_how_the_data_were_made() -> None:
    data = sample_data()
    encoder = ThermometerEncoder(3).fit(data * torch.ones(4, requires_grad=True))
    assert not encoder.thresholds.requires_grad
    assert torch.equal(copy.deepcopy(encoder).thresholds, ThermometerEncoder(3).fit(data).thresholds)


@pytest.mark.parametrize("name", ALL)
def test_thresholds_of_another_width_do_not_load(name: str) -> None:
    fitted = REGISTRY.get_encoder(name)(num_bits=3).fit(sample_data())
    with pytest.raises(RuntimeError, match="thresholds"):
        REGISTRY.get_encoder(name)(num_bits=4).load_state_dict(fitted.state_dict())


@pytest.mark.parametrize("name", ALL)
def test_an_unfitted_encoder_fits_itself_in_training_with_a_warning(name: str) -> None:
    data = sample_data()
    encoder = REGISTRY.get_encoder(name)(num_bits=3)
    with pytest.warns(UserWarning, match=r"thresholds from the first batch, of 31 samples; call fit\(\)"):
        found = encoder(data)
    fitted = REGISTRY.get_encoder(name)(num_bits=3).fit(data)
    assert torch.equal(found, fitted(data))
    assert torch.equal(encoder(2 * data), fitted(2 * data))  # fitted once, and without a further warning


@pytest.mark.parametrize("name", ALL)
def test_wrong_use_is_refused(name: str) -> None:
    encoder_class = REGISTRY.get_encoder(name)
    for unfitted in (encoder_class(num_bits=2).eval(), encoder_class(num_bits=2, auto_fit=False)):
        with pytest.raises(RuntimeError, match=r"fit\(\)"):
            unfitted(torch.zeros(1, 4))
    with pytest.raises(RuntimeError, match=r"fit\(\)"):
        encoder_class(num_bits=2).encode(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="4 features but got 5"):
        encoder_class(num_bits=2).fit(sample_data())(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="finite"):
        encoder_class(num_bits=2).fit(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match="empty"):
        encoder_class(num_bits=2).fit(torch.zeros(0, 4))
    for bits in (0, encoder_class.min_num_bits - 1, encoder_class.max_num_bits + 1):
        with pytest.raises(ValueError, match=f"num_bits is {bits}; it must be from"):
            encoder_class(num_bits=bits)
    assert encoder_class(encoder_class.max_num_bits).num_thresholds <= 1024
    with pytest.raises(TypeError, match="num_bits"):
        encoder_class(num_bits=2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="feature_wise"):
        encoder_class(num_bits=2, feature_wise="no")  # type: ignore[arg-type]


def test_bits_per_feature_have_a_default() -> None:
    bits = {name: REGISTRY.get_encoder(name)().num_bits for name in ALL}
    assert {bits[name] for name in THERMOMETERS} == {1}
    assert {bits[name] for name in ALL if name not in THERMOMETERS} == {8}


def test_both_names_of_the_package_give_the_same_classes() -> None:
    assert set(encoder.__all__) == set(encoders.__all__)
    for name in encoders.__all__:
        assert getattr(encoder, name) is getattr(encoders, name)
