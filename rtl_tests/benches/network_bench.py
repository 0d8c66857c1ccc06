"""Bench for a compiled network with plain ports: one sample per clock in, one answer per clock out, ``latency`` later.

Runs inside the simulator. The folder that it runs in holds ``stimulus.json``::

    {"latency_cycles": 5, "features": ["1f3", ...], "expected": {"class_index": [3, ...]}}

with the packed feature words in hexadecimal. The outcome goes to ``outcome.json``: what came out, how many comparisons
were made, and the first mismatches. The test fails unless every expected value was compared and equal.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

CLOCK_PERIOD_NS = 10
MISMATCHES_KEPT = 10


class Driver:
    """Puts one feature word after the other onto the port."""

    def __init__(self, port: Any, words: list[int]) -> None:
        self.port = port
        self.words = deque(words)

    def drive_next(self) -> None:
        """Present the next word; after the last one the port keeps its value."""
        if self.words:
            self.port.value = self.words.popleft()


class Monitor:
    """Reads all outputs; a value with undefined bits reads as its text, which equals no expected number."""

    def __init__(self, ports: dict[str, Any]) -> None:
        self.ports = ports

    def read(self) -> dict[str, int | str]:
        return {name: self._read_port(port) for name, port in self.ports.items()}

    @staticmethod
    def _read_port(port: Any) -> int | str:
        value = port.value
        return int(value) if value.is_resolvable else str(value)


class Checker:
    """Compares what comes out with what is expected, in order, and counts."""

    def __init__(self, expected: dict[str, list[int]]) -> None:
        self.expected = {name: deque(values) for name, values in expected.items()}
        self.total = sum(len(values) for values in expected.values())
        self.comparisons = 0
        self.outputs: dict[str, list[int | str]] = {name: [] for name in expected}
        self.mismatches: list[dict[str, Any]] = []
        self.mismatch_count = 0

    def check(self, sample: int, outputs: dict[str, int | str]) -> None:
        for name, found in outputs.items():
            wanted = self.expected[name].popleft()
            self.comparisons += 1
            self.outputs[name].append(found)
            if found != wanted:
                self.mismatch_count += 1
                if len(self.mismatches) < MISMATCHES_KEPT:
                    self.mismatches.append({"sample": sample, "output": name, "expected": wanted, "found": found})

    def finish(self) -> None:
        """Write the outcome; fail unless everything expected was compared and equal."""
        outcome = {
            "comparisons": self.comparisons,
            "mismatch_count": self.mismatch_count,
            "mismatches": self.mismatches,
            "outputs": self.outputs,
        }
        Path("outcome.json").write_text(json.dumps(outcome))
        assert self.total > 0, "nothing was expected, so nothing was checked"
        assert not any(self.expected.values()), "some expected values were never compared"
        assert self.comparisons == self.total, f"{self.comparisons} comparisons, expected {self.total}"
        assert self.mismatch_count == 0, f"{self.mismatch_count} of {self.total} wrong, first {self.mismatches[0]}"


@cocotb.test()
async def network_matches_model(dut: Any) -> None:
    stimulus = json.loads(Path("stimulus.json").read_text())
    words = [int(word, 16) for word in stimulus["features"]]
    driver = Driver(dut.features, words)
    monitor = Monitor({name: getattr(dut, name) for name in stimulus["expected"]})
    checker = Checker(stimulus["expected"])
    latency = stimulus["latency_cycles"]
    if latency:
        Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start()
        await run_pipelined(dut.clk, driver, monitor, checker, samples=len(words), latency=latency)
    else:
        await run_combinational(driver, monitor, checker, samples=len(words))
    checker.finish()


async def run_pipelined(
    clk: Any, driver: Driver, monitor: Monitor, checker: Checker, *, samples: int, latency: int
) -> None:
    """A new sample before every rising edge; its answer is read just before the edge ``latency`` cycles later."""
    for cycle in range(samples + latency):
        await FallingEdge(clk)
        if cycle >= latency:
            checker.check(cycle - latency, monitor.read())
        driver.drive_next()


async def run_combinational(driver: Driver, monitor: Monitor, checker: Checker, *, samples: int) -> None:
    for sample in range(samples):
        driver.drive_next()
        await Timer(CLOCK_PERIOD_NS, unit="ns")
        checker.check(sample, monitor.read())
