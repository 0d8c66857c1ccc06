"""The torch side of a compile: loading the model, asking it for its answers, loading data to check it with."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import difflut
from difflut.data import read_options
from difflut.layers import BaseLUTLayer, ConvolutionalLayer, LutStage, OrPool2d, TableBank, WiredBank
from difflut.nodes import LutNode
from difflut.rules.pins import Pins, gather_pins
from difflut_compiler.accuracy import LabelledData
from difflut_compiler.errors import CompilerError, MismatchError
from difflut_compiler.graph import LutGraph
from difflut_compiler.lower import class_count_nets, name_banks, trace_lowering
from difflut_compiler.verify.ladder import LayerAnswers, ModelAnswers

OBSERVED_STAGES = (BaseLUTLayer, ConvolutionalLayer, OrPool2d)
"""The stages whose wiring is seen at work; others are taken at their word."""
VALUES_AT_ONCE = 1 << 24
"""Bits that a stage is given in one go while its wiring is observed, to bound the memory that takes."""
VOTE_SAMPLES, VOTE_SEED = 64, 64
"""Random bits with which votes are seen to be counted for their classes."""

BankNets = Mapping[str, Sequence[Sequence[int]]]
"""The nets of the output bits of every bank, by the name of its stage."""


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, ready to be asked."""

    model: difflut.BaseLUTModel
    sha256: str

    def lower(self, name: str) -> tuple[LutGraph, list[int], BankNets]:
        """The model's graph, the nets that hold the votes per class, and those of the bits of every bank."""
        lowering = trace_lowering(self.model, name)
        return lowering.graph, class_count_nets(lowering.graph), lowering.bank_nets

    def layer_answers(self, inputs: NDArray[np.int64], bank_nets: BankNets) -> list[LayerAnswers]:
        """Eval-mode answers of the encoder and of every bank of every stage, on integers ``(samples, features)``.

        A stage that only puts bits in another order has an answer as well, since the next one's wiring counts on it.
        """
        with torch.no_grad(), self.model.as_hardware():
            bits = self.model.encode(self.model.input_format.to_reals(torch.from_numpy(inputs)))
            answers = [LayerAnswers("encoder", bank_nets["encoder"][0], _as_bools(bits), None, None)]
            for name, stage in self.model.stages():
                shape = bits.shape[1:]
                bits = stage(bits)
                if isinstance(stage, LutStage):
                    wiring = trace_wiring(name, stage, shape)
                    answers += _stage_answers(name, stage, wiring, _as_bools(bits.flatten(1)), bank_nets[name])
                elif name in bank_nets:
                    answers.append(LayerAnswers(name, bank_nets[name][0], _as_bools(bits.flatten(1)), None, None))
        return answers

    def check_votes(self, graph: LutGraph, count_nets: Sequence[int], bank_nets: BankNets) -> None:
        """The output layer counts for every class the bits that the graph counts, seen on random bits.

        The vectors show that only of bits that are not the same on all of them.
        """
        *_, last_banks = bank_nets.values()
        nets, column_of = np.unique(np.array(last_banks[-1]), return_inverse=True)
        bits = np.random.default_rng(VOTE_SEED).integers(0, 2, (VOTE_SAMPLES, len(nets)))
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # classes of fewer votes, which all can see
            votes = self.model.output_layer.sum_groups(torch.from_numpy(bits[:, column_of]).to(torch.float32)).numpy()
        for number, net in enumerate(count_nets):
            voters = np.array(graph.node(net).operands, dtype=np.int64)
            columns = np.searchsorted(nets, voters[np.isin(voters, nets)])
            if len(columns) < len(voters) or not np.array_equal(votes[:, number], bits[:, columns].sum(axis=1)):
                raise MismatchError(f"graph and model differ in the bits that vote for class {number}")

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
        dataset = self._load_dataset(source)
        integers = self.model.input_format.to_integers(dataset.x_test)
        return LabelledData(dataset.name, integers.numpy(), dataset.y_test.numpy())

    def load_training_data(self, source: str) -> LabelledData:
        """The training data of the same source."""
        dataset = self._load_dataset(source)
        integers = self.model.input_format.to_integers(dataset.x_train)
        return LabelledData(dataset.name, integers.numpy(), dataset.y_train.numpy())

    def _load_dataset(self, source: str) -> difflut.Dataset:
        dataset = load_dataset(source, self.model)
        features = self.model.config.input_size
        if dataset.x_test.shape[1] != features:
            raise CompilerError(f"the data {source} has {dataset.x_test.shape[1]} features, the model takes {features}")
        if list(dataset.class_names) != list(self.model.class_names):
            raise CompilerError(
                f"the data {source} has the classes {dataset.class_names}, the model has {self.model.class_names}"
            )
        return dataset


def _stage_answers(
    name: str,
    stage: LutStage,
    wiring: Sequence[NDArray[np.int64]],
    bits: NDArray[np.bool_],
    bank_nets: Sequence[Sequence[int]],
) -> list[LayerAnswers]:
    """Everything that a stage's banks can answer; ``bits`` are what its last bank did answer."""
    banks = stage.wired_banks()
    names = name_banks(name, len(banks))
    seen = [None] * (len(banks) - 1) + [bits]
    observed = isinstance(stage, OBSERVED_STAGES)
    return [
        LayerAnswers(bank_name, nets, answered, _all_answers(wired), pins, observed)
        for bank_name, nets, answered, wired, pins in zip(names, bank_nets, seen, banks, wiring, strict=True)
    ]


