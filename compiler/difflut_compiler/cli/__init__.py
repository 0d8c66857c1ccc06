"""The command line. ``program`` holds what the commands share; each of the other modules holds some commands."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable

import typer

# Importing a module registers its commands; --help lists them in this order.
from difflut_compiler.cli import training, networks, compiling, results, lists  # isort: skip  # noqa: F401
from difflut_compiler.cli.program import CONTEXT_SETTINGS, EXIT_INTERNAL, EXIT_INTERRUPTED, app

__all__ = ["app", "compile_main", "main", "train_main"]


def main() -> None:
    """Entry point of ``difflut``."""
    _run(app)


def compile_main() -> None:
    """Entry point of ``difflut-compile``: ``difflut compile`` under a name of its own."""
    _run_alone(compiling.compile_command, "difflut-compile")


def train_main() -> None:
    """Entry point of ``difflut-train``: ``difflut train`` under a name of its own."""
    _run_alone(training.train, "difflut-train")


def _run_alone(command: Callable[..., None], name: str) -> None:
    (info,) = (info for info in app.registered_commands if info.callback is command)
    alone = typer.Typer(name=name, pretty_exceptions_enable=False, context_settings=CONTEXT_SETTINGS)
    alone.command(epilog=info.epilog)(command)
    _run(alone)


def _run(program: Callable[[], None]) -> None:
    """Run a command line; SIGTERM ends it as Ctrl-C does, and a fault of ours has an exit code of its own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        program()
    except KeyboardInterrupt:  # before a command began
        sys.exit(EXIT_INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last door: whatever comes here is shown, whole, and is a fault of ours
        traceback.print_exc()
        print("error: this is a fault of DiffLUT itself; please report it with the lines above", file=sys.stderr)
        sys.exit(EXIT_INTERNAL)
