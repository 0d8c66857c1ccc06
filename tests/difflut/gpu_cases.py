"""Cases that the GPU kernels are tested on. As a program, it runs some of them under a tool that watches memory.

``python -m tests.difflut.gpu_cases cuda`` runs them on a GPU, ``shim`` on the CPU, ``broken`` there with a mistake in
the kernels; the last two are for AddressSanitizer, with which they are compiled.
"""

from __future__ import annotations

import sys
from functools import partial

import pytest
import torch
from torch import Tensor

from difflut.kernels import cuda
from difflut.rules import Routing, WiredPins, fused
from difflut.rules.hard_lookup import _EXPECTED, _GEOMETRIC, _HARMONIC
from difflut.rules.multilinear import _MULTILINEAR, _OF_LOGITS
from tests.difflut import gpu_shim

RULES = {
    "multilinear": _MULTILINEAR,
    "multilinear_of_logits": _OF_LOGITS,
    "hard_lookup": _GEOMETRIC,
    "hard_lookup_harmonic": _HARMONIC,
    "hard_lookup_expected": _EXPECTED,
}
INPUTS = 23
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2**-7}


class Case:
    """Random tables, features and wiring of a few nodes, and the gradient of the answers."""

    def __init__(
        self, n: int, outputs: int, batch: int, choices: int = 0, rows: torch.dtype = torch.float32, nodes: int = 7
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.table = torch.rand(nodes, outputs, 2**n, generator=generator)
        self.features = torch.rand(INPUTS, batch, generator=generator).to(rows)
        self.grad = torch.randn(nodes, outputs, batch, generator=generator).to(rows)
        self.wiring = torch.randint(0, INPUTS, (nodes, n), generator=generator)
        self.routing = None
        if choices:
            candidates = torch.randint(0, INPUTS, (nodes, n, choices), generator=generator)
            logits = torch.randn(nodes, n, choices, generator=generator)
            self.wiring = candidates.gather(2, logits.argmax(2, keepdim=True)).squeeze(2)
            self.routing = Routing(candidates, logits, 0.7)

    def answer(self, rule: fused.TableRule, device: torch.device) -> dict[str, Tensor]:
        """Values and gradients from the kernels."""
        candidates, logits, tau = self.routing or (None, None, 1.0)
        leaves = [x.to(device).requires_grad_() for x in (self.table, self.features)]
        places = [None if x is None else x.to(device) for x in (logits, self.wiring, candidates)]
        if places[0] is not None:
            leaves.append(places[0].requires_grad_())
        values = fused._Fused.apply(*leaves[:2], *places, tau, rule)  # type: ignore[no-untyped-call]
        gradients = torch.autograd.grad(values, leaves, self.grad.to(device))
        answers = (values.detach(), *gradients)
        return {name: x.cpu() for name, x in zip(("values", "table", "features", "logits"), answers, strict=False)}

    def answer_twin(self, rule: fused.TableRule) -> dict[str, Tensor]:
        """The same from torch, in float64."""
        leaves = [x.double().requires_grad_() for x in (self.table, self.features)]
        routing = None
        if self.routing is not None:
            leaves.append(self.routing.logits.double().requires_grad_())
            routing = self.routing._replace(logits=leaves[2])
        values = rule.twin(leaves[0], WiredPins(leaves[1], self.wiring, routing).gather())
        gradients = torch.autograd.grad(values, leaves, self.grad.double())
        return dict(zip(("values", "table", "features", "logits"), (values.detach(), *gradients), strict=False))


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, one in found.items():
        other = expected[name]
        bound = TOLERANCES[torch.float32] if name == "table" else tolerance  # tables are float32 all the way
        assert one.shape == other.shape
        assert (one - other).abs().max() <= bound * other.abs().max().clamp_min(1), name


def run_cases(device: torch.device, pins: tuple[int, int], batch: int) -> None:
    """Compare some cases with their twins."""
    for n, rows in zip(pins, (torch.float32, torch.bfloat16), strict=True):
        for rule in RULES.values():
            case = Case(n, 2, batch, 5, rows)
            assert_close(case.answer(rule, device), case.answer_twin(rule), TOLERANCES[rows])


def main(kind: str) -> None:
    if kind == "cuda":
        run_cases(torch.device("cuda"), (3, 8), 300)
        return
    patch = pytest.MonkeyPatch()
    patch.delenv("LD_PRELOAD", raising=False)  # AddressSanitizer is loaded, and the compiler does without
    compile_watched = partial(gpu_shim.compile_for_cpu, flags=("-fsanitize=address",))
    patch.setattr(gpu_shim, "compile_for_cpu", compile_watched)
    gpu_shim.install(patch)
    if kind == "broken":
        read = cuda.read_source
        patch.setattr(cuda, "read_source", lambda file: read(file).replace("first + i * WARP < batch ?", "true ?"))
    run_cases(torch.device("cpu"), (3, 2), 37)  # g++ takes minutes for more pins


if __name__ == "__main__":
    main(sys.argv[1])
