"""Whole networks: configuration, building, saving and loading."""

from difflut.models.base_config import BaseModelConfig, read_model_config
from difflut.models.base_model import BaseLUTModel
from difflut.models.convnet import ConvNet
from difflut.models.factory import build_model, load_pretrained
from difflut.models.feedforward import SimpleFeedForward
from difflut.models.model_config import ModelConfig
from difflut.models.model_file import load_model, save_model
from difflut.models.model_info import LayerInfo, ModelFileInfo, read_model_info
from difflut.models.pipeline import ConfiguredLUTModel, build_from_config, build_lut_pipeline, validate_config
from difflut.models.pipeline_config import PipelineConfig
from difflut.models.publish import publish_model
from difflut.models.published import get_pretrained_model_info, list_pretrained_models

__all__ = [
    "BaseLUTModel",
    "BaseModelConfig",
    "ConfiguredLUTModel",
    "ConvNet",
    "LayerInfo",
    "ModelConfig",
    "ModelFileInfo",
    "PipelineConfig",
    "SimpleFeedForward",
    "build_from_config",
    "build_lut_pipeline",
    "build_model",
    "get_pretrained_model_info",
    "list_pretrained_models",
    "load_model",
    "load_pretrained",
    "publish_model",
    "read_model_config",
    "read_model_info",
    "save_model",
    "validate_config",
]
