"""What a user installs: the wheel's contents, the pinned versions, and which package may import which."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

# The folders that travel in the wheel, and where they stand in it.
DATA = {
    "templates": "difflut_compiler/_data/templates",
    "rtl_tests/benches": "difflut_compiler/_data/benches",
    "csrc": "difflut/_data/csrc",
}


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command, fail with everything that it printed, and return its standard output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    """The wheel's file."""
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    """The project's declarations."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_wheel_holds_two_packages_and_nothing_else(wheel: Path) -> None:
    """No test, example or data folder lands at the top of somebody's site-packages."""
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"difflut", "difflut_compiler"}
    run(BIN / "check-wheel-contents", wheel)


@pytest.mark.parametrize(("folder", "place"), DATA.items())
def test_the_data_travels_in_the_wheel(wheel: Path, folder: str, place: str) -> None:
    """Every template and every bench of the checkout is in the wheel."""
    source = ROOT / folder
    wanted = {
        f"{place}/{path.relative_to(source).as_posix()}"
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted, f"{folder} is empty"
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_sdist_can_be_tested(built: Path) -> None:
    """Who packages DiffLUT for a distribution gets the tests and what they need."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"tests/test_packaging.py", "constraints.txt", "Makefile", "LICENSE"} <= names
    assert any(name.startswith("rtl_tests/") for name in names)
    assert any(name.startswith("examples/") for name in names)


def test_the_wheel_brings_the_pretrained_models(wheel: Path) -> None:
    """Every file beside the models' package is installed with it, and so is the guide to them."""
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in (ROOT / "difflut" / "models").rglob("*") if path.suffix in {".md", ".pth", ".yaml"}]
    assert any(path.suffix == ".pth" for path in files)
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Installed alone, the compiler runs its own copy and finds its templates and benches there."""
    site = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    asked = (
        "import difflut, difflut_compiler;"
        "from difflut_compiler._resources import data;"
        "print(difflut.__file__, difflut_compiler.__file__, data('benches'), data('templates'), sep='\\n')"
    )
    out = run(sys.executable, "-c", asked, cwd=tmp_path, env={"PYTHONPATH": str(site)})
    assert [Path(line).is_relative_to(site) for line in out.splitlines()] == [True] * 4, out


def test_every_requirement_is_pinned(pyproject: dict[str, Any]) -> None:
    """constraints.txt holds one version for everything that the tests install, and pyproject.toml allows it."""
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    project = pyproject["project"]
    declared = list(project["dependencies"])
    for extra in set(project["optional-dependencies"]) - {"gpu", "gpu-cuda13"}:
        declared += project["optional-dependencies"][extra]
    for text in declared:
        requirement = Requirement(text)
        pin = pins.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
        assert pin is not None, f"constraints.txt does not pin {requirement.name}"
        assert pin in requirement.specifier, f"constraints.txt pins {requirement.name}=={pin}, outside {text}"
    assert "+" not in pins["torch"], "a local version suffix would shut out the other builds of torch"


def test_the_commands_are_installed(pyproject: dict[str, Any]) -> None:
    """Each script of pyproject.toml can be loaded in this environment."""
    installed = {point.name: point for point in entry_points(group="console_scripts")}
    for name, target in pyproject["project"]["scripts"].items():
        assert installed[name].value == target
        assert callable(installed[name].load())
        run(BIN / name, "--help")


def test_the_arrows_between_packages_hold() -> None:
    """The import-linter contracts of pyproject.toml."""
    run(BIN / "lint-imports", "--no-cache")


def test_help_is_quick() -> None:
    """Asking for help does not wait for torch."""
    asked = (
        "import sys; sys.argv = ['difflut', '--help']\n"
        "from difflut_compiler.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'networkx', 'pyosys', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert "compile" in run(sys.executable, "-c", asked)
