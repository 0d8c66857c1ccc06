"""The standard network: encoder, layers, votes per class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import cast

import torch
from torch import Tensor, nn

from difflut.encoders.base_encoder import BaseEncoder
from difflut.errors import ConfigError, DataError
from difflut.input_format import InputFormat
from difflut.layers.base_layer import BaseLUTLayer
from difflut.models.base_model import BaseLUTModel
from difflut.models.model_config import ModelConfig
from difflut.registry import REGISTRY, register_model
from difflut.utils.modules import GroupSum
from difflut.utils.shapes import flatten_samples

_PREDICTION_ROWS = 1024  # samples evaluated at a time: bounds the memory of predictions on whole data sets


@register_model("feedforward")
@register_model("SimpleFeedForward")
class SimpleFeedForward(BaseLUTModel):
    """Input quantised to ``input_format``, ``encoder``, ``layers`` one after another, ``output_layer`` (GroupSum).

    In eval mode the network computes on bits what the hardware computes, for any real input: the class counts of `x`
    are those of the hardware on ``input_format.to_integers(x)``.

    The layers exist from the start if ``config.input_size`` is known, else from `fit_encoder` on.

    Raises
    ------
    ConfigError : the configuration is not valid, or its node, layer or encoder arguments are not.
    """

    encoder: BaseEncoder
    output_layer: GroupSum

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        arguments = {key: value for key, value in self.config.encoder_config.items() if key != "name"}
        with _blaming("encoder_config"):
            self.encoder = REGISTRY.get_encoder(self.config.encoder_config["name"])(**arguments)
        if not self.encoder.flatten:
            raise ConfigError("encoder_config.flatten is false; a feed-forward network needs flat bits.")
        self.layers = nn.ModuleList()
        self.output_layer = GroupSum(self.config.num_classes)
        if self.config.input_size is not None:
            self._build_layers(self.config.input_size)
        self.on_runtime_update()

    @property
    def input_format(self) -> InputFormat:
        """The number format of the input; a RuntimeError until configured or inferred by `fit_encoder`."""
        if self.config.input_format is None:
            raise RuntimeError("The model has no input format yet; call fit_encoder() on training data first.")
        return InputFormat(**self.config.input_format)

    def fit_encoder(self, data: Tensor) -> None:
        """Set the encoder's thresholds from training data (samples, ...), and what the config leaves open.

        The input format is inferred if the config has none; then the thresholds are those of the quantised data.

        Raises
        ------
        DataError : the data are empty or not finite.
        ValueError : the data do not have ``config.input_size`` features.
        ConfigError : the data have more features than a model may have.
        """
        data = flatten_samples(data)
        if data.numel() == 0 or not torch.isfinite(data).all():
            raise DataError("The data to fit an encoder must be finite and not empty.")
        if self.config.input_size not in (None, data.shape[1]):
            raise ValueError(f"The model expects {self.config.input_size} features but the data have {data.shape[1]}.")
        if self.config.input_format is None:
            self.config.input_format = asdict(InputFormat.infer(data))
        self.encoder.fit(self.input_format.quantize(data))
        if self.config.input_size is None:
            self.config.input_size = data.shape[1]
            self.config.validate()
            self._build_layers(data.shape[1])
            self.on_runtime_update()

    def encode(self, x: Tensor) -> Tensor:
        """Return the bits of samples (batch, ...) as float32 (batch, input_size * num_bits).

        Raises
        ------
        RuntimeError : the encoder is not fitted.
        """
        if not self.encoder.is_fitted:
            raise RuntimeError("The model has no thresholds yet; call fit_encoder() on training data first.")
        return self.encoder.encode(self.input_format.quantize(flatten_samples(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores (batch, num_classes): votes divided by ``output_tau``."""
        return cast(Tensor, self.output_layer(self._answer(x)))

    def class_counts(self, x: Tensor) -> Tensor:
        """Return the exact votes per class, int64 (batch, num_classes), as the hardware counts them.

        Raises
        ------
        DataError : `x` holds a NaN, for which there is no hardware input.
        """
        if torch.isnan(x).any():
            raise DataError("The input holds a NaN, which no fixed-point number stands for; clean the data first.")
        with torch.no_grad(), _evaluating(self):
            parts = [self.output_layer.sum_groups(self._answer(rows)) for rows in torch.split(x, _PREDICTION_ROWS)]
        return torch.cat(parts).to(torch.int64)

    def get_regularization_loss(self) -> Tensor:
        return sum((layer.regularization() for layer in self.lut_layers()), start=torch.zeros(()))

    def on_runtime_update(self) -> None:
        for key, value in self.config.runtime.items():
            if key == "output_tau":
                self.output_layer.tau = value
            for layer in self.lut_layers():
                if key == "regularizers":
                    layer.set_regularizers(value)
                if hasattr(layer.layer_config, key):
                    setattr(layer.layer_config, key, value)
                for module in (layer, layer.bank):
                    if key in module.runtime_keys:
                        setattr(module, key, value)

    def lut_layers(self) -> list[BaseLUTLayer]:
        """Return ``layers`` with their type."""
        return [cast(BaseLUTLayer, layer) for layer in self.layers]

    def _answer(self, x: Tensor) -> Tensor:
        features = self.encode(x)
        for layer in self.layers:
            features = layer(features)
        return features

    def _build_layers(self, input_size: int) -> None:
        layer_class = REGISTRY.get_layer(self.config.layer_type)
        width = input_size * self.encoder.num_bits
        for index, nodes in enumerate(self.config.layer_widths):
            with _blaming(f"layer {index}"):
                layer = layer_class(
                    width,
                    nodes,
                    self.config.node_type,
                    n=self.config.node_input_dim,
                    node_kwargs=self.config.node_kwargs,
                    seed=self.config.seed + index,
                    **self.config.layer_kwargs,
                )
            self.layers.append(layer)
            width = layer.output_width
        with _blaming("the output layer"):
            self.output_layer.group_size(width)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Switch a module to eval mode and back."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


@contextmanager
def _blaming(part: str) -> Iterator[None]:
    """Turn what a constructor says about its arguments into a sentence about the configuration."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The configuration of {part} is not usable: {error}") from error
