"""Small models with random weights."""

from __future__ import annotations

from typing import Any

import torch

from difflut.models import ModelConfig, SimpleFeedForward


def make_model(features: int = 5, seed: int = 0, **changes: Any) -> SimpleFeedForward:
    """A fitted model in eval mode, with fields of its configuration changed by keyword."""
    fields: dict[str, Any] = {
        "model_type": "feedforward",
        "layer_type": "random",
        "node_type": "dwn",
        "encoder_config": {"name": "thermometer", "num_bits": 3},
        "node_input_dim": 4,
        "layer_widths": [14, 12],
        "num_classes": 3,
        "seed": seed,
    }
    model = SimpleFeedForward(ModelConfig(**{**fields, **changes}))
    random = torch.Generator().manual_seed(seed)
    data = torch.randn(60, features, generator=random) * 3
    if model.config.input_format is not None:
        data = model.input_format.quantize(data)
    model.fit_encoder(data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    return model.eval()
