"""Random models of every registered kind, with every option that changes what a network answers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from difflut import REGISTRY, ModelConfig, build_model
from difflut.errors import ConfigError
from difflut.models import BaseLUTModel
from difflut.models.base_config import BaseModelConfig
from difflut.models.pipeline_config import PipelineConfig

TRIES = 300
Choices = Mapping[str, Sequence[Any]]

NODE_OPTIONS: Mapping[str, Choices] = {
    "difflogic": {},
    "dwn": {},
    "dwn_stable": {"gradient_scale": [0.5, 1.25], "learn_gradient_scale": [False, True]},
    "fourier": {"use_all_frequencies": [False, True], "max_amplitude": [0.5, 1.0]},
    "hybrid": {},
    "linear_lut": {},
    "neurallut": {
        "hidden_width": [1, 3, 8],
        "depth": [1, 2, 3],
        "skip_interval": [1, 2],
        "activation": ["relu", "tanh"],
    },
    "polylut": {"degree": [1, 2, 3]},
    "probabilistic": {"temperature": [0.5, 1.0]},
    "warp": {"temperature": [0.5, 2.0]},
}
LAYER_OPTIONS: Mapping[str, Choices] = {
    "feature_groups": {"num_groups": [1, 2, 3, 5]},
    "learnable": {"num_candidates": [1, 4, 16], "input_groups": [1, 2]},
    "random": {"ensure_full_input_coverage": [False, True], "input_groups": [1, 2]},
}
CONVOLUTION_OPTIONS: Choices = {
    "tree_depth": [0, 1],
    "receptive_field": [1, 2, 3],
    "stride": [1, 2],
    "padding": [0, 1],
    "n_inputs_per_node": [1, 2, 3, 4],
    "grouped_connections": [False, True],
    "ensure_full_coverage": [False, True],
    "pool": [2],
}
GROUP_OPTIONS: Choices = {"tau": [0.5, 3.0], "use_randperm": [False, True]}
ENCODER_BITS = {name: 3 if name in ("binary", "gray", "sign_magnitude") else 5 for name in REGISTRY.list_encoders()}


def draw_model(chance: random.Random) -> tuple[BaseLUTModel, int]:
    """A fitted model with random weights in evaluation mode, and how many were drawn that the library refused."""
    for refused in range(TRIES):
        try:
            return _make_model(_draw_config(chance), chance), refused
        except ConfigError:
            continue
    raise AssertionError(f"no configuration of {TRIES} can be built")


def names_of(config: BaseModelConfig) -> set[str]:
    """The registered names in a configuration."""
    names = {config.model_type, config.describe_encoder()["name"]}
    if isinstance(config, PipelineConfig):
        return names | {layer[key] for layer in config.layers for key in ("type", "node_type")}
    assert isinstance(config, ModelConfig)
    return names | {config.layer_type, config.node_type}


def _draw_config(chance: random.Random) -> BaseModelConfig:
    return CONFIGS[chance.choice(list(CONFIGS))](chance)


def _draw_feedforward(chance: random.Random) -> BaseModelConfig:
    return ModelConfig(model_type="feedforward", **_draw_fields(chance))


def _draw_convnet(chance: random.Random) -> BaseModelConfig:
    size = chance.randint(2, 5)
    convolutions = [
        {"out_channels": chance.randint(1, 3), "receptive_field": 2, "tree_depth": 1}
        | _choose(chance, CONVOLUTION_OPTIONS)
        for _ in range(chance.randint(1, 2))
    ]
    params = {"image_shape": [chance.randint(1, 2), size, size], "convolutions": convolutions}
    return ModelConfig(model_type="convnet", **_draw_fields(chance), params=params)


def _draw_fields(chance: random.Random) -> dict[str, Any]:
    layer_type, node_type = chance.choice(REGISTRY.list_layers()), chance.choice(REGISTRY.list_nodes())
    encoder, arguments = _draw_encoder(chance)
    return {
        "layer_type": layer_type,
        "node_type": node_type,
        "encoder_config": {"name": encoder, **arguments},
        "node_input_dim": _draw_fan_in(chance),
        "layer_widths": [chance.randint(1, 24) for _ in range(chance.randint(1, 3))],
        "num_classes": chance.choice([1, 2, 3, 4, 7, 10]),
        "seed": chance.getrandbits(30),
        "node_kwargs": _draw_node(chance, node_type),
        "layer_kwargs": _choose(chance, LAYER_OPTIONS[layer_type]),
        "input_format": _draw_format(chance),
    }


def _draw_pipeline(chance: random.Random) -> BaseModelConfig:
    """Layers of different kinds one after the other."""
    encoder, arguments = _draw_encoder(chance)
    width = chance.randint(1, 8) * arguments["num_bits"]
    layers = []
    for _ in range(chance.randint(1, 3)):
        layer_type, node_type = chance.choice(REGISTRY.list_layers()), chance.choice(REGISTRY.list_nodes())
        node = _draw_node(chance, node_type)
        layer = {
            "type": layer_type,
            "node_type": node_type,
            "input_size": width,
            "output_size": chance.randint(1, 20),
            "n": _draw_fan_in(chance),
            "layer_params": _choose(chance, LAYER_OPTIONS[layer_type]),
            "node_params": node,
        }
        layers.append(layer)
        width = layer["output_size"] * node.get("output_dim", 1)
    groups = {"k": chance.choice([1, 2, 3, 4, 7, 10]), **_choose(chance, GROUP_OPTIONS)}
    return PipelineConfig(
        encoder={"type": encoder, "params": arguments},
        layers=layers,
        groupsum=groups if width > 10 or chance.random() < 0.7 else None,
        seed=chance.getrandbits(30),
        input_format=_draw_format(chance),
    )


CONFIGS: Mapping[str, Callable[[random.Random], BaseModelConfig]] = {
    "feedforward": _draw_feedforward,
    "convnet": _draw_convnet,
    "pipeline": _draw_pipeline,
}
"""How a model of each kind is drawn."""


def _draw_encoder(chance: random.Random) -> tuple[str, dict[str, Any]]:
    name = chance.choice(REGISTRY.list_encoders())
    return name, {"num_bits": chance.randint(1, ENCODER_BITS[name]), "feature_wise": chance.random() < 0.8}


def _draw_fan_in(chance: random.Random) -> int:
    return chance.choice([1, 2, 2, 3, 4, 5, 6])


def _draw_node(chance: random.Random, node_type: str) -> dict[str, Any]:
    outputs = {"output_dim": chance.randint(1, 3)} if chance.random() < 0.2 else {}
    return _choose(chance, NODE_OPTIONS[node_type]) | outputs


def _draw_format(chance: random.Random) -> dict[str, Any]:
    return {
        "bits": chance.choice([1, 2, 3, 4, 5, 6, 7, 8, 8, 11]),
        "signed": chance.random() < 0.5,
        "scale": 2.0 ** chance.randint(-4, 2),
    }


def _choose(chance: random.Random, options: Choices) -> dict[str, Any]:
    """Some of the options, each with one of its values."""
    return {name: chance.choice(values) for name, values in options.items() if chance.random() < 0.5}


def _make_model(config: BaseModelConfig, chance: random.Random) -> BaseLUTModel:
    model = build_model(config)
    assert isinstance(model, BaseLUTModel)
    generator = torch.Generator().manual_seed(chance.getrandbits(40))
    data = torch.randn(40, _count_features(config, chance), generator=generator) * 4 ** chance.uniform(-1, 1)
    model.fit_encoder(model.input_format.quantize(data))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _count_features(config: BaseModelConfig, chance: random.Random) -> int:
    if config.input_size is not None:
        return config.input_size
    shape = config.params.get("image_shape") if isinstance(config, ModelConfig) else None
    return math.prod(shape) if shape else chance.randint(1, 8)
