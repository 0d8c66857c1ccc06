"""The program ``difflut``: its options, how a command prints and how it fails.

Exit codes: 0 fine, 1 a check found a difference, 2 wrong usage or bad input, 3 a tool is missing; 70 a fault of DiffLUT
itself, 130 interrupted. Nothing heavy is imported before a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import math
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from difflut_compiler.progress import DATA_BYTES_PER_SECOND, GRAPH_BYTES_PER_SECOND, reading_seconds

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="difflut",
    help="Train networks of look-up tables and compile them into proven FPGA logic.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT_SETTINGS,
)
EXIT_MISMATCH = 1
EXIT_BAD_INPUT = 2
EXIT_TOOL_MISSING = 3
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
PIPED_WIDTH = 100
"""Columns of a table where output is piped."""

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        import difflut

        print(f"difflut {difflut.__version__}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train networks of look-up tables and compile them into proven FPGA logic."""


def find_model(model: Path) -> Path:
    """The path as it is, or if there is no such file, the pretrained model of this name."""
    from difflut.models.published import get_pretrained_model_info, list_pretrained_models

    names = [] if model.is_file() else [name for group in list_pretrained_models().values() for name in group]
    weights = get_pretrained_model_info(str(model))["weights_path"] if str(model) in names else None
    return model if weights is None else Path(weights)


def data_seconds(data: str) -> float:
    """How long reading the data may take; 0 for those that are no file."""
    path = Path(data)
    return reading_seconds([path], DATA_BYTES_PER_SECOND.get(path.suffix.lower(), math.inf))


def graph_seconds(folders: list[Path]) -> float:
    """How long work on the graphs in the output folders of compiles may take."""
    from difflut_compiler.output import GRAPH_FILE

    return reading_seconds((folder / GRAPH_FILE for folder in folders), GRAPH_BYTES_PER_SECOND)


def print_table(rows: dict[str, str]) -> None:
    table = Table(show_header=False, box=None)
    for name, text in rows.items():
        table.add_row(f"[bold]{escape(name)}[/bold]", escape(text))
    output_console().print(table)


@contextmanager
def reporting_errors(debug: bool) -> Iterator[None]:
    """Turn an error that speaks to the user into one sentence and its exit code."""
    from difflut.errors import DifflutError
    from difflut_compiler.errors import CompilerError

    try:
        yield
    except (DifflutError, CompilerError) as error:
        if debug:
            traceback.print_exc()
        fail(str(error), error.exit_code if isinstance(error, CompilerError) else EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        fail("interrupted; what was finished before is still there", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_BAD_INPUT) from None
    except OSError as error:
        if debug:
            traceback.print_exc()
        fail(f"{error.filename or 'a file'}: {error.strerror}", EXIT_BAD_INPUT)


def fail(message: str, exit_code: int) -> NoReturn:
    error_console().print(f"[bold red]error:[/bold red] {escape(message)}", soft_wrap=True)
    raise typer.Exit(exit_code)


def error_console() -> Console:
    """Standard error, for errors and progress: standard output holds results."""
    return Console(stderr=True, highlight=False)


def output_console() -> Console:
    """Standard output; as wide as the terminal, or as a line of text where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)
