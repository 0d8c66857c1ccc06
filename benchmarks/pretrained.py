"""Measure the pretrained models again and compare with the accuracy that each of them states.

    python benchmarks/pretrained.py --data mnist.npz

The digits come with scikit-learn; every other data set is a file given with ``--data``, as often as needed. Which test
data a figure was measured on is known by their digest, not by the name of the file. Exit code 1 if a figure differs, if
it could not be measured because its data were not given, or if there is nothing to measure.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import difflut
from difflut.models.publish import digest_test_data, measure_accuracy
from difflut.models.published import PACKAGE_DIR
from difflut_compiler.frontend import load_dataset


def measure(name: str, folder: Path, datasets: dict[str, difflut.Dataset]) -> bool:
    """Print what a model states and what it reaches; return whether they are equal."""
    info = difflut.get_pretrained_model_info(name, folder)
    stated = info["metadata"].get("test_accuracy")
    dataset = datasets.get(info["metadata"].get("test_sha256", ""))
    if dataset is None or stated is None:
        print(f"{name:16} stated {stated}, not measured: its test data ({info['dataset']}) were not given")
        return False
    measured = measure_accuracy(difflut.build_model(name, pretrained_dir=folder), dataset)
    equal = bool(measured == stated)
    verdict = "equal" if equal else "DIFFERENT"
    print(f"{name:16} stated {stated:.4%}, measured {measured:.4%} of {len(dataset.y_test)} samples: {verdict}")
    return equal


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the pretrained models again.")
    parser.add_argument("--data", action="append", default=[], help="an .npz or .csv file with test data")
    parser.add_argument("--pretrained-dir", type=Path, default=PACKAGE_DIR, help="default: the models of the package")
    arguments = parser.parse_args()
    datasets = {digest_test_data(one): one for one in map(load_dataset, ["digits", *arguments.data])}
    names = sorted(path.stem for path in arguments.pretrained_dir.glob("*/*.yaml"))
    print(f"{len(names)} models in {arguments.pretrained_dir}")
    results = [measure(name, arguments.pretrained_dir, datasets) for name in names]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
