"""The example scripts run and print what they promise."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    runpy.run_path(str(path), run_name="__main__")
    output = capsys.readouterr().out
    assert output
    assert "nan" not in output


def test_the_model_systems_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """Training teaches, a saved model is the trained one, an untrained one guesses, digits reach what they state."""
    pytest.importorskip("sklearn")
    (path,) = (path for path in EXAMPLES if path.name == "model_system_example.py")
    runpy.run_path(str(path), run_name="__main__")
    output = capsys.readouterr().out
    reached = {int(number): float(share) for number, share in re.findall(r"^(\d)\..* ([\d.]+)%", output, re.MULTILINE)}
    stated = float(re.findall(r"digits, which states ([\d.]+)%", output)[0])
    assert reached[1] > 85
    assert reached[3] == stated
    assert reached[4] < reached[3]
    assert reached[5] == reached[1]
    assert reached[6] < 40
