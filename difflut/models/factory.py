"""Building a model from its description, with or without published weights."""

from __future__ import annotations

import copy
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from difflut.errors import ConfigError
from difflut.models.base_config import BaseModelConfig, read_config_file
from difflut.models.base_model import BaseLUTModel
from difflut.models.model_config import ModelConfig
from difflut.models.published import find_pretrained, find_weights
from difflut.models.runtime import list_runtime_keys
from difflut.registry import REGISTRY


def build_model(
    source: BaseModelConfig | str | Path,
    load_weights: bool = True,
    overrides: dict[str, Any] | None = None,
    pretrained_dir: str | Path | None = None,
) -> BaseLUTModel:
    """Build a model: one with published weights in eval mode, any other untrained in training mode.

    Parameters
    ----------
    source : the name of a pretrained model, the path of a YAML file, or a config, which is not changed.
    load_weights : whether to load the weights of a named model, or of a config that says ``pretrained``. Those of a
        config are looked for beside its file, then by ``pretrained_name`` where `difflut.models.published` says. If
        there are none, the model is untrained, and a UserWarning says so.
    overrides : runtime settings that replace those of the config, and any other field; if weights are loaded, none
        that belongs to them: structure, input format and seed.
    pretrained_dir : where to look for pretrained models first.

    Raises
    ------
    FileNotFoundError : there is no such file or pretrained model; the message lists those that there are.
    ConfigError : the configuration or an override is not valid, or an override would change what comes with the
        weights.
    CheckpointError : the weights cannot be used.
    """
    config, weights = _find(source, pretrained_dir)
    with_weights = load_weights and config.pretrained
    config = _override(config, overrides or {}, with_weights)
    model = REGISTRY.get_model(config.model_type)(config)
    if not with_weights:
        return model
    if weights is None:
        warnings.warn(
            f"There is no file with the weights of {config.pretrained_name or 'a model without pretrained_name'}; "
            f"the model is untrained, call fit_encoder() first.",
            UserWarning,
            stacklevel=2,
        )
        return model
    model.load_weights(weights)
    return model.eval()


def load_pretrained(name: str, **arguments: Any) -> BaseLUTModel:
    """Return the pretrained model `name`; `arguments` as `build_model` takes them."""
    return build_model(name, **arguments)


def _find(
    source: BaseModelConfig | str | Path, pretrained_dir: str | Path | None
) -> tuple[BaseModelConfig, Path | None]:
    """Return the config, independent of `source`, and the file with its weights, if there is one."""
    if isinstance(source, BaseModelConfig):
        return copy.deepcopy(source), find_weights(source, pretrained_dir)
    if Path(source).suffix in {".yaml", ".yml"}:
        config = read_config_file(source)
        beside = Path(source).with_suffix(".pth")
        return config, beside if beside.is_file() else find_weights(config, pretrained_dir)
    entry = find_pretrained(str(source), pretrained_dir)
    config = ModelConfig.from_yaml(entry.config_path)
    config.pretrained, config.pretrained_name = True, entry.name
    return config, entry.weights_path


def _override(config: BaseModelConfig, overrides: dict[str, Any], with_weights: bool) -> BaseModelConfig:
    """Return the config with other values; a ConfigError names what is unknown or cannot change."""
    names = [entry.name for entry in fields(config)]  # type: ignore[arg-type]  # every config is a dataclass
    values = config.to_dict()
    for key, value in copy.deepcopy(overrides).items():
        if key in list_runtime_keys():
            values["runtime"][key] = value
        elif key not in names:
            raise ConfigError(
                f"Unknown override {key!r}; it must be a runtime setting ({', '.join(list_runtime_keys())}) "
                f"or a field of the config ({', '.join(names)})."
            )
        elif with_weights and key in ("input_format", "seed"):
            raise ConfigError(f"{key} comes with the weights and cannot be changed when they are loaded.")
        elif with_weights and key in config.structure():
            raise ConfigError(f"{key} is part of the structure and cannot be changed when weights are loaded.")
        else:
            values[key] = value
    return type(config).from_dict(values)
