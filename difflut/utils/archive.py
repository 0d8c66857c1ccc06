"""Files of tensors and plain values, in the form of ``torch.save``, written carefully and read with suspicion."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import torch

from difflut.errors import CheckpointError
from difflut.utils.files import write_atomically

MAX_FILE_BYTES = 4 * 2**30


def write_archive(content: object, path: Path) -> None:
    """Write `content`, replacing the file at once; equal contents give equal bytes.

    Raises
    ------
    OSError : the file cannot be written.
    """
    # Through a buffer, because torch.save writes the file's own name into the archive.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def read_archive(path: Path) -> object:
    """Return what `write_archive` wrote, tensors on the CPU. Nothing in the file is executed.

    Raises
    ------
    CheckpointError : the file cannot be read, is damaged, or holds anything but tensors and plain values; the message
        does not name the file.
    """
    try:
        if not path.is_file():  # a device or a pipe could go on for ever
            raise CheckpointError("there is no such file.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CheckpointError(f"the file is larger than {MAX_FILE_BYTES} bytes, too large for a model.")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"the file cannot be read ({error.strerror}).") from error
    _check_archive(data)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the parser of an untrusted file: whatever it says, the file is to blame
        raise CheckpointError("the file holds something other than tensors and plain values.") from error


def check_header(content: object, kind: str, version: int) -> None:
    """Refuse content that is not a dict with ``{"format": kind, "version": version}``.

    Raises
    ------
    CheckpointError : as above; the message does not name the file.
    """
    if not isinstance(content, dict) or type(content.get("format")) is not str or content["format"] != kind:
        raise CheckpointError(f"the file is not a {kind} file; choose one that DiffLUT wrote.")
    found = content.get("version")
    if type(found) is not int or found != version:
        raise CheckpointError(f"the file has version {found!r}, this DiffLUT reads version {version}.")


def _check_archive(data: bytes) -> None:
    """Refuse damaged archives by their checksums, and compressed ones, which could unpack to any size."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
            damaged = archive.testzip() if plain else None
    except Exception as error:  # as above: zipfile raises a dozen types on damaged input
        raise CheckpointError("the file is damaged or not a model file; save or train the model again.") from error
    if not plain:
        raise CheckpointError("the file is compressed, which model files never are.")
    if damaged is not None:
        raise CheckpointError(f"the file is damaged (checksum of {damaged!r}); save or train the model again.")
