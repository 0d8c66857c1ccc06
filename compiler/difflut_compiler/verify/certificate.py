"""The certificate: what was checked, how often, with which tool, and what was not checked and why."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal

from difflut_compiler.approximations import Record
from difflut_compiler.errors import CompilerError, MismatchError, NotCheckedError, ToolMissingError

Status = Literal["passed", "failed", "not checked"]

RUNG_NAMES = {
    0: "{product} and graph are those of the certificate",
    1: "graph equals the model in eval mode",
    2: "optimised and scheduled graph equals the lowered graph",
    3: "{product} read back equals the optimised graph",
    4: "simulated {product} equals the model in eval mode",
    5: "a flipped table bit is caught",
}


def rung_name(rung: int, product: str = "RTL") -> str:
    """What a rung shows; ``product`` is what the compile makes: RTL, a netlist, a C program."""
    return RUNG_NAMES[rung].format(product=product)


@dataclass(frozen=True)
class Finding:
    """What a check that passed has to say: how much it compared, with which tool, and in what manner."""

    comparisons: int
    reason: str
    tool: str
    version: str


@dataclass(frozen=True)
class Rung:
    """One step of the ladder of evidence."""

    id: int
    name: str
    status: Status
    reason: str
    comparisons: int
    tool: str
    version: str
    seconds: float


@dataclass(frozen=True)
class Certificate:
    """The evidence for one compiled network, tied to the model file, the graph's file and the hardware's text.

    With ``approximations``, the first rung is about the network before them and all others about the one after them.
    """

    target: str
    model_sha256: str
    graph_sha256: str
    files_sha256: str
    approximations: tuple[Record, ...]
    rungs: tuple[Rung, ...]

    @property
    def failed(self) -> bool:
        return any(rung.status == "failed" for rung in self.rungs)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def hash_text(text: str) -> str:
    """SHA-256 of a text file."""
    return hashlib.sha256(text.encode()).hexdigest()


def climb(rung: int, check: Callable[[], Finding], product: str = "RTL") -> Rung:
    """Run one check on the ``product`` of a compile.

    A found difference is a failed rung, a missing tool one that is not checked, both with the reason. Any other error
    is not evidence and is raised.
    """
    start = time.perf_counter()
    status: Status
    try:
        finding = check()
        status = "passed"
    except MismatchError as error:
        finding, status = Finding(0, str(error), "", ""), "failed"
    except (ToolMissingError, NotCheckedError) as error:
        finding, status = Finding(0, str(error), "", ""), "not checked"
    seconds = round(time.perf_counter() - start, 3)
    name = rung_name(rung, product)
    return Rung(rung, name, status, finding.reason, finding.comparisons, finding.tool, finding.version, seconds)


def not_checked(rung: int, reason: str, product: str = "RTL") -> Rung:
    return Rung(rung, rung_name(rung, product), "not checked", reason, 0, "", "", 0.0)


def about(reference: str, rungs: Iterable[Rung]) -> tuple[Rung, ...]:
    """The same evidence in words that say that it was compared with ``reference``, not with a network as trained."""

    def reword(text: str) -> str:
        for name in ("the lowered graph", "the model in eval mode"):
            text = text.replace(name, reference)
        return text

    return tuple(replace(rung, name=reword(rung.name), reason=reword(rung.reason)) for rung in rungs)


def require_some(comparisons: int, what: str) -> int:
    """A check that compared nothing is not evidence."""
    if comparisons <= 0:
        raise CompilerError(f"{what} compared nothing; this is a bug")
    return comparisons
