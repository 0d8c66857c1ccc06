"""Numbers in YAML files are what people mean."""

from pathlib import Path

import pytest

from difflut.errors import ConfigError
from difflut.utils.yaml_files import read_yaml


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("-2E5", -2e5), ("1.5e3", 1500.0), ("1e3x", "1e3x"), ("12", 12), ("e5", "e5")]
)
def test_numbers_with_an_exponent(text: str, value: object, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"x: {text}\n")
    found = read_yaml(tmp_path / "a.yaml")["x"]
    assert found == value
    assert type(found) is type(value)


def test_broken_yaml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: [1\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: the file is not valid YAML"):
        read_yaml(tmp_path / "a.yaml")


def test_dates_are_texts(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: 2024-02-30\n")
    assert read_yaml(tmp_path / "a.yaml") == {"x": "2024-02-30"}


ALIASES = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a0: &a0 [0]\n" + ALIASES, id="many values by a few aliases"),
        pytest.param("x: &x [*x]\n", id="a value that holds itself"),
        pytest.param("x: " + "[" * 5000 + "]" * 5000, id="deep lists"),
        pytest.param("x: " + "9" * 6000, id="a long number"),
        pytest.param("x: 0x_", id="no number"),
        pytest.param("x: " + "1:" * 20000 + "1", id="base 60"),
        pytest.param("x: 0x" + "f" * 4000, id="a large number"),
        pytest.param("x: !!timestamp 2024-02-30", id="no date"),
        pytest.param("x: !!timestamp 2024-02-03", id="a date"),
        pytest.param("x: !!set {a}", id="a set"),
        pytest.param("x: !!python/name:os.system", id="code"),
    ],
)
def test_what_no_configuration_holds_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml"):
        read_yaml(tmp_path / "a.yaml")
