"""DiffLUT: train networks of look-up tables that become FPGA logic.

The names below are loaded on first use (PEP 562), so ``import difflut`` and ``difflut.errors`` do not load torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers know; `_HOME_OF` is what Python does
    from difflut.data import Dataset as Dataset
    from difflut.data import load_dataset as load_dataset
    from difflut.errors import CheckpointError as CheckpointError
    from difflut.errors import ConfigError as ConfigError
    from difflut.errors import DataError as DataError
    from difflut.errors import DifflutError as DifflutError
    from difflut.errors import PluginError as PluginError
    from difflut.input_format import InputFormat as InputFormat
    from difflut.models import BaseLUTModel as BaseLUTModel
    from difflut.models import ConfiguredLUTModel as ConfiguredLUTModel
    from difflut.models import ModelConfig as ModelConfig
    from difflut.models import SimpleFeedForward as SimpleFeedForward
    from difflut.models import build_from_config as build_from_config
    from difflut.models import build_lut_pipeline as build_lut_pipeline
    from difflut.models import build_model as build_model
    from difflut.models import get_pretrained_model_info as get_pretrained_model_info
    from difflut.models import list_pretrained_models as list_pretrained_models
    from difflut.models import load_model as load_model
    from difflut.models import load_pretrained as load_pretrained
    from difflut.models import publish_model as publish_model
    from difflut.models import read_model_info as read_model_info
    from difflut.models import save_model as save_model
    from difflut.models import validate_config as validate_config
    from difflut.registry import REGISTRY as REGISTRY
    from difflut.registry import register_convolutional_layer as register_convolutional_layer
    from difflut.registry import register_encoder as register_encoder
    from difflut.registry import register_initializer as register_initializer
    from difflut.registry import register_layer as register_layer
    from difflut.registry import register_model as register_model
    from difflut.registry import register_node as register_node
    from difflut.registry import register_regularizer as register_regularizer
    from difflut.training import TrainingResult as TrainingResult
    from difflut.training import load_training_config as load_training_config
    from difflut.training import train as train
    from difflut.utils.modules import GroupSum as GroupSum

try:
    __version__ = version("difflut")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

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
    "data encoder encoders errors input_format kernels layers models nodes registry rules training utils".split()
)

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _SUBMODULES:
        return import_module(f"difflut.{name}")
    raise AttributeError(f"module 'difflut' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
