"""Where the data that travels with the compiler is: templates and simulation benches."""

from importlib.resources import files
from pathlib import Path


def data(folder: str) -> Path:
    """The data folder ``templates`` or ``benches``, in an installed package or in a checkout."""
    installed = Path(str(files("difflut_compiler"))) / "_data" / folder
    if installed.is_dir():
        return installed
    root = Path(__file__).resolve().parents[2]
    checkout = {"templates": root / "templates", "benches": root / "rtl_tests" / "benches"}[folder]
    if (root / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"difflut_compiler's {folder} are neither in {installed} nor in {checkout}; reinstall it")
