"""Networks described layer by layer, from a table, a YAML file or a few sizes."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from torch import nn

from difflut.layers.base_layer import BaseLUTLayer
from difflut.models.base_model import BaseLUTModel
from difflut.models.pipeline_config import PipelineConfig
from difflut.registry import register_model
from difflut.utils.modules import GroupSum
from difflut.utils.yaml_files import read_yaml

DEFAULT_NUM_BITS = 8
DEFAULT_SEED = 42


@register_model("pipeline")
@register_model("ConfiguredLUTModel")
class ConfiguredLUTModel(BaseLUTModel):
    """Encoder, layers with ReLU between them, and votes, as a PipelineConfig describes.

    ReLU leaves bits as they are, so it costs nothing in hardware; in training it keeps gradients from answers below 0.
    """

    config_class = PipelineConfig
    config: PipelineConfig

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__(config)
        self.activation = nn.ReLU()

    def build_layers(self, input_size: int) -> list[BaseLUTLayer]:
        return [self.config.build_layer(index) for index in range(len(self.config.layers))]

    def build_output_layer(self) -> GroupSum:
        return GroupSum(**(self.config.groupsum or {"k": self.config.num_classes}), seed=self.config.seed)

    def stages(self) -> list[tuple[str, nn.Module]]:
        first, *others = super().stages()
        return [first, *(stage for layer in others for stage in (("activation", self.activation), layer))]

    def lut_layers(self) -> list[BaseLUTLayer]:
        return [cast(BaseLUTLayer, layer) for layer in self.layers]

    @classmethod
    def min_state_bytes(cls, config: PipelineConfig) -> int:
        """Every pin has an index, and every node at least one float for each of its outputs."""
        return sum(
            layer["output_size"] * (8 * config.count_inputs_per_node(index) + 4 * config.count_outputs_per_node(index))
            for index, layer in enumerate(config.layers)
        )


def validate_config(config: dict[str, Any] | str | Path) -> bool:
    """Return True if a pipeline can be built from a table or YAML file; nothing large is built to find out.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ConfigError : something is missing, unknown or not allowed; the message names it, as in ``layers[1].node_type``.
    """
    _read(config)
    return True


def build_from_config(config: PipelineConfig | dict[str, Any] | str | Path) -> ConfiguredLUTModel:
    """Return an untrained model; `config` is a table, a YAML file with one, or a `PipelineConfig`, see there.

    A UserWarning says so if ``groupsum`` gives every class a single vote.

    Raises
    ------
    FileNotFoundError, ConfigError : as `validate_config`.
    """
    model = ConfiguredLUTModel(_read(config))
    width = model.lut_layers()[-1].output_width
    if model.config.groupsum is not None and width == model.output_layer.k:
        warnings.warn(
            f"groupsum.k is {width} and the last layer has as many outputs: with one vote per class most samples tie. "
            f"A last layer several times as wide tells classes apart.",
            UserWarning,
            stacklevel=2,
        )
    return model


def build_lut_pipeline(
    input_size: int,
    hidden_sizes: list[int],
    num_classes: int,
    encoder_type: str = "thermometer",
    encoder_params: dict[str, Any] | None = None,
    layer_type: str = "random",
    node_type: str = "linear_lut",
    node_input_dim: int = 4,
    node_params: dict[str, Any] | None = None,
    layer_training_params: dict[str, Any] | None = None,
    use_groupsum: bool = True,
) -> ConfiguredLUTModel:
    """Return an untrained pipeline whose layers are all of one kind; layer i has the seed 42 + i.

    Parameters
    ----------
    input_size : features per sample.
    hidden_sizes : nodes of every layer but the last, which has `num_classes`.
    encoder_params : ``num_bits`` is 8 if not given.
    node_params : arguments of the node family.
    layer_training_params : fields of `LayerConfig`.
    use_groupsum : whether the model ends in ``GroupSum(num_classes)``, which on a last layer of that width changes
        nothing but says, with a UserWarning, that one vote per class is little.

    Raises
    ------
    ConfigError : an argument is not allowed.
    """
    encoder_params = {"num_bits": DEFAULT_NUM_BITS, **(encoder_params or {})}
    widths = [input_size * encoder_params["num_bits"], *hidden_sizes, num_classes]
    layers = [
        {
            "type": layer_type,
            "node_type": node_type,
            "input_size": before,
            "output_size": nodes,
            "n": node_input_dim,
            "node_params": {**(node_params or {}), "output_dim": 1},
            "layer_training": layer_training_params or {},
        }
        for before, nodes in pairwise(widths)
    ]
    config = {
        "encoder": {"type": encoder_type, "params": encoder_params},
        "layers": layers,
        "groupsum": {"k": num_classes} if use_groupsum else None,
        "seed": DEFAULT_SEED,
    }
    return build_from_config(config)


def _read(config: PipelineConfig | dict[str, Any] | str | Path) -> PipelineConfig:
    if isinstance(config, PipelineConfig):
        return config
    return PipelineConfig.from_dict(config if isinstance(config, dict) else read_yaml(config))
