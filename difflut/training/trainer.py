"""The training loop."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from difflut.data import Dataset, shift_images, split_stratified
from difflut.errors import CheckpointError, ConfigError
from difflut.models import BaseLUTModel, build_model, load_model, save_model
from difflut.training.config import OptimizerSettings, TrainingConfig
from difflut.training.processes import Processes, joined_processes, was_restarted
from difflut.training.reports import EpochReport, StepReport, TrainingResult, find_best
from difflut.training.run_state import STATE_FILE, RunState, can_resume
from difflut.utils.files import write_atomically
from difflut.utils.randomness import start_of_process

MODEL_FILE = "model.pth"
METRICS_FILE = "metrics.json"
_EVALUATED_TRAIN_SAMPLES = 5000  # enough to see overfitting within half a percent


def train(
    config: TrainingConfig,
    out_dir: str | Path,
    *,
    data_path: str | Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainingResult:
    """Train a model and write it, its figures and the state of the run to `out_dir`.

    The best epoch is the last with the highest eval-mode accuracy on held-out training data; the test data are used
    once, at the end, on that epoch's model. Equal configurations, data and thread counts give equal weights,
    interrupted or not.

    Processes that torchrun started train one model, each on its share of every batch, and the first one writes; if
    torchrun starts them again, they go on after the last finished epoch. The course is that of a single process, up to
    the rounding of sums, with two exceptions: each process draws noise of its own, and gradient stabilisation and
    penalties on a whole batch act on each process's share.

    Parameters
    ----------
    config : the run.
    out_dir : receives ``model.pth`` (best epoch), ``metrics.json`` and ``last.ckpt``; must be empty, absent, or the
        directory of an earlier run, which is replaced when the first epoch is done.
    data_path : file to read the data from, instead of the one in the configuration.
    resume : go on after the last finished epoch of the run in `out_dir`.
    on_epoch, on_step : called after every epoch and every step.

    Raises
    ------
    ConfigError : the configuration does not fit the data or the run to resume, or `out_dir` cannot be used.
    DataError : the data cannot be used.
    CheckpointError : the run to resume cannot be read, or weights have become infinite or NaN.
    JobError : another process of the job has died.
    """
    out_dir = Path(out_dir)
    dataset = config.data.load(data_path)
    with _using_threads(config.training.threads), joined_processes() as processes:
        run = _Run(config, dataset, out_dir, processes)
        if resume or (processes.any_of(was_restarted()) and can_resume(config, out_dir)):
            run.restore()
        else:
            run.start()
        while run.epochs_done < config.training.epochs:
            report = run.train_epoch(on_step)
            if on_epoch is not None:
                on_epoch(report)
        return run.finish()


class _Run:
    """One training run: the model, its optimizer, and the history so far."""

    def __init__(self, config: TrainingConfig, dataset: Dataset, out_dir: Path, processes: Processes) -> None:
        self.config = config
        self.processes = processes
        self.settings: OptimizerSettings = config.training
        self.dataset = dataset
        self.out_dir = out_dir
        train, held_out = split_stratified(dataset.y_train, self.settings.validation_fraction, self.settings.seed)
        self.x, self.y = dataset.x_train[train], dataset.y_train[train]
        if self.settings.max_shift_pixels and len(dataset.sample_shape) < 2:
            raise ConfigError(
                f"training.max_shift_pixels is {self.settings.max_shift_pixels}, but the samples of {dataset.name} are "
                f"not images; leave it out."
            )
        self.x_held_out, self.y_held_out = dataset.x_train[held_out], dataset.y_train[held_out]
        self.steps = math.ceil(len(self.y) / self.settings.batch_size)
        self.model = build_model(config.model_config(dataset))
        if not self.model.encoder.is_fitted:  # a pretrained model keeps the thresholds that its weights know
            self.model.fit_encoder(self.x)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,  # one pass over the parameters instead of one per operation
        )
        self.cooling: list[Any] = [
            module for module in self.model.modules() if getattr(module, "cools_in_training", False)
        ]
        self.history: list[EpochReport] = []
        self.data_digest = _digest(dataset)

    @property
    def epochs_done(self) -> int:
        return len(self.history)

    def start(self) -> None:
        """Take possession of the output directory; the results of an earlier run stay until there are new ones."""
        if self.processes.is_main:
            try:
                if not _holds_run(self.out_dir):
                    self._capture_state().save(self.out_dir / STATE_FILE)
            except OSError as error:
                raise ConfigError(
                    f"{self.out_dir} cannot be used as output directory ({error.strerror}); choose another."
                ) from error
        self._take_state(self._capture_state())

    def restore(self) -> None:
        """Continue from the state in the output directory of the main process."""
        state = None
        if self.processes.is_main:
            state = RunState.load(self.out_dir / STATE_FILE)
            state.check_same_run(self.config.to_dict(), self.data_digest)
        self._take_state(state)

    def _take_state(self, state: RunState | None) -> None:
        """Set everything to the state that the main process has."""
        state = self.processes.broadcast(state)
        assert isinstance(state, RunState)
        try:
            self.model.load_state_dict(state.model)
            self.optimizer.load_state_dict(state.optimizer)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            path = self.out_dir / STATE_FILE
            raise CheckpointError(f"{path}: the state does not fit the model; train without resuming.") from error
        self.history = state.history
        for name, buffer in self.model.named_buffers():
            if name.endswith("noise_counter"):  # each process has noise of its own
                buffer += start_of_process(self.processes.rank)

    def train_epoch(self, on_step: Callable[[StepReport], None] | None) -> EpochReport:
        """Train one epoch, evaluate it, and write what must survive an interruption."""
        started = time.perf_counter()
        loss, accuracy = self._train_steps(on_step)
        best = find_best(self.history)
        validation = self._accuracy(self.model, self.x_held_out, self.y_held_out)
        report = EpochReport(
            epoch=self.epochs_done + 1,
            epochs=self.settings.epochs,
            train_loss=loss,
            train_accuracy=accuracy,
            eval_train_accuracy=self._accuracy(
                self.model, self.x[:_EVALUATED_TRAIN_SAMPLES], self.y[:_EVALUATED_TRAIN_SAMPLES]
            ),
            validation_accuracy=validation,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            is_best=best is None or validation >= best.validation_accuracy,
            seconds=time.perf_counter() - started,
        )
        self.history.append(report)
        if self.processes.is_main:
            if report.epoch == 1:
                (self.out_dir / METRICS_FILE).unlink(missing_ok=True)  # of an earlier run
            # The model first: if the run dies in between, the epoch is repeated and writes the same model again.
            if report.is_best:
                save_model(self.model, self.out_dir / MODEL_FILE)
            self._capture_state().save(self.out_dir / STATE_FILE)
        return report

    def finish(self) -> TrainingResult:
        """Evaluate the best epoch's model, on the test data too, and write the figures."""
        best = find_best(self.history)
        assert best is not None
        result = self.processes.broadcast(self._write_result(best) if self.processes.is_main else None)
        assert isinstance(result, TrainingResult)
        return result

    def _write_result(self, best: EpochReport) -> TrainingResult:
        model = load_model(self.out_dir / MODEL_FILE)
        result = TrainingResult(
            best_epoch=best.epoch,
            epochs=self.epochs_done,
            train_accuracy=_count_correct(model, self.x, self.y) / len(self.y),
            validation_accuracy=best.validation_accuracy,
            test_accuracy=_count_correct(model, self.dataset.x_test, self.dataset.y_test) / len(self.dataset.y_test),
            seconds=sum(report.seconds for report in self.history),
            model_path=self.out_dir / MODEL_FILE,
        )
        metrics = {
            "config": self.config.to_dict(),
            "result": {**asdict(result), "model_path": MODEL_FILE},
            "epochs": [asdict(report) for report in self.history],
        }
        text = json.dumps(metrics, indent=2) + "\n"
        write_atomically(self.out_dir / METRICS_FILE, text.encode())
        return result

    def _train_steps(self, on_step: Callable[[StepReport], None] | None) -> tuple[float, float]:
        """Return loss and accuracy, averaged over the epoch's samples."""
        epoch = self.epochs_done + 1
        order = _shuffle(len(self.y), self.settings.seed, epoch)
        x = self._samples_of(epoch)
        loss_sum, correct = 0.0, 0
        self.model.train()
        for step, rows in enumerate(torch.split(order, self.settings.batch_size), start=1):
            self._anneal((epoch - 1) * self.steps + step - 1)
            mine, share = self.processes.take_share(rows)
            scores = self.model(x[mine])
            loss = nn.functional.cross_entropy(scores, self.y[mine]) + self.model.get_regularization_loss()
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.processes.average_gradients(self.model.parameters(), share)
            self.optimizer.step()
            right = int((scores.argmax(1) == self.y[mine]).sum()) if share else 0
            step_loss, step_correct = self.processes.add_up([share * loss.item(), right])
            loss_sum += step_loss * len(rows)
            correct += round(step_correct)
            if on_step is not None:
                on_step(StepReport(epoch, self.settings.epochs, step, self.steps, step_loss))
        return loss_sum / len(order), correct / len(order)

    def _accuracy(self, model: BaseLUTModel, x: Tensor, y: Tensor) -> float:
        """Return the share of correct predictions in eval mode, each process looking at some of the samples."""
        rank, count = self.processes.rank, self.processes.count
        (right,) = self.processes.add_up([_count_correct(model, x[rank::count], y[rank::count])])
        return right / len(y)

    def _samples_of(self, epoch: int) -> Tensor:
        """Return the training samples as the epoch sees them."""
        pixels = self.settings.max_shift_pixels
        if not pixels:
            return self.x
        generator = _generator_of(f"{self.settings.seed}/{epoch}/shift")
        return shift_images(self.x, self.dataset.sample_shape, pixels, generator)

    def _anneal(self, step: int) -> None:
        """Set the learning rate and all temperatures to those of a step of the run, counted from 0."""
        rate = self.settings.learning_rate
        if self.settings.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / (self.steps * self.settings.epochs)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for module in self.cooling:
            module.update_tau(step)

    def _capture_state(self) -> RunState:
        return RunState(
            config=self.config.to_dict(),
            data_digest=self.data_digest,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            history=self.history,
        )


def _count_correct(model: BaseLUTModel, x: Tensor, y: Tensor) -> int:
    """Return the number of correct predictions in eval mode."""
    return int((model.predict(x) == y).sum()) if len(y) else 0


def _shuffle(samples: int, seed: int, epoch: int) -> Tensor:
    """Return the order of the samples, a function of seed and epoch alone."""
    return torch.randperm(samples, generator=_generator_of(f"{seed}/{epoch}"))


def _generator_of(text: str) -> torch.Generator:
    """Return a source of random numbers that depends on nothing else, so that a run can be resumed."""
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _digest(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for tensor in (dataset.x_train, dataset.y_train):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _holds_run(path: Path) -> bool:
    """Create the directory if it is not there, and return whether it is that of an earlier run."""
    path.mkdir(parents=True, exist_ok=True)
    if (path / STATE_FILE).exists():
        return True
    if any(path.iterdir()):
        raise ConfigError(f"{path} holds files that no training run wrote; choose another output directory.")
    return False


@contextmanager
def _using_threads(threads: int | None) -> Iterator[None]:
    """Limit torch to that many CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
