"""The configuration of a training run: data, model, training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from difflut.data import SOURCES, Dataset, load_dataset, note_options
from difflut.errors import ConfigError
from difflut.models.base_config import BaseModelConfig, read_model_config
from difflut.models.checks import MAX_SEED
from difflut.utils.yaml_files import read_yaml

SCHEDULES = ("constant", "cosine")
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class DataSettings:
    """Where the data come from.

    Parameters
    ----------
    source : name of a data source.
    path : its file, for the sources that read one; a path given at run time replaces it.
    options : further arguments of the source.
    """

    source: str
    path: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ConfigError(f"data.source is {self.source!r}; available: {', '.join(sorted(SOURCES))}.")
        if self.path is not None and type(self.path) is not str:
            raise ConfigError(f"data.path is {self.path!r}; it must be a text.")
        if not isinstance(self.options, dict):
            raise ConfigError("data.options must be a table.")

    def load(self, path: str | Path | None) -> Dataset:
        """Load the data, from `path` if given."""
        return load_dataset(self.source, path if path is not None else self.path, **self.options)


@dataclass(frozen=True)
class OptimizerSettings:
    """How the weights are found: Adam on the cross-entropy of the class scores and the regularisers.

    Parameters
    ----------
    epochs : passes over the training data.
    batch_size : samples per step.
    learning_rate : of the first step.
    weight_decay : L2 penalty of Adam.
    schedule : ``cosine`` lowers the learning rate to zero over all steps; ``constant`` keeps it.
    validation_fraction : share of the training data that is held out to choose the best epoch.
    seed : fixes the held-out part and the order of the samples in every epoch.
    max_shift_pixels : in every epoch each training image moves by up to that many pixels, up or down and left or right,
        and zeros move in; 0 leaves the samples as they are. The samples must be images.
    threads : CPU threads while training; what torch uses if not given. Weights are reproducible for equal counts.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    schedule: str = "cosine"
    validation_fraction: float = 0.1
    seed: int = 42
    max_shift_pixels: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        self._check_integer("epochs", 1, 10**6)
        self._check_integer("batch_size", 1, 2**20)
        self._check_integer("seed", 0, MAX_SEED)
        self._check_integer("max_shift_pixels", 0, 2**15)
        if self.threads is not None:
            self._check_integer("threads", 1, 1024)
        self._check_number("learning_rate", 0, 1e3, low_allowed=False)
        self._check_number("weight_decay", 0, 1e3, low_allowed=True)
        self._check_number("validation_fraction", 0, 0.9, low_allowed=False)
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"training.schedule is {self.schedule!r}; available: {', '.join(SCHEDULES)}.")

    def _check_integer(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(f"training.{name} is {value!r}; it must be an integer from {low} to {high}.")

    def _check_number(self, name: str, low: float, high: float, *, low_allowed: bool) -> None:
        value = getattr(self, name)
        if type(value) not in (int, float) or not low <= value <= high or (value == low and not low_allowed):
            bound = "from" if low_allowed else "above"
            raise ConfigError(f"training.{name} is {value!r}; it must be a number {bound} {low} up to {high}.")


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run.

    Parameters
    ----------
    data : where the data come from.
    model : the description of the model, as its config's ``to_dict`` gives it; fields that the data determine (number
        and names of classes, input size, name of the data set) may be left out.
    training : how the weights are found.
    """

    data: DataSettings
    model: dict[str, Any]
    training: OptimizerSettings

    @classmethod
    def from_dict(cls, values: Any) -> TrainingConfig:
        """Build a config from plain values; a missing or unknown key is a ConfigError that names it."""
        sections = _check_table("The training configuration", values, {"data", "model", "training"})
        for name in ("data", "model", "training"):
            if name not in sections:
                raise ConfigError(f"The section {name!r} is missing; expected data, model and training.")
        if not isinstance(sections["model"], dict):
            raise ConfigError("The section 'model' must be a table of model fields.")
        return cls(
            data=_read_section("data", sections["data"], DataSettings),
            model=sections["model"],
            training=_read_section("training", sections["training"], OptimizerSettings),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return an independent copy as plain values."""
        return asdict(self)

    def model_config(self, dataset: Dataset) -> BaseModelConfig:
        """Complete the model section with what the data determine.

        Raises
        ------
        ConfigError : a field is not valid or contradicts the data.
        """
        from_data = {
            "num_classes": len(dataset.class_names),
            "input_size": dataset.x_train.shape[1],
            "class_names": dataset.class_names,
            "dataset": dataset.name,
        }
        noted = note_options(self.model.get("metadata"), self.data.source, self.data.options)
        config = read_model_config({**from_data, **self.model, **({"metadata": noted} if noted else {})})
        for name in ("num_classes", "input_size"):
            if getattr(config, name) != from_data[name]:
                raise ConfigError(f"model.{name} is {getattr(config, name)} but the data have {from_data[name]}.")
        return config


def load_training_config(path: str | Path) -> TrainingConfig:
    """Read the configuration of a training run from a YAML file.

    Raises
    ------
    ConfigError : the file cannot be read, is not YAML or does not describe a run.
    """
    try:
        values = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be read ({error.strerror}).") from error
    try:
        return TrainingConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_section(name: str, values: Any, settings: type[Settings]) -> Settings:
    known = [entry.name for entry in fields(settings)]  # type: ignore[arg-type]
    table = _check_table(f"The section {name!r}", values, set(known))
    if known[0] not in table:  # the first field of each section is the one without a default
        raise ConfigError(f"{name}.{known[0]} is missing.")
    return settings(**table)


def _check_table(what: str, values: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{what} must be a table.")
    for key in values:
        if key not in known:
            raise ConfigError(f"{what} has an unknown entry {key!r}; known: {', '.join(sorted(known))}.")
    return values
