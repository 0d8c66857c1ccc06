"""Small models that many tests start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

from difflut.models import ModelConfig, SimpleFeedForward

settings.register_profile("difflut", deadline=None)  # a busy machine must not fail a test
settings.load_profile("difflut")

ModelMaker = Callable[..., SimpleFeedForward]


def _make_config(**changes: Any) -> ModelConfig:
    fields: dict[str, Any] = {
        "model_type": "feedforward",
        "layer_type": "random",
        "node_type": "dwn",
        "encoder_config": {"name": "thermometer", "num_bits": 3},
        "node_input_dim": 4,
        "layer_widths": [14, 12],
        "num_classes": 3,
    }
    return ModelConfig(**{**fields, **changes})


def _make_model(**changes: Any) -> SimpleFeedForward:
    model = SimpleFeedForward(_make_config(**changes))
    model.fit_encoder(torch.randn(40, 5, generator=torch.Generator().manual_seed(7)))
    return model


@pytest.fixture(params=[torch.float64, torch.bfloat16], ids=str)
def default_type(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """A type that new tensors have in this test instead of float32, as in a program that sets one."""
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def make_config() -> Callable[..., ModelConfig]:
    """A function that makes a small config, with fields changed by keyword."""
    return _make_config


@pytest.fixture
def make_model() -> ModelMaker:
    """A function that makes a small fitted model of 5 features, with config fields changed by keyword."""
    return _make_model
