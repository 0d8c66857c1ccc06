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
