"""The torch side of a compile: loading the model, asking it for its answers, loading data to check it with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import difflut
from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph
from difflut_compiler.lower import class_count_nets, lower
from difflut_compiler.verify.ladder import ModelAnswers


@dataclass(frozen=True)
class LabelledData:
    """Test samples as integers in the model's input format ``(samples, features)``, and their classes."""

    name: str
    inputs: NDArray[np.int64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to be asked."""

    model: difflut.SimpleFeedForward
    sha256: str

    def lower(self, name: str) -> tuple[LutGraph, list[int]]:
        """The model's graph and the nets that hold the votes per class."""
        graph = lower(self.model, name)
        return graph, class_count_nets(graph)

    def answers(self, inputs: NDArray[np.int64]) -> ModelAnswers:
        """Eval-mode votes and classes for integer inputs ``(samples, features)``."""
        with torch.no_grad():
            counts = self.model.class_counts(self.model.input_format.to_reals(torch.from_numpy(inputs)))
        return ModelAnswers(
            class_index=counts.argmax(dim=1).numpy(),
            class_counts=counts.numpy(),
            library_version=torch.__version__,
        )

    def load_data(self, source: str) -> LabelledData:
        """Test data from ``digits``, an ``.npz`` file or a ``.csv`` file, in the model's input format."""
        dataset = load_dataset(source)
        features = self.model.config.input_size
        if dataset.x_test.shape[1] != features:
            raise CompilerError(f"the data {source} has {dataset.x_test.shape[1]} features, the model takes {features}")
        if list(dataset.class_names) != list(self.model.class_names):
            raise CompilerError(
                f"the data {source} has the classes {dataset.class_names}, the model has {self.model.class_names}"
            )
        integers = self.model.input_format.to_integers(dataset.x_test)
        return LabelledData(dataset.name, integers.numpy(), dataset.y_test.numpy())


def load_model(path: Path) -> LoadedModel:
    """Load a checked ``model.pth``; raises :class:`difflut.CheckpointError` naming the file and what is wrong."""
    model = difflut.load_model(path)
    model.eval()
    return LoadedModel(model, hashlib.sha256(path.read_bytes()).hexdigest())


def load_dataset(source: str) -> difflut.Dataset:
    """Read a data source by what its name says it is."""
    kinds = {"digits": "digits", ".npz": "npz", ".csv": "csv"}
    kind = kinds.get(source) or kinds.get(Path(source).suffix.lower())
    if kind is None:
        raise CompilerError(f"the data {source!r} is neither digits nor the path of an .npz or .csv file")
    return difflut.load_dataset(kind) if kind == "digits" else difflut.load_dataset(kind, source)
