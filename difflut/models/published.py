"""Finding pretrained models: pairs of files ``<model type>/<name>.yaml`` and ``<name>.pth`` in a directory.

Directories are searched in this order, and the first one that has a name wins: the one given, the one that the
environment variable ``DIFFLUT_PRETRAINED_DIR`` names, ``pretrained`` in the working directory, and the one in this
package.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difflut.models.base_config import BaseModelConfig
from difflut.models.model_config import ModelConfig

ENVIRONMENT_VARIABLE = "DIFFLUT_PRETRAINED_DIR"
PACKAGE_DIR = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class PretrainedModel:
    """Where a pretrained model is; `weights_path` is None if there are no weights beside the config."""

    name: str
    model_type: str
    config_path: Path
    weights_path: Path | None


def list_pretrained_models(pretrained_dir: str | Path | None = None) -> dict[str, list[str]]:
    """Return the names of the pretrained models that `build_model` finds, sorted, by model type."""
    names: dict[str, list[str]] = {}
    for model in sorted(_find_all(pretrained_dir).values(), key=lambda one: (one.model_type, one.name)):
        names.setdefault(model.model_type, []).append(model.name)
    return names


def get_pretrained_model_info(name: str, pretrained_dir: str | Path | None = None) -> dict[str, Any]:
    """Say what is known of a pretrained model without loading its weights.

    Returns
    -------
    ``name``, ``model_type``, ``layer_widths``, ``num_classes``, ``dataset``, ``metadata`` (for the models of this
    package among others ``test_accuracy``, 0 to 1), ``config`` (a `ModelConfig`), ``config_path``, ``has_weights``,
    ``weights_path`` (None if there are none).

    Raises
    ------
    FileNotFoundError : there is no such model; the message lists those that there are.
    ConfigError : its config is not valid.
    """
    model = find_pretrained(name, pretrained_dir)
    config = ModelConfig.from_yaml(model.config_path)
    return {
        "name": name,
        "model_type": config.model_type,
        "layer_widths": config.layer_widths,
        "num_classes": config.num_classes,
        "dataset": config.dataset,
        "metadata": config.metadata,
        "config": config,
        "config_path": model.config_path,
        "has_weights": model.weights_path is not None,
        "weights_path": model.weights_path,
    }


def find_pretrained(name: str, pretrained_dir: str | Path | None = None) -> PretrainedModel:
    """Return where the pretrained model `name` is.

    Raises
    ------
    FileNotFoundError : there is no such model; the message lists those that there are.
    """
    models = _find_all(pretrained_dir)
    if name not in models:
        raise FileNotFoundError(
            f"There is no pretrained model {name!r}; available: {', '.join(sorted(models)) or 'none'}. "
            f"A configuration file is recognised by its suffix .yaml."
        )
    return models[name]


def find_weights(config: BaseModelConfig, pretrained_dir: str | Path | None = None) -> Path | None:
    """Return the file with the weights that a config asks for by ``pretrained_name``; None if there is none."""
    model = _find_all(pretrained_dir).get(config.pretrained_name or "")
    return None if model is None else model.weights_path


def _find_all(pretrained_dir: str | Path | None) -> dict[str, PretrainedModel]:
    """Return all pretrained models by name."""
    given = (pretrained_dir, os.environ.get(ENVIRONMENT_VARIABLE), "pretrained", PACKAGE_DIR)
    models: dict[str, PretrainedModel] = {}
    for directory in (Path(one) for one in given if one):
        for path in sorted(directory.glob("*/*.yaml")):
            weights = path.with_suffix(".pth")
            found = PretrainedModel(path.stem, path.parent.name, path, weights if weights.is_file() else None)
            models.setdefault(path.stem, found)
    return models
