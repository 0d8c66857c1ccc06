"""What every model is: an encoder, stages of look-up tables, votes per class."""

from __future__ import annotations

import copy
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from difflut.encoders.base_encoder import BaseEncoder
from difflut.errors import CheckpointError, ConfigError, DataError
from difflut.input_format import InputFormat
from difflut.layers.lut_stage import LutStage
from difflut.models.base_config import BaseModelConfig
from difflut.models.model_config import ModelConfig
from difflut.models.model_file import load_model, save_model
from difflut.models.runtime import START_VALUES
from difflut.registry import REGISTRY
from difflut.utils.losses import add_losses
from difflut.utils.modules import GroupSum
from difflut.utils.randomness import make_generator
from difflut.utils.shapes import flatten_samples

_NAMED_FEATURES = 10  # in a warning
_PREDICTION_ROWS = 1024  # samples evaluated at a time: bounds the memory of predictions on whole data sets


class BaseLUTModel(nn.Module, ABC):
    """Input quantised to ``input_format``, ``encoder``, `stages` one after another, ``output_layer`` (GroupSum).

    In eval mode the network computes on bits what the hardware computes, for any real input: the class counts of `x`
    are those of the hardware on ``input_format.to_integers(x)``.

    A kind of model is a subclass that says what its layers are (`build_layers`) and, where it differs, what stands
    between them (`stages`) and how votes are grouped (`build_output_layer`). Nothing else may differ: training, model
    files and the compiler rely on `encode`, `forward` and `class_counts` as they are here, and the compiler refuses a
    model that overrides them.

    The model keeps its own copy of the configuration as ``config``. What it fills in itself (input size, input format)
    appears there, so that config and ``state_dict`` together are the whole model. The layers exist from the start if
    ``config.input_size`` is known, else from `fit_encoder` on.

    In eval mode `forward` obeys the runtime setting ``eval_mode``; `class_counts` and `predict` are the hardware's.

    Raises
    ------
    ConfigError : the configuration is not valid, or its node, layer or encoder arguments are not.
    """

    config_class: ClassVar[type[BaseModelConfig]] = ModelConfig
    """The kind of configuration that describes such a model."""

    config: Any  # an instance of config_class
    encoder: BaseEncoder
    output_layer: GroupSum

    def __init__(self, config: BaseModelConfig) -> None:
        super().__init__()
        config.validate()
        self.config = copy.deepcopy(config)
        self._built = copy.deepcopy(self.config)
        arguments = dict(self.config.describe_encoder())
        with blaming("encoder_config"), _single_precision():
            self.encoder = REGISTRY.get_encoder(arguments.pop("name"))(**arguments)
        if not self.encoder.flatten:
            raise ConfigError("The encoder has flatten false; a network of look-up tables needs flat bits.")
        self.layers = nn.ModuleList()
        self.output_layer = self.build_output_layer()
        if self.config.input_size is not None:
            self._add_layers(self.config.input_size)
        self.on_runtime_update()

    @abstractmethod
    def build_layers(self, input_size: int) -> Sequence[LutStage]:
        """Return the layers for samples of that many features; the first one reads ``encode``'s bits."""

    def build_output_layer(self) -> GroupSum:
        """Return what sums up the votes; by default groups of consecutive bits, one per class."""
        return GroupSum(self.config.num_classes)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return what stands between encoder and votes, in order, by name; by default the layers and nothing else.

        A stage is a `LutStage`, or a module that leaves bits as they are, such as ReLU and Flatten.
        """
        return [(f"layers.{index}", layer) for index, layer in enumerate(self.layers)]

    @classmethod
    def check_params(cls, config: Any) -> None:
        """Refuse ``config.params`` that this kind of model does not take; by default it takes none.

        Raises
        ------
        ConfigError : naming the parameter.
        """
        for name in config.params:
            raise ConfigError(f"Unknown model parameter params.{name} for a {config.model_type} model.")

    @classmethod
    @abstractmethod
    def min_state_bytes(cls, config: Any) -> int:
        """Return how many bytes the layers of such a model take at least, from its config alone.

        A model file smaller than that is refused before anything is built.
        """

    def lut_layers(self) -> Sequence[LutStage]:
        """Return ``layers`` with their type."""
        return [cast(LutStage, layer) for layer in self.layers]

    @property
    def input_format(self) -> InputFormat:
        """The number format of the input; a RuntimeError until configured or inferred by `fit_encoder`."""
        if self.config.input_format is None:
            raise RuntimeError("The model has no input format yet; call fit_encoder() on training data first.")
        return InputFormat(**self.config.input_format)

    @property
    def class_names(self) -> list[str]:
        """One name per class; numbers if the configuration has none."""
        return self.config.class_names or [str(index) for index in range(self.output_layer.k)]

    def fit_encoder(self, data: Tensor) -> None:
        """Set the encoder's thresholds from training data (samples, ...), and what the config leaves open.

        The input format is inferred if the config has none; then the thresholds are those of the quantised data. All
        features share the format, so the largest decides how fine it is: a UserWarning names features that vary but
        become constant in it, and those that keep few of their values if it is inferred, or reach beyond it if not.

        Raises
        ------
        DataError : the data are empty or not finite.
        ValueError : the data do not have ``config.input_size`` features.
        ConfigError : the data have more features than a model may have.
        """
        self._check_samples(data)
        data = flatten_samples(data).detach()
        if data.numel() == 0 or not torch.isfinite(data).all():
            raise DataError("The data to fit an encoder must be finite and not empty.")
        if self.config.input_size not in (None, data.shape[1]):
            raise ValueError(f"The model expects {self.config.input_size} features but the data have {data.shape[1]}.")
        is_inferred = self.config.input_format is None
        if is_inferred:
            self.config.input_format = asdict(InputFormat.infer(data))
        self._warn_of_lost_features(data, is_inferred)
        self.encoder.fit(self.input_format.quantize(data))
        if self.config.input_size is None:
            self._set_input_size(data.shape[1])

    def encode(self, x: Tensor) -> Tensor:
        """Return the bits of samples (batch, ...) as float32 (batch, input_size * num_bits).

        Raises
        ------
        RuntimeError : the encoder is not fitted.
        """
        if not self.encoder.is_fitted:
            raise RuntimeError("The model has no thresholds yet; call fit_encoder() on training data first.")
        self._check_samples(x)
        return self.encoder.encode(self.input_format.quantize(flatten_samples(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores (batch, num_classes) for samples (batch, ...): votes divided by ``output_tau``."""
        return cast(Tensor, self.output_layer(self._answer(x)))

    def class_counts(self, x: Tensor) -> Tensor:
        """Return the exact votes per class, int64 (batch, num_classes), as the hardware counts them.

        Raises
        ------
        DataError : `x` holds a NaN, for which there is no hardware input.
        """
        self._check_samples(x)
        if torch.isnan(x).any():
            raise DataError("The input holds a NaN, which no fixed-point number stands for; clean the data first.")
        with torch.no_grad(), self.as_hardware():
            parts = [self.output_layer.sum_groups(self._answer(rows)) for rows in torch.split(x, _PREDICTION_ROWS)]
        return torch.cat(parts).to(torch.int64)

    def predict(self, x: Tensor) -> Tensor:
        """Return the class with most votes, int64 (batch,); the lowest index among equals, as in hardware."""
        return self.class_counts(x).argmax(1)

    def get_regularization_loss(self) -> Tensor:
        """Return the weighted sum of all configured regularisers, a 0-d tensor to add to the training loss.

        Call it after `forward`, in train mode; see `LutStage.regularization`.
        """
        return add_losses(layer.regularization() for layer in self.lut_layers())

    def on_runtime_update(self) -> None:
        """Hand ``config.runtime`` on to the modules that use it; warn of a setting that nothing uses."""
        for key, value in self.config.runtime.items():
            if not self._set_runtime(key, value) and self.layers:
                warnings.warn(
                    f"The setting runtime.{key} has no effect on this model: none of its layers or nodes has it.",
                    UserWarning,
                    stacklevel=3,
                )

    def apply_runtime_overrides(self, overrides: dict[str, Any]) -> None:
        """Change runtime settings; one that is unknown or structural is a ConfigError and changes nothing.

        ``init_fn`` and ``init_kwargs`` act on layers that are built afterwards, not on those that exist.
        """
        for key in overrides:
            if key in self._built.structure():
                raise ConfigError(f"{key} is part of the structure and cannot be changed; build another model.")
        changed = copy.deepcopy(self.config)
        changed.runtime = {**changed.runtime, **copy.deepcopy(overrides)}
        changed.validate()
        self.config.runtime = changed.runtime
        self.on_runtime_update()

    def get_config(self) -> Any:
        """Return the model's own configuration, not a copy; `save_config` writes what is set in it.

        Changing its structure does not change the model; `build_model` makes a model of a changed config.
        """
        return self.config

    def describe(self) -> Any:
        """Return a copy of the configuration whose structure is the one that the model was built with.

        A structure that was changed in `get_config` since then is left out, with a UserWarning.

        Raises
        ------
        ConfigError : something else was changed to what no model can have, and `load_model` would refuse.
        """
        config = copy.deepcopy(self.config)
        for name, built in self._built.structure().items():
            if config.structure()[name] != built:
                warnings.warn(
                    f"{name} was changed in the config after the model was built with {built!r}, which still holds.",
                    UserWarning,
                    stacklevel=3,
                )
                setattr(config, name, copy.deepcopy(getattr(self._built, name)))
        config.validate()
        return config

    def save_config(self, path: str | Path) -> None:
        """Write the configuration as a YAML file: the structure as built, everything else as it is now.

        Raises
        ------
        ConfigError : the configuration was changed to one that is not valid; nothing is written.
        OSError : the file cannot be written.
        """
        self.describe().to_yaml(path)

    def save_weights(self, path: str | Path) -> None:
        """Write the weights as a whole model file, the one that `save_model` writes and `difflut-compile` reads.

        Weights need the thresholds and the number format of the input to mean anything, so they are not saved apart.

        Raises
        ------
        RuntimeError : the model's encoder is not fitted.
        OSError : the file cannot be written.
        """
        save_model(self, path)

    def load_weights(self, path: str | Path, map_location: str | torch.device = "cpu") -> None:
        """Take weights, thresholds and input format from a file that `save_weights` wrote.

        The model may be new: if it has no layers yet, it gets them. It stays on its device.

        Parameters
        ----------
        path : the file; nothing in it is executed, and it is checked as `load_model` does.
        map_location : device through which the weights go.

        Raises
        ------
        CheckpointError : the file cannot be used, or holds weights of another structure.
        """
        source = load_model(path).to(map_location)
        difference = self.config.find_difference(source.config)
        if difference is not None:
            raise CheckpointError(f"{path}: the weights are those of another model: {difference}.")
        self.config.input_format = source.config.input_format
        if self.config.input_size is None:
            self._set_input_size(source.config.input_size)
        self.load_state_dict(source.state_dict())

    @contextmanager
    def as_hardware(self) -> Iterator[None]:
        """Compute what the hardware does, whatever the mode and ``eval_mode``: eval mode that reads truth tables."""
        banks = [bank for layer in self.lut_layers() for bank in layer.banks().values()]
        eval_modes, were_training = [bank.eval_mode for bank in banks], [one.training for one in self.modules()]
        self.eval()
        for bank in banks:
            bank.eval_mode = "deterministic"
        try:
            yield
        finally:
            for module, was_training in zip(self.modules(), were_training, strict=True):
                module.training = was_training
            for bank, eval_mode in zip(banks, eval_modes, strict=True):
                bank.eval_mode = eval_mode

    def count_parameters(self) -> dict[str, int]:
        """Return the number of parameters: total, trainable, non_trainable."""
        total = sum(parameter.numel() for parameter in self.parameters())
        trainable = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        return {"total": total, "trainable": trainable, "non_trainable": total - trainable}

    def extra_repr(self) -> str:
        return f"{self.config.model_type}: {self.config.input_size} features, {self.output_layer.k} classes"

    def _set_runtime(self, key: str, value: Any) -> bool:
        """Hand on one setting and return whether anything uses it."""
        if key in START_VALUES:
            return True
        if key == "output_tau":
            self.output_layer.tau = value
            return True
        if key == "sampling_seed":  # one generator for all banks, so that no two draw the same numbers
            key, value = "sampling_generator", None if value is None else make_generator(value)
        used = [layer.set_runtime(key, value) for layer in self.lut_layers()]
        return any(used)

    def _check_samples(self, x: object) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"A model takes a torch tensor of samples, not {type(x).__name__}; torch.as_tensor(x) makes one."
            )
        if x.dim() == 0 or (x.dim() == 1 and self.config.input_size not in (None, 1)):
            raise ValueError(
                f"A model takes samples (batch, ...), not a tensor of shape {tuple(x.shape)}; "
                f"x.unsqueeze(0) is a batch of one sample."
            )

    def _warn_of_lost_features(self, data: Tensor, is_inferred: bool) -> None:
        form = self.input_format
        constant = form.find_constant(data)
        others = form.find_coarse(data) if is_inferred else form.find_clipped(data)
        others = [one for one in others if one not in constant]
        loss_of_others = "keep few of their values" if is_inferred else "are cut off at its ends"
        for features, loss in ((constant, "become constant"), (others, loss_of_others)):
            if features:
                names = ", ".join(map(str, features[:_NAMED_FEATURES])) + ", ..." * (len(features) > _NAMED_FEATURES)
                warnings.warn(
                    f"In the network's input format, {form.bits} bits from {form.min_integer * form.scale:g} to "
                    f"{form.max_integer * form.scale:g} in steps of {form.scale:g}, these features {loss}: {names} "
                    f"(columns counted from 0, without that of the labels). Bring all features to about the same "
                    f"range, or give an input_format that fits them all.",
                    UserWarning,
                    stacklevel=3,
                )

    def _set_input_size(self, input_size: int) -> None:
        self.config.input_size = input_size
        self.config.validate()
        self._built = copy.deepcopy(self.config)
        self._add_layers(input_size)
        self.on_runtime_update()

    def _add_layers(self, input_size: int) -> None:
        device = self.encoder.thresholds.device  # where the model was moved before it had layers
        with _single_precision():
            self.layers.extend(layer.to(device) for layer in self.build_layers(input_size))
        width = self.lut_layers()[-1].output_width
        with blaming("the output layer"):
            self.output_layer.check_votes(width)
            self.output_layer.order(width)

    def _answer(self, x: Tensor) -> Tensor:
        features = self.encode(x)
        for _, stage in self.stages():
            features = stage(features)
        return features


_default_type_lock = threading.RLock()


@contextmanager
def _single_precision() -> Iterator[None]:
    """Make new numbers float32 for a while, as bits of encoders are, whatever the default type of the program.

    That type is one for all threads, so models are built one after the other: a thread that came in between would take
    float32 for the type of the program, and set it for good, or be given back that of the program too early.
    """
    with _default_type_lock:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def blaming(part: str) -> Iterator[None]:
    """Turn what a constructor says about its arguments into a ConfigError about a part of the configuration."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The configuration of {part} is not usable: {error}") from error
