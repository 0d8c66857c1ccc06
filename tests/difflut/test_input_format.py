"""Fixed-point input formats, against Python's own rounding and exact fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difflut.errors import ConfigError, DataError
from difflut.input_format import InputFormat
from difflut.models import ModelConfig, SimpleFeedForward

formats = st.builds(
    InputFormat,
    bits=st.integers(1, 24),
    signed=st.booleans(),
    scale=st.integers(-30, 30).map(lambda exponent: 2.0**exponent),
)
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(formats, numbers)
def test_to_integers_rounds_half_to_even_and_saturates(form: InputFormat, x: float) -> None:
    exact = round(Fraction(x) / Fraction(form.scale))
    expected = min(max(exact, form.min_integer), form.max_integer)
    assert form.to_integers(torch.tensor([x])).tolist() == [expected]


@given(formats, st.data())
def test_every_code_survives_the_way_to_reals_and_back(form: InputFormat, data: st.DataObject) -> None:
    code = data.draw(st.integers(form.min_integer, form.max_integer))
    real = form.to_reals(torch.tensor([code]))
    assert Fraction(real.item()) == code * Fraction(form.scale)
    assert form.to_integers(real).tolist() == [code]


@given(formats, st.lists(numbers, min_size=1, max_size=20))
def test_quantize_is_the_way_to_integers_and_back(form: InputFormat, values: list[float]) -> None:
    x = torch.tensor(values)
    assert torch.equal(form.quantize(x), form.to_reals(form.to_integers(x)))


def test_halves_go_to_the_even_integer() -> None:
    halves = torch.tensor([0.25, 0.75, 1.25, -0.25, -0.75])
    assert InputFormat(8, True, 0.5).to_integers(halves).tolist() == [0, 2, 2, 0, -2]
    assert InputFormat(8, True, 0.5).quantize(halves).tolist() == [0.0, 1.0, 1.0, 0.0, -1.0]


def test_ranges_of_signed_and_unsigned() -> None:
    assert (InputFormat(8, False, 1.0).min_integer, InputFormat(8, False, 1.0).max_integer) == (0, 255)
    assert (InputFormat(8, True, 1.0).min_integer, InputFormat(8, True, 1.0).max_integer) == (-128, 127)


def test_infinities_saturate_and_nan_is_refused() -> None:
    form = InputFormat(4, True, 0.5)
    assert form.to_integers(torch.tensor([float("inf"), -float("inf")])).tolist() == [7, -8]
    with pytest.raises(DataError, match="NaN"):
        form.to_integers(torch.tensor([1.0, float("nan")]))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([0, 16], InputFormat(5, False, 1.0)),
        ([0, 255], InputFormat(8, False, 1.0)),
        ([0, 0], InputFormat(1, False, 1.0)),
        ([2.0**24 - 1], InputFormat(24, False, 1.0)),
        ([0.0, 0.5], InputFormat(16, False, 2.0**-16)),
        ([-1.0, 1.0], InputFormat(16, True, 2.0**-14)),
        ([-3, 4], InputFormat(16, True, 2.0**-12)),
    ],
)
def test_infer(data: list[float], expected: InputFormat) -> None:
    assert InputFormat.infer(torch.tensor(data)) == expected


@given(st.lists(numbers.filter(lambda x: x == 0 or 2.0**-80 < abs(x) < 2.0**80), min_size=1, max_size=10))
def test_inferred_format_covers_the_data_within_half_a_step(values: list[float]) -> None:
    form = InputFormat.infer(torch.tensor(values))
    for value, code in zip(values, form.to_integers(torch.tensor(values)).tolist(), strict=True):
        assert abs(Fraction(value) - code * Fraction(form.scale)) <= Fraction(form.scale) / 2


@pytest.mark.parametrize("data", [[], [float("inf")], [float("nan")], [2.0**127 * 1.5]])
def test_infer_refuses_what_no_format_covers(data: list[float]) -> None:
    with pytest.raises(DataError):
        InputFormat.infer(torch.tensor(data))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"bits": 0}, "bits"),
        ({"bits": 25}, "bits"),
        ({"bits": True}, "bits"),
        ({"bits": 8.0}, "bits"),
        ({"signed": 1}, "signed"),
        ({"scale": 3.0}, "scale"),
        ({"scale": 0.0}, "scale"),
        ({"scale": -1.0}, "scale"),
        ({"scale": float("inf")}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": 2.0**101}, "scale"),
        ({"scale": "1"}, "scale"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=f"input_format.{named}"):
        InputFormat(**{"bits": 8, "signed": False, "scale": 1.0, **fields})  # type: ignore[arg-type]


def test_float64_inputs_are_quantised_in_float64() -> None:
    """Just above a half, where float32 would already round to the half and then to even."""
    number_format = InputFormat(8, False, 0.5)
    x = torch.tensor([(0.5 + 1e-12) * 0.5, (1.5 - 1e-12) * 0.5], dtype=torch.float64)
    assert number_format.to_integers(x).tolist() == [1, 1]
    assert torch.equal(number_format.quantize(x), number_format.to_reals(number_format.to_integers(x)))


# Columns of a table of particle collisions: the largest decides the steps of all.
def draw_table() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    energy = 2e6 * torch.rand(3000, generator=generator)
    angle = torch.randn(3000, generator=generator)
    share = 0.3 * torch.rand(3000, generator=generator)
    return torch.stack([energy, angle, share, torch.full((3000,), 0.1), 1000 * angle], 1)


def test_features_that_a_format_loses_are_found() -> None:
    table = draw_table()
    inferred = InputFormat.infer(table)
    assert [len(set(column.tolist())) for column in inferred.quantize(table).T[1:4]] == [1, 1, 1]
    assert inferred.find_constant(table) == [1, 2]  # a column that never varied has lost nothing
    assert inferred.find_coarse(table) == [1, 2]
    assert InputFormat(24, True, 1.0).find_constant(table) == [2]
    assert InputFormat(24, True, 1.0).find_coarse(table) == [1, 2]
    assert InputFormat(24, True, 2.0**-5).find_constant(table) == []
    assert InputFormat(24, True, 2.0**-5).find_coarse(table) == [2]
    assert InputFormat(24, True, 2.0**-8).find_coarse(table) == []


def test_features_beyond_the_ends_of_a_format_are_found() -> None:
    low, high = torch.zeros(6), torch.tensor([7.75, 7.8, 7.88, 8.0, 1.0, 3.0])
    low[4:] = torch.tensor([-0.12, -0.13])
    data = torch.stack((low, high))
    form = InputFormat(5, False, 0.25)  # 0 to 7.75; up to half a step beyond is rounded, not cut off
    assert form.find_clipped(data) == [2, 3, 5]
    codes = torch.round(data.double() / 0.25)
    assert (form.to_integers(data) != codes).any(0).nonzero().flatten().tolist() == [2, 3, 5]
    assert InputFormat(6, True, 0.25).find_clipped(data) == [2, 3]
    assert InputFormat.infer(data).find_clipped(data) == []


@pytest.mark.parametrize("samples", [200, 25_000])
@pytest.mark.parametrize(
    ("values", "kept", "found"), [(31, 15, True), (30, 15, False), (40, 16, False), (15, 15, False)]
)
def test_few_values_are_less_than_half_and_less_than_16(samples: int, values: int, kept: int, found: bool) -> None:
    x = (torch.arange(samples) % values).unsqueeze(1)
    x = torch.where(x < kept, x, kept - 1 + 0.25 * x / values)  # those above `kept` are rounded to one of the others
    form = InputFormat(8, False, 1.0)
    assert (len(set(x.flatten().tolist())), len(set(form.quantize(x).flatten().tolist()))) == (values, kept)
    assert form.find_coarse(x) == ([0] if found else [])


def test_a_format_that_loses_features_is_warned_of(make_config: Callable[..., ModelConfig]) -> None:
    table = draw_table()
    with pytest.warns(UserWarning, match=r", 16 bits from .* become constant: 1, 2 \("):
        SimpleFeedForward(make_config()).fit_encoder(table)
    table[:, 1:3] *= 300
    with pytest.warns(UserWarning, match=r"keep few of their values: 2 \("):
        SimpleFeedForward(make_config()).fit_encoder(table)
    own = {"bits": 24, "signed": True, "scale": 1.0}
    with pytest.warns(UserWarning, match=r"24 bits from -8.*e\+06 to 8.*e\+06 in steps of 1, .* become constant: 2 \("):
        SimpleFeedForward(make_config(input_format=own)).fit_encoder(draw_table())
    model = SimpleFeedForward(make_config(input_format=own))
    model.fit_encoder(table)
    table[:, 4] *= 1e4
    with pytest.warns(UserWarning, match=r"24 bits .* are cut off at its ends: 4 \("):
        model.fit_encoder(table)
    table[:, 4] /= 1e4
    SimpleFeedForward(make_config()).fit_encoder(table / table.abs().amax(0))
    SimpleFeedForward(make_config()).fit_encoder((16 * torch.rand(50, 4)).floor())
