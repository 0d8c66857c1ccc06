"""What a run needs to go on after an interruption, as one file.

No random state is stored: the order of the samples is a function of seed and epoch, and the learning rate one of the
step, so weights, optimizer and the number of finished epochs determine the rest of the run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from difflut.errors import CheckpointError, ConfigError
from difflut.training.config import TrainingConfig
from difflut.training.reports import EpochReport
from difflut.utils.archive import check_header, read_archive, write_archive

STATE_FILE = "last.ckpt"
FORMAT = "difflut-training"
VERSION = 1


@dataclass
class RunState:
    """State after the last finished epoch.

    Parameters
    ----------
    config : the run's configuration as plain values.
    data_digest : digest of the training data.
    history : one report per finished epoch.
    model, optimizer : their ``state_dict``.
    """

    config: dict[str, Any]
    data_digest: str
    model: dict[str, Any]
    optimizer: dict[str, Any]
    history: list[EpochReport] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the state, replacing the file at once."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "config": self.config,
            "data_digest": self.data_digest,
            "history": [asdict(report) for report in self.history],
            "model": self.model,
            "optimizer": self.optimizer,
        }
        write_archive(content, path)

    @classmethod
    def load(cls, path: Path) -> RunState:
        """Read a state.

        Raises
        ------
        CheckpointError : the file cannot be read, is damaged, or is not a training state of this version.
        """
        try:
            content = read_archive(path)
            check_header(content, FORMAT, VERSION)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        assert isinstance(content, dict)
        try:
            return cls(
                config=content["config"],
                data_digest=content["data_digest"],
                model=content["model"],
                optimizer=content["optimizer"],
                history=[EpochReport(**values) for values in content["history"]],
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: the state is incomplete; train without resuming.") from error

    def check_same_run(self, config: dict[str, Any], data_digest: str) -> None:
        """Refuse to go on with another configuration or other data.

        Raises
        ------
        ConfigError : something differs; the message names the section.
        """
        for section, settings in config.items():
            if self.config.get(section) != settings:
                raise ConfigError(
                    f"The run to resume had another configuration in the section {section!r}; "
                    f"restore it, or train without resuming."
                )
        if self.data_digest != data_digest:
            raise ConfigError("The run to resume used other data; give the same ones, or train without resuming.")


def can_resume(config: TrainingConfig, out_dir: str | Path) -> bool:
    """Whether `out_dir` holds a run of exactly this configuration that `train` can resume."""
    try:
        return RunState.load(Path(out_dir) / STATE_FILE).config == config.to_dict()
    except CheckpointError:
        return False
