"""Whole networks: configuration, building, saving and loading."""

from difflut.models.base_model import BaseLUTModel
from difflut.models.factory import build_model
from difflut.models.feedforward import SimpleFeedForward
from difflut.models.model_config import ModelConfig
from difflut.models.model_file import load_model, save_model

__all__ = ["BaseLUTModel", "ModelConfig", "SimpleFeedForward", "build_model", "load_model", "save_model"]
