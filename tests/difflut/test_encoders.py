"""Encoders, against their formulas in plain Python."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from difflut.encoders import DistributiveThermometerEncoder, ThermometerEncoder
from difflut.registry import REGISTRY

ALL = REGISTRY.list_encoders()


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


@pytest.mark.parametrize("name", ALL)
def test_bits_are_comparisons_in_feature_major_order(name: str) -> None:
    data = sample_data()
    encoder = REGISTRY.get_encoder(name)(num_bits=3).fit(data)
    bits = encoder(data)
    assert bits.shape == (31, 12)
    assert bits.dtype == torch.float32
    for sample in range(31):
        for f in range(4):
            for b in range(3):
                expected = float(data[sample, f] > encoder.thresholds[f, b])
                assert bits[sample, f * 3 + b] == expected


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


@pytest.mark.parametrize("name", ALL)
def test_thresholds_of_another_width_do_not_load(name: str) -> None:
    fitted = REGISTRY.get_encoder(name)(num_bits=3).fit(sample_data())
    with pytest.raises(RuntimeError, match="thresholds"):
        REGISTRY.get_encoder(name)(num_bits=4).load_state_dict(fitted.state_dict())


@pytest.mark.parametrize("name", ALL)
def test_wrong_use_is_refused(name: str) -> None:
    encoder_class = REGISTRY.get_encoder(name)
    with pytest.raises(RuntimeError, match=r"fit\(\)"):
        encoder_class(num_bits=2)(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="4 features but got 5"):
        encoder_class(num_bits=2).fit(sample_data())(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="finite"):
        encoder_class(num_bits=2).fit(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match="empty"):
        encoder_class(num_bits=2).fit(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="num_bits"):
        encoder_class(num_bits=0)
    with pytest.raises(TypeError, match="num_bits"):
        encoder_class(num_bits=2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="feature_wise"):
        encoder_class(num_bits=2, feature_wise="no")  # type: ignore[arg-type]
