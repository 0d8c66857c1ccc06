"""What a model file holds, for people and programs that look at it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from difflut.input_format import InputFormat
from difflut.layers.lut_stage import LutStage
from difflut.models.base_model import BaseLUTModel
from difflut.models.model_file import load_model


@dataclass(frozen=True)
class LayerInfo:
    """One layer of look-up tables.

    Parameters
    ----------
    name : of the stage in the model, e.g. ``layers.0``.
    layer, node : classes of the layer and of its nodes.
    luts : look-up tables in hardware, before the compiler's passes.
    lut_inputs : inputs of each, ascending, without repetition: a layer of several banks may have several.
    tables : trained tables; fewer than `luts` where one is used at several places, as in a convolution.
    """

    name: str
    layer: str
    node: str
    luts: int
    lut_inputs: tuple[int, ...]
    tables: int


@dataclass(frozen=True)
class ModelFileInfo:
    """A model file, and the model that it holds.

    Parameters
    ----------
    path, size_bytes, sha256 : the file.
    model_type : registered name of the model's class.
    encoder : its ``name`` and arguments.
    input_size : features per sample.
    input_format : of each feature.
    encoded_bits : bits that the first layer reads.
    layers : in the order of data flow.
    class_names : one per class.
    parameters : trained numbers.
    runtime : settings that may change after training.
    metadata : what was written down when the model was published; ``test_accuracy`` (0 to 1) is that of the hardware.
        Empty for a model that was only trained.
    """

    path: Path
    size_bytes: int
    sha256: str
    model_type: str
    encoder: dict[str, Any]
    input_size: int
    input_format: InputFormat
    encoded_bits: int
    layers: tuple[LayerInfo, ...]
    class_names: tuple[str, ...]
    parameters: int
    runtime: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def luts(self) -> int:
        """Look-up tables of all layers, before the compiler's passes."""
        return sum(layer.luts for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ``luts`` included."""
        return {**asdict(self), "path": str(self.path), "luts": self.luts}


def read_model_info(path: str | Path) -> ModelFileInfo:
    """Read a model file and say what it is.

    Raises
    ------
    CheckpointError : the file is not a usable model file, as `load_model` finds out.
    """
    path = Path(path)
    model = load_model(path)
    content = path.read_bytes()
    config = model.config
    return ModelFileInfo(
        path=path,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        model_type=config.model_type,
        encoder=config.describe_encoder(),
        input_size=config.input_size,
        input_format=model.input_format,
        encoded_bits=config.input_size * model.encoder.num_bits,
        layers=_describe_layers(model),
        class_names=tuple(model.class_names),
        parameters=model.count_parameters()["total"],
        runtime=config.runtime,
        metadata=getattr(config, "metadata", {}),
    )


def _describe_layers(model: BaseLUTModel) -> tuple[LayerInfo, ...]:
    return tuple(_describe_layer(name, stage) for name, stage in model.stages() if isinstance(stage, LutStage))


def _describe_layer(name: str, stage: LutStage) -> LayerInfo:
    wired, banks = stage.wired_banks(), list(stage.banks().values())
    return LayerInfo(
        name=name,
        layer=type(stage).__name__,
        node=", ".join(sorted({type(bank).__name__ for bank in banks})) or "none",
        luts=sum(len(one.nodes) * one.bank.output_dim for one in wired),
        lut_inputs=tuple(sorted({one.bank.input_dim for one in wired})),
        tables=sum(bank.num_nodes * bank.output_dim for bank in banks),
    )