def _all_answers(wired: WiredBank) -> NDArray[np.bool_]:
    """A bank's eval-mode answers at every address, ``(outputs, 2**n)``."""
    bank = wired.bank
    addresses = torch.arange(1 << bank.input_dim)
    bits = (addresses[None, :] >> torch.arange(bank.input_dim)[:, None] & 1).to(torch.float32)
    answers = _as_bools(bank.forward_pins(bits.expand(bank.num_nodes, -1, -1)))
    tables: NDArray[np.bool_] = answers[wired.nodes.cpu().numpy()].reshape(-1, 1 << bank.input_dim)
    return tables


def trace_wiring(name: str, stage: LutStage, shape: Sequence[int]) -> list[NDArray[np.int64]]:
    """What the pins of every bank of a stage read, ``(outputs, n)`` as in :class:`LayerAnswers`.

    For :data:`OBSERVED_STAGES`, it is not asked but observed on samples of ``shape``.
    """
    if isinstance(stage, OrPool2d):
        _check_windows(name, stage, shape)
    if isinstance(stage, BaseLUTLayer | ConvolutionalLayer):
        return _follow_pins(name, stage, shape)
    return [_each_output(wired.bank, wired.pins) for wired in stage.wired_banks()]


def _check_windows(name: str, stage: OrPool2d, shape: Sequence[int]) -> None:
    """The trees of a pooling stage join the bits of its windows: those that alone make its answer 1, one by one."""
    inputs = math.prod(shape)
    reads = torch.arange(inputs).unsqueeze(1)  # by output bit of the bank before, -1 for nothing
    for wired in stage.wired_banks():
        nothing = torch.full((1, reads.shape[1]), -1)
        reads = torch.cat((reads, nothing))[wired.pins].flatten(1)  # a pin of -1 takes the last row
    at_once = max(1, VALUES_AT_ONCE // inputs)
    for first in range(0, inputs, at_once):
        count = min(at_once, inputs - first)
        alone = torch.zeros(count, inputs)
        alone[torch.arange(count), torch.arange(first, first + count)] = 1
        answers = stage(alone.view(count, *shape)).flatten(1)
        expected = torch.zeros(count, len(reads))
        output, place = torch.nonzero((reads >= first) & (reads < first + count), as_tuple=True)
        expected[reads[output, place] - first, output] = 1
        if not torch.equal(answers, expected):
            raise MismatchError(f"{name} does not pool the bits that its look-up tables read")


def _follow_pins(name: str, stage: LutStage, shape: Sequence[int]) -> list[NDArray[np.int64]]:
    """What the pins of a stage read that asks every bank once, for all of its look-up tables.

    It runs on one sample in which every bit is its own number, from 1 on, so that 0 is the constant, and its banks note
    what they read and answer by numbers, too.
    """
    banks = list(stage.banks().values())
    traced: list[tuple[LutNode, NDArray[np.int64]]] = []

    def follow(bank: LutNode, pins: Pins) -> torch.Tensor:
        read = gather_pins(pins).transpose(1, 2)  # (nodes, places, n)
        traced.append((bank, _each_output(bank, read.flatten(0, 1).to(torch.int64) - 1)))
        return _numbers(read.shape[0], bank.output_dim, read.shape[1])

    try:
        for bank in banks:
            bank.forward_pins = partial(follow, bank)  # type: ignore[method-assign]
        answers = stage(_numbers(1, *shape))
    finally:
        for bank in banks:
            vars(bank).pop("forward_pins", None)
    if [id(bank) for bank, _ in traced] != [id(wired.bank) for wired in stage.wired_banks()]:
        raise MismatchError(f"the look-up tables of {name} are not asked in the order in which it lists them")
    if not torch.equal(answers.flatten(), _numbers(answers.numel())):
        raise MismatchError(f"{name} does not answer what its last look-up tables do")
    return [pins for _, pins in traced]


def _numbers(*shape: int) -> torch.Tensor:
    """A tensor in which every entry is its own number, from 1 on."""
    return torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).view(shape)


def _each_output(bank: TableBank, pins: torch.Tensor) -> NDArray[np.int64]:
    """``pins`` ``(luts, n)``, once for every output of the bank's nodes."""
    repeated: NDArray[np.int64] = pins.repeat_interleave(bank.output_dim, dim=0).cpu().numpy()
    return repeated


def _as_bools(bits: torch.Tensor) -> NDArray[np.bool_]:
    """Exact zeros and ones as booleans; anything else would not be a bit."""
    if not ((bits == 0) | (bits == 1)).all():
        raise MismatchError("the model in eval mode answers with something else than bits")
    found: NDArray[np.bool_] = bits.cpu().numpy() != 0
    return found


def load_model(path: Path) -> LoadedModel:
    """Load a checked ``model.pth``; raises :class:`difflut.CheckpointError` naming the file and what is wrong."""
    sha256 = hash_file(path)
    model = difflut.load_model(path)
    if hash_file(path) != sha256:
        raise CompilerError(f"{path} was written while it was read; compile again when it is finished")
    return LoadedModel(model, sha256)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's contents; of nothing if it cannot be read, which loading then reports."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def load_dataset(source: str, model: difflut.BaseLUTModel | None = None) -> difflut.Dataset:
    """Read a data source by what its name says it is, with the options with which it was read to train the model."""
    kinds = {"digits": "digits", ".npz": "npz", ".csv": "csv"}
    kind = kinds.get(source) or kinds.get(Path(source).suffix.lower())
    if kind is None:
        raise CompilerError(f"the data {source!r} is neither digits nor the path of an .npz or .csv file")
    options = {} if model is None else data_options(model, kind)
    return difflut.load_dataset(kind, None if kind == "digits" else source, **options)


def data_options(model: difflut.BaseLUTModel, source: str) -> dict[str, Any]:
    """The options with which a data source was read to train a model, as far as the model file says."""
    return read_options(getattr(model.config, "metadata", {}), source)
