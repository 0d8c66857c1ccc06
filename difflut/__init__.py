"""DiffLUT: train networks of look-up tables that become FPGA logic.

The names below are loaded on first use (PEP 562), so ``import difflut`` and ``difflut.errors`` do not load torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difflut.data import Dataset, load_dataset
    from difflut.errors import CheckpointError, ConfigError, DataError, DifflutError, PluginError
    from difflut.input_format import InputFormat
    from difflut.models import (
        BaseLUTModel,
        ConfiguredLUTModel,
        ModelConfig,
        SimpleFeedForward,
        build_from_config,
        build_lut_pipeline,
        build_model,
        get_pretrained_model_info,
        list_pretrained_models,
        load_model,
        load_pretrained,
        publish_model,
        read_model_info,
        save_model,
        validate_config,
    )
    from difflut.registry import (
        REGISTRY,
        register_convolutional_layer,
        register_encoder,
        register_initializer,
        register_layer,
        register_model,
        register_node,
        register_regularizer,
    )
    from difflut.training import TrainingResult, load_training_config, train
    from difflut.utils.modules import GroupSum

try:
    __version__ = version("difflut")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.1"

_HOME_OF = {
    "BaseLUTModel": "difflut.models",
    "CheckpointError": "difflut.errors",
    "ConfigError": "difflut.errors",
    "ConfiguredLUTModel": "difflut.models",
    "DataError": "difflut.errors",
    "Dataset": "difflut.data",
    "DifflutError": "difflut.errors",
    "GroupSum": "difflut.utils.modules",
    "InputFormat": "difflut.input_format",
    "ModelConfig": "difflut.models",
    "PluginError": "difflut.errors",
    "REGISTRY": "difflut.registry",
    "SimpleFeedForward": "difflut.models",
    "TrainingResult": "difflut.training",
    "build_from_config": "difflut.models",
    "build_lut_pipeline": "difflut.models",
    "build_model": "difflut.models",
    "get_pretrained_model_info": "difflut.models",
    "list_pretrained_models": "difflut.models",
    "load_dataset": "difflut.data",
    "load_model": "difflut.models",
    "load_pretrained": "difflut.models",
    "publish_model": "difflut.models",
    "load_training_config": "difflut.training",
    "read_model_info": "difflut.models",
    "register_convolutional_layer": "difflut.registry",
    "register_encoder": "difflut.registry",
    "register_initializer": "difflut.registry",
    "register_layer": "difflut.registry",
    "register_model": "difflut.registry",
    "register_node": "difflut.registry",
    "register_regularizer": "difflut.registry",
    "save_model": "difflut.models",
    "train": "difflut.training",
    "validate_config": "difflut.models",
}
_SUBMODULES = frozenset(
    {"data", "encoder", "encoders", "layers", "models", "nodes", "registry", "rules", "training", "utils"}
)

__all__ = [
    "REGISTRY",
    "BaseLUTModel",
    "CheckpointError",
    "ConfigError",
    "ConfiguredLUTModel",
    "DataError",
    "Dataset",
    "DifflutError",
    "GroupSum",
    "InputFormat",
    "ModelConfig",
    "PluginError",
    "SimpleFeedForward",
    "TrainingResult",
    "build_from_config",
    "build_lut_pipeline",
    "build_model",
    "get_pretrained_model_info",
    "list_pretrained_models",
    "load_dataset",
    "load_model",
    "load_pretrained",
    "load_training_config",
    "publish_model",
    "read_model_info",
    "register_convolutional_layer",
    "register_encoder",
    "register_initializer",
    "register_layer",
    "register_model",
    "register_node",
    "register_regularizer",
    "save_model",
    "train",
    "validate_config",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _SUBMODULES:
        return import_module(f"difflut.{name}")
    raise AttributeError(f"module 'difflut' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
