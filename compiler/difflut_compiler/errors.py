"""Errors a user of the compiler can meet, each with the exit code of the command line.

CompilerError            2  something in the model or the request cannot be compiled
|-- ImportFileError      2  a file of another tool that cannot be read
|-- GraphError           2  a graph that breaks its own rules
|-- NotCheckedError      2  a check cannot be made; within a compile it becomes a line of the certificate
|-- MismatchError        1  two descriptions of the same network disagree
'-- ToolMissingError     3  an external tool is needed and not installed
"""

from pathlib import Path


class CompilerError(Exception):
    """Something in the model or in the request cannot be compiled; the message says what to do."""

    exit_code = 2


class GraphError(CompilerError):
    """A graph breaks a rule that every :class:`~difflut_compiler.graph.LutGraph` keeps."""


class ImportFileError(CompilerError):
    """A file of another tool is malformed or holds what is not supported; the message says where."""

    def __init__(self, path: Path, message: str, line: int | None = None) -> None:
        place = f"{path}, line {line}" if line is not None else str(path)
        super().__init__(f"{place}: {message}")


class NotCheckedError(CompilerError):
    """A check has nothing to work on or came to no end; the message is the reason for the certificate."""


class MismatchError(CompilerError):
    """Two descriptions that must be the same network were found to differ."""

    exit_code = 1


class ToolMissingError(CompilerError):
    """An external tool is needed for what was asked and is not installed."""

    exit_code = 3
