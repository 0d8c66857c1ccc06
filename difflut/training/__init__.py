"""Training a model from a configuration file."""

from difflut.training.config import DataSettings, OptimizerSettings, TrainingConfig, load_training_config
from difflut.training.processes import is_main_process
from difflut.training.reports import EpochReport, StepReport, TrainingResult
from difflut.training.run_state import can_resume
from difflut.training.trainer import train

__all__ = [
    "DataSettings",
    "EpochReport",
    "OptimizerSettings",
    "StepReport",
    "TrainingConfig",
    "TrainingResult",
    "can_resume",
    "is_main_process",
    "load_training_config",
    "train",
]
