"""Networks of other tools, as graphs. A file is untrusted input: nothing in it is executed, and sizes are limited.

What each tool stores, and in which order its bits stand, is in the module of its name; it is converted there, so that
the graph has the conventions of :mod:`difflut_compiler.graph` and nobody else needs to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from difflut_compiler.errors import CompilerError
from difflut_compiler.graph import LutGraph

NETLISTS = {".blif": "BLIF", ".aag": "AIGER", ".aig": "AIGER"}
STATE_DICTS = (".pth", ".pt", ".ckpt", ".bin")
PARAMETRIZATIONS = ("raw", "warp", "light")


@dataclass(frozen=True)
class ImportRequest:
    """A file to import, and what it does not say itself.

    ``classes`` groups the last layer's bits into votes per class; None leaves them as outputs. ``wiring`` is a file
    with the connections of every layer, for tools whose checkpoints lack them. ``parametrization`` is one of
    :data:`PARAMETRIZATIONS`, for torchlogix where the shapes leave it open. ``inputs`` is the number of input bits, if
    some of the last ones are not read.
    """

    path: Path
    name: str
    classes: int | None = None
    wiring: Path | None = None
    parametrization: str | None = None
    inputs: int | None = None


def import_network(request: ImportRequest) -> LutGraph:
    """The graph of a file; raises :class:`CompilerError` naming the file and the place in it."""
    suffix = request.path.suffix.lower()
    if suffix in NETLISTS:
        return _import_netlist(request, suffix)
    if suffix not in STATE_DICTS:
        raise CompilerError(
            f"{request.path} has the suffix {suffix!r}; supported are {', '.join((*NETLISTS, *STATE_DICTS))}"
        )
    from difflut_compiler.importers.state_dicts import import_state_dict

    return import_state_dict(request)


def _import_netlist(request: ImportRequest, suffix: str) -> LutGraph:
    from difflut_compiler.importers.aiger import import_aiger
    from difflut_compiler.importers.blif import import_blif

    given = {"--classes": request.classes, "--wiring": request.wiring, "--parametrization": request.parametrization}
    for option, value in (given | {"--inputs": request.inputs}).items():
        if value is not None:
            raise CompilerError(f"{option} says nothing about a netlist; leave it out")
    try:
        return import_blif(request) if suffix == ".blif" else import_aiger(request)
    except OSError as error:
        raise CompilerError(f"{request.path} cannot be read: {error.strerror}") from None
