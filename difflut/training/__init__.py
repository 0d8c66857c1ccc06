"""Training a model from a configuration file."""

from difflut.training.config import DataSettings, OptimizerSettings, TrainingConfig, load_training_config
from difflut.training.reports import EpochReport, StepReport, TrainingResult
from difflut.training.trainer import train

__all__ = [
    "DataSettings",
    "EpochReport",
    "OptimizerSettings",
    "StepReport",
    "TrainingConfig",
    "TrainingResult",
    "load_training_config",
    "train",
]
