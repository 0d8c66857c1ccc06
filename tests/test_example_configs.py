"""Every configuration in the examples trains, on its own data or on data of the same shape."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from difflut.training import TrainingConfig, load_training_config, train

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CONFIGS = sorted(EXAMPLES.glob("*.yaml"))
IMAGE_SHAPE_OF = {path.name: (28, 28) for path in CONFIGS if path.name.startswith("mnist")}
"""Of the data that do not come with a package."""
TEST_ACCURACY_OF = {"digits.yaml": 0.96, "digits_conv.yaml": 0.96}
"""What whole runs reach at least."""


def stand_in_data(name: str, folder: Path) -> Path | None:
    """A file with noise, where an example's own data are somewhere else."""
    if name not in IMAGE_SHAPE_OF:
        return None
    random = np.random.default_rng(0)
    rows, labels = random.integers(0, 256, (40, *IMAGE_SHAPE_OF[name]), dtype=np.uint8), np.arange(40) % 10
    np.savez(folder / "data.npz", x_train=rows, y_train=labels, x_test=rows, y_test=labels)
    return folder / "data.npz"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_examples_train(path: Path, tmp_path: Path) -> None:
    config = load_training_config(path)
    short = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    result = train(short, tmp_path / "out", data_path=stand_in_data(path.name, tmp_path))
    assert result.model_path.is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", TEST_ACCURACY_OF)
def test_examples_reach_their_accuracy(name: str, tmp_path: Path) -> None:
    config: TrainingConfig = load_training_config(EXAMPLES / name)
    assert train(config, tmp_path).test_accuracy >= TEST_ACCURACY_OF[name]


def test_the_readme_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in text for path in CONFIGS)
