"""Compiles the CPU kernels on first use, for this machine, into a cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from difflut._resources import kernel_sources
from difflut.errors import KernelError

# Products and sums may be contracted, but not reordered: results do not depend on the number of threads.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-w")

TRAINING, PACKED_NETWORK = "cpu_kernels", "packed_network"
"""The libraries, by the names of their sources."""

CHECKSUM = ".sha256"
"""Suffix of the file beside a library that says what the library was when it was compiled."""


def find_compiler() -> str | None:
    """Return the path of the C++ compiler: ``$CXX`` if that is set, else g++; None if there is none."""
    return shutil.which(os.environ.get("CXX") or "g++")


def compiler_version(compiler: str) -> str:
    """Return the first line of what the compiler says about itself."""
    return _run([compiler, "--version"]).splitlines()[0]


def build_library(compiler: str, name: str = TRAINING) -> Path:
    """Return a compiled library, from the cache if it is there.

    The cache is ``$DIFFLUT_CACHE_DIR``, else ``difflut`` in the user's cache folder. A library's name is a digest of
    everything that it depends on, and it appears there complete or not at all, so any number of processes may do this
    at once, and on machines that share the folder. One that was damaged, or that somebody else could have written, is
    compiled anew.

    Raises
    ------
    KernelError : the compiler fails, or the cache cannot be written.
    """
    folder = kernel_sources()
    library = cache_folder() / f"{name}-{_digest(compiler, folder)}.so"
    if _is_usable(library):
        return library
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            fresh = Path(scratch) / library.name
            _run([compiler, *FLAGS, "-o", str(fresh), str(folder / f"{name}.cpp")])
            fresh.chmod(0o755)
            checksum = fresh.with_suffix(CHECKSUM)
            checksum.write_text(_checksum(fresh), encoding="ascii")
            os.replace(fresh, library)
            os.replace(checksum, library.with_suffix(CHECKSUM))
    except OSError as error:
        raise KernelError(
            f"The CPU kernels cannot be stored in {library.parent} ({error.strerror}); set DIFFLUT_CACHE_DIR to a "
            f"folder that can be written, or DIFFLUT_KERNELS=torch to do without them."
        ) from error
    return library


def cache_folder() -> Path:
    """Return the folder that compiled kernels are kept in."""
    if chosen := os.environ.get("DIFFLUT_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "difflut"


def _is_usable(library: Path) -> bool:
    """Whether a library is the one that was compiled, and its user's own: loading it runs what is in it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        file = library.stat()
        is_whole = library.with_suffix(CHECKSUM).read_text(encoding="ascii") == _checksum(library)
    except (OSError, UnicodeDecodeError):
        return False
    return is_whole and file.st_uid in (0, user) and not file.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _checksum(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def _digest(compiler: str, folder: Path) -> str:
    digest = hashlib.sha256()
    for part in (*FLAGS, compiler, compiler_version(compiler), platform.machine(), _processor()):
        digest.update(part.encode() + b"\0")
    for source in sorted(folder.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _processor() -> str:
    """What ``-march=native`` looks at: the model and the instruction sets of the first processor."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:  # not Linux
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part")
    return "\n".join(line for line in first.splitlines() if line.startswith(wanted))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KernelError(
            f"The compiler failed with the CPU kernels; set CXX to another one, or DIFFLUT_KERNELS=torch to do without "
            f"them.\n{shlex.join(command)}\n{done.stderr[-4000:]}"
        )
    return done.stdout
