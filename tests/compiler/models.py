"""Small models with random weights."""

from __future__ import annotations

import math
from typing import Any

import torch

from difflut.models import BaseLUTModel, ConvNet, ModelConfig, SimpleFeedForward


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
    _fill_with_random_values(model, features, seed)
    return model


def make_convnet(seed: int = 0, **changes: Any) -> ConvNet:
    """Two convolutions of 4 x 4 pixels with pooling in between, fitted and in eval mode, as `make_model`."""
    fields: dict[str, Any] = {
        "model_type": "convnet",
        "layer_type": "random",
        "node_type": "dwn",
        "encoder_config": {"name": "thermometer", "num_bits": 2},
        "node_input_dim": 3,
        "layer_widths": [9],
        "num_classes": 3,
        "seed": seed,
        "params": {
            "image_shape": [1, 4, 4],
            "convolutions": [
                {"out_channels": 2, "receptive_field": 3, "padding": 1, "tree_depth": 1, "pool": 2},
                {"out_channels": 3, "receptive_field": 2, "padding": 1, "tree_depth": 1, "n_inputs_per_node": 2},
            ],
        },
    }
    config = ModelConfig(**{**fields, **changes})
    model = ConvNet(config)
    _fill_with_random_values(model, math.prod(config.params["image_shape"]), seed)
    return model


def _fill_with_random_values(model: BaseLUTModel, features: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    data = torch.randn(60, features, generator=random) * 3
    if model.config.input_format is not None:
        data = model.input_format.quantize(data)
    model.fit_encoder(data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    model.eval()
