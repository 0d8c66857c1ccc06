"""Where the data that travels with the library is: the sources of its kernels."""

from importlib.resources import files
from pathlib import Path


def kernel_sources() -> Path:
    """The folder ``csrc``, in an installed package or in a checkout."""
    installed = Path(str(files("difflut"))) / "_data" / "csrc"
    if installed.is_dir():
        return installed
    root = Path(__file__).resolve().parents[1]
    checkout = root / "csrc"
    if (root / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"difflut's kernel sources are neither in {installed} nor in {checkout}; reinstall it")
