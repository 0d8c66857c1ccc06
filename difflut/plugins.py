"""Building blocks of other installed distributions.

A distribution offers its own nodes, layers, encoders, models, initialisers and regularisers by an entry point whose
module registers them when it is imported; the name on the left is free::

    [project.entry-points."difflut.components"]
    my_blocks = "my_package.blocks"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from difflut.errors import PluginError

GROUP = "difflut.components"


class Plugins:
    """What installed distributions name in the entry point group ``difflut.components``."""

    def __init__(self) -> None:
        self._started = False
        self._failure: PluginError | None = None

    def load(self) -> None:
        """Import all of them, the first time that it is called.

        Raises
        ------
        PluginError : one of them cannot be imported; every later call says so again.
        """
        if self._failure is not None:
            raise self._failure
        if self._started:
            return
        self._started = True  # before the first import, because a plugin may look names up itself
        for entry_point in entry_points(group=GROUP):
            try:
                entry_point.load()
            except Exception as error:  # a stranger's code: whatever it raises, it is named
                self._failure = PluginError(_describe(entry_point, error))
                raise self._failure from error


def _describe(entry_point: EntryPoint, error: Exception) -> str:
    owner = f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else "an unknown distribution"
    return (
        f"{owner} is installed, but its DiffLUT building blocks {entry_point.name!r} ({entry_point.value}) cannot be "
        f"loaded ({type(error).__name__}: {error}); repair or uninstall it."
    )


PLUGINS = Plugins()
