"""Model files: a trained model as one self-contained, checked file.

A file is what ``torch.save`` makes of a plain dict::

    {"format": "difflut-model", "version": 1, "config": model.config.to_dict(), "state": model.state_dict()}

A tensor of the state may be stored in a narrower type that holds its values exactly, see `save_model`.

Reading treats the file as untrusted: nothing in it is executed, nothing is allocated that the file does not itself
hold or the limits of its kind of configuration do not allow, and whatever is wrong with it becomes one
`CheckpointError`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from difflut.errors import CheckpointError, ConfigError
from difflut.layers.lut_stage import LutStage
from difflut.models.base_config import BaseModelConfig, read_model_config
from difflut.nodes.base_node import LutNode
from difflut.registry import REGISTRY
from difflut.utils.archive import check_header, read_archive, write_archive
from difflut.utils.modules import GroupSum
from difflut.utils.plain_values import check_plain

if TYPE_CHECKING:
    from difflut.models.base_model import BaseLUTModel

FORMAT = "difflut-model"
VERSION = 1
_NARROWER = {
    torch.float32: (torch.float16,),
    torch.int64: (torch.uint8, torch.int16, torch.int32),
}
"""Types in which a tensor may be stored, narrowest first, instead of its own."""
_MOST_NARROWING = 8
_KEYS = ["config", "format", "state", "version"]


def save_model(model: BaseLUTModel, path: str | Path, *, compact: bool = False) -> None:
    """Write a fitted model to `path`, replacing the file at once; equal models give equal bytes.

    With `compact`, every tensor is stored in the narrowest type that holds its values exactly: the model that comes
    back is the same, the file is smaller.

    Raises
    ------
    RuntimeError : the model's encoder is not fitted.
    ConfigError : the configuration was changed to one that `load_model` would refuse, or holds what a file cannot,
        such as a function; nothing is written.
    CheckpointError : `load_model` would refuse the weights, for their type or because they are not finite; nothing is
        written.
    OSError : the file cannot be written.
    """
    if not model.encoder.is_fitted:
        raise RuntimeError("The model has no thresholds yet; call fit_encoder() before saving it.")
    config = model.describe().to_dict()
    check_plain("config", config)
    state = model.state_dict()
    _check_numbers(state)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "config": config,
        "state": {name: _pack(tensor, compact) for name, tensor in state.items()},
    }
    write_archive(content, Path(path))


def _check_numbers(state: dict[str, Tensor]) -> None:
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        if tensor.dtype not in (torch.float32, *_NARROWER[torch.float32]):
            raise CheckpointError(f"{name} has type {tensor.dtype}, which no model file holds; use model.float().")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} holds values that are not finite.")


def _pack(tensor: Tensor, compact: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    for dtype in _NARROWER.get(tensor.dtype, ()) if compact else ():
        narrow = tensor.to(dtype)
        if torch.equal(narrow.to(tensor.dtype), tensor):
            return narrow
    return tensor.clone()  # a view would drag the whole storage behind it into the file


def load_model(path: str | Path) -> BaseLUTModel:
    """Read a model file and return the model in eval mode.

    Raises
    ------
    CheckpointError : the file cannot be read, is damaged, is not a model file of this version, or does not hold what
        its configuration requires; the message names the file and the offending entry.
    """
    try:
        content = read_archive(Path(path))
        config, state = _check_content(content)
        _check_config_fits_file(config, Path(path).stat().st_size)
        return _restore(config, state)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _check_content(content: object) -> tuple[BaseModelConfig, dict[Any, Any]]:
    check_header(content, FORMAT, VERSION)
    assert isinstance(content, dict)
    if sorted(map(str, content)) != _KEYS:
        raise CheckpointError(f"the file has the entries {sorted(map(str, content))}, expected {_KEYS}.")
    check_plain("config", content["config"])
    config = read_model_config(content["config"])
    if config.input_size is None or config.input_format is None:
        raise CheckpointError("config.input_size or config.input_format is missing; the model was never fitted.")
    if not isinstance(content["state"], dict):
        raise CheckpointError(f"state is a {type(content['state']).__name__}, expected a table of tensors.")
    return config, content["state"]


def _check_config_fits_file(config: BaseModelConfig, file_bytes: int) -> None:
    """Refuse, before building anything, a config whose layers and thresholds cannot be in a file of this size."""
    assert config.input_size is not None
    arguments = config.describe_encoder()
    thresholds = REGISTRY.get_encoder(arguments["name"]).count_thresholds(arguments["num_bits"])
    full_width = 4 * config.input_size * thresholds + REGISTRY.get_model(config.model_type).min_state_bytes(config)
    needed = full_width // _MOST_NARROWING
    if needed > file_bytes:
        raise CheckpointError(f"the configuration needs at least {needed} bytes of state, the file has {file_bytes}.")


def _restore(config: BaseModelConfig, state: dict[Any, Any]) -> BaseLUTModel:
    model = REGISTRY.get_model(config.model_type)(config)
    expected = _expected_state(model)
    _check_state(state, expected)
    model.load_state_dict({name: tensor.to(expected[name][1]) for name, tensor in state.items()})
    _check_values(model)
    return model.eval()


def _expected_state(model: BaseLUTModel) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()}
    # The new model's encoder is not fitted yet, so its own thresholds have no rows.
    assert model.config.input_size is not None
    expected["encoder.thresholds"] = ((model.config.input_size, model.encoder.num_thresholds), torch.float32)
    return expected


def _check_state(state: dict[Any, Any], expected: dict[str, tuple[tuple[int, ...], torch.dtype]]) -> None:
    for name in expected:
        if name not in state:
            raise CheckpointError(f"{name} is missing.")
    for name, tensor in state.items():
        if name not in expected:
            raise CheckpointError(f"{name!r} is not part of this model.")
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise CheckpointError(f"{name} is not a plain tensor.")
        shape, dtype = expected[name]
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}.")
        if tensor.dtype not in (dtype, *_NARROWER.get(dtype, ())):
            raise CheckpointError(f"{name} has type {tensor.dtype}, expected {dtype}.")


def _check_values(model: BaseLUTModel) -> None:
    _check_numbers(model.state_dict())
    thresholds = model.encoder.thresholds
    if (thresholds[:, 1:] < thresholds[:, :-1]).any():
        raise CheckpointError("encoder.thresholds is not ascending.")
    _check_buffers("output_layer", model.output_layer)
    for index, layer in enumerate(model.lut_layers()):
        _check_buffers(f"layers.{index}", layer)
        for name, bank in layer.banks().items():
            _check_buffers(f"layers.{index}.{name}", bank)


def _check_buffers(where: str, module: LutStage | LutNode | GroupSum) -> None:
    try:
        module.check_buffers()
    except ValueError as error:
        raise CheckpointError(f"{where}.{error}.") from error
