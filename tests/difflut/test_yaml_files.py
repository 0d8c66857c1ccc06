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
