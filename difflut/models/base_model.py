"""What every model shares: its configuration and the settings that may change at run time."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from difflut.models.model_config import ModelConfig


class BaseLUTModel(nn.Module, ABC):
    """A network described by a `ModelConfig`, of which it keeps its own copy as ``config``.

    What a model fills in itself (input size, input format) appears in ``config``, so that config and ``state_dict``
    together are the whole model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        config.validate()
        self.config = copy.deepcopy(config)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return class scores (batch, num_classes) for samples (batch, ...)."""

    @abstractmethod
    def fit_encoder(self, data: Tensor) -> None:
        """Determine from training data (samples, ...) what the configuration leaves open."""

    @abstractmethod
    def class_counts(self, x: Tensor) -> Tensor:
        """Return the exact votes per class, int64 (batch, num_classes), as the hardware counts them."""

    def predict(self, x: Tensor) -> Tensor:
        """Return the class with most votes, int64 (batch,); the lowest index among equals, as in hardware."""
        return self.class_counts(x).argmax(1)

    @abstractmethod
    def get_regularization_loss(self) -> Tensor:
        """Return the weighted sum of all configured regularisers, a 0-d tensor to add to the training loss.

        Call it after `forward`, in train mode; see `BaseLUTLayer.regularization`.
        """

    @abstractmethod
    def on_runtime_update(self) -> None:
        """Hand ``config.runtime`` on to the modules that use it."""

    @property
    def class_names(self) -> list[str]:
        """One name per class; numbers if the configuration has none."""
        return self.config.class_names or [str(index) for index in range(self.config.num_classes)]

    def apply_runtime_overrides(self, overrides: dict[str, Any]) -> None:
        """Change runtime settings; an unknown one is a ConfigError and changes nothing."""
        changed = copy.deepcopy(self.config)
        changed.runtime = {**changed.runtime, **overrides}
        changed.validate()
        self.config = changed
        self.on_runtime_update()

    def count_parameters(self) -> dict[str, int]:
        """Return the number of parameters: total, trainable, non_trainable."""
        total = sum(parameter.numel() for parameter in self.parameters())
        trainable = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        return {"total": total, "trainable": trainable, "non_trainable": total - trainable}
