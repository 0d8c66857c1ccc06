"""Whole networks: configuration, building, saving and loading."""

from difflut.models.base_config import BaseModelConfig, read_model_config
from difflut.models.base_model import BaseLUTModel
from difflut.models.factory import build_model
from difflut.models.feedforward import SimpleFeedForward
from difflut.models.model_config import ModelConfig
from difflut.models.model_file import load_model, save_model

__all__ = [
    "BaseLUTModel",
    "BaseModelConfig",
    "ModelConfig",
    "SimpleFeedForward",
    "build_model",
    "load_model",
    "read_model_config",
    "save_model",
]
