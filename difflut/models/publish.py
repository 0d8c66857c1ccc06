"""From a trained model to a pretrained one: smaller, and answering in eval mode exactly as before."""

from __future__ import annotations

import copy
import hashlib
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from difflut.data.dataset import Dataset
from difflut.errors import ConfigError
from difflut.layers.random_layer import RandomLayer
from difflut.models.base_model import BaseLUTModel
from difflut.models.model_config import ModelConfig
from difflut.models.model_file import save_model
from difflut.nodes.base_node import LutNode
from difflut.registry import REGISTRY


def publish_model(model: BaseLUTModel, name: str, dataset: Dataset, pretrained_dir: str | Path = "pretrained") -> Path:
    """Write a trained model as the pretrained model `name` and return the path of its YAML file.

    What is written is `freeze_model`'s. Under ``metadata`` stand ``test_accuracy`` (0 to 1, in eval mode, on the test
    data of `dataset`), ``test_samples`` and ``test_sha256`` (`digest_test_data`).

    Raises
    ------
    ConfigError : the model is not described by a `ModelConfig`, or the data are not of its classes.
    OSError : the files cannot be written.
    """
    frozen = freeze_model(model)
    if frozen.class_names != dataset.class_names:
        raise ConfigError(f"The data have the classes {dataset.class_names}, the model has {frozen.class_names}.")
    config: ModelConfig = frozen.get_config()
    if config.class_names == [str(index) for index in range(config.num_classes)]:
        config.class_names = None  # numbers are what a model without names has
    config.pretrained, config.pretrained_name, config.dataset = True, name, dataset.name
    folder = Path(pretrained_dir) / config.model_type
    folder.mkdir(parents=True, exist_ok=True)
    config.metadata = {
        **config.metadata,
        "test_accuracy": measure_accuracy(frozen, dataset),
        "test_samples": len(dataset.y_test),
        "test_sha256": digest_test_data(dataset),
    }
    save_model(frozen, folder / f"{name}.pth", compact=True)
    frozen.save_config(folder / f"{name}.yaml")
    return folder / f"{name}.yaml"


def freeze_model(model: BaseLUTModel) -> BaseLUTModel:
    """Return a copy whose tables, wiring and thresholds are the same, but which takes less space in a file.

    Learned wiring becomes fixed wiring, without its candidates. Weights are rounded towards zero to half precision in
    every bank whose truth table survives that.

    Raises
    ------
    ConfigError : the model is not described by a `ModelConfig`.
    """
    config = model.describe()
    if not isinstance(config, ModelConfig):
        raise ConfigError(f"A {config.model_type} model cannot be published; only those of a ModelConfig can.")
    if config.layer_type == "learnable":
        known = inspect.signature(RandomLayer).parameters
        config.layer_type = "random"
        config.layer_kwargs = {key: value for key, value in config.layer_kwargs.items() if key in known}
        config.runtime.pop("routing_tau", None)
    frozen = REGISTRY.get_model(config.model_type)(config)
    state = model.state_dict()
    frozen.load_state_dict({key: _find_entry(model, state, key) for key in frozen.state_dict()})
    for layer in frozen.lut_layers():
        for bank in layer.banks().values():
            round_weights(bank)
    _check_same_function(model, frozen)
    return frozen.eval()


def round_weights(bank: LutNode) -> None:
    """Round a bank's weights towards zero to half precision, unless one is too large or its table would change."""
    if any((parameter.abs() > torch.finfo(torch.float16).max).any() for parameter in bank.parameters()):
        return
    table, before = bank.truth_table(), copy.deepcopy(bank.state_dict())
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.copy_(_round_to_half(parameter))
    if not torch.equal(bank.truth_table(), table):
        bank.load_state_dict(before)


def measure_accuracy(model: BaseLUTModel, dataset: Dataset) -> float:
    """Return the share of the test samples, 0 to 1, whose class the model predicts as the hardware does."""
    return int((model.predict(dataset.x_test) == dataset.y_test).sum()) / len(dataset.y_test)


def digest_test_data(dataset: Dataset) -> str:
    """Return the SHA-256 of the test samples and their classes, by which a published figure names its data."""
    digest = hashlib.sha256(dataset.x_test.contiguous().numpy().tobytes())
    digest.update(dataset.y_test.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _round_to_half(values: Tensor) -> Tensor:
    """Return float16: the nearest number that is not further from zero."""
    rounded = values.detach().to(torch.float16)
    too_far = rounded.to(values.dtype).abs() > values.detach().abs()
    # One less in the bits of a float is the next number towards zero, whatever the sign.
    return (rounded.view(torch.int16) - too_far.to(torch.int16)).view(torch.float16)


def _find_entry(model: BaseLUTModel, state: dict[str, Any], key: str) -> Tensor:
    """Return an entry of the state of the frozen model; wiring that was learned is the choice that was made."""
    if key in state:
        entry: Tensor = state[key]
        return entry
    layer: Any = model.get_submodule(key.removesuffix(".mapping_indices"))
    chosen: Tensor = layer.mapping()
    return chosen


def _check_same_function(model: BaseLUTModel, frozen: BaseLUTModel) -> None:
    """Every table, every pin and every threshold of two models is the same, so every answer is; else a RuntimeError."""
    _check("the thresholds", torch.equal(model.encoder.thresholds, frozen.encoder.thresholds))
    _check("the input format", model.input_format == frozen.input_format)
    for index, (one, other) in enumerate(zip(model.lut_layers(), frozen.lut_layers(), strict=True)):
        for first, second in zip(one.wired_banks(), other.wired_banks(), strict=True):
            _check(f"tables of layers.{index}", torch.equal(first.bank.truth_table(), second.bank.truth_table()))
            _check(f"the nodes of layers.{index}", torch.equal(first.nodes, second.nodes))
            _check(f"the wiring of layers.{index}", torch.equal(first.pins, second.pins))


def _check(what: str, is_same: bool) -> None:
    if not is_same:
        raise RuntimeError(f"Freezing the model would have changed {what}; nothing was written.")
