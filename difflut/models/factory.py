"""Building a model from its description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from difflut.errors import ConfigError
from difflut.models.base_config import BaseModelConfig, read_model_config
from difflut.models.base_model import BaseLUTModel
from difflut.models.model_config import ModelConfig
from difflut.registry import REGISTRY
from difflut.utils.yaml_files import read_yaml


def build_model(source: BaseModelConfig | str | Path, overrides: dict[str, Any] | None = None) -> BaseLUTModel:
    """Build an untrained model.

    Parameters
    ----------
    source : a config, which is not changed, or the path of a YAML file with one.
    overrides : runtime settings that replace those of the config.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ConfigError : the configuration or an override is not valid, or asks for pretrained weights.
    """
    config = source if isinstance(source, BaseModelConfig) else read_model_config(read_yaml(source))
    if isinstance(config, ModelConfig) and config.pretrained:
        raise ConfigError(
            "The configuration asks for pretrained weights, which this version does not ship; "
            "set pretrained to false, or load a trained model file with load_model()."
        )
    model = REGISTRY.get_model(config.model_type)(config)
    model.apply_runtime_overrides(overrides or {})
    return model
