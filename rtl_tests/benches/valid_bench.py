"""Bench for a network with valid bits: samples on some clock edges, each answer exactly ``latency`` edges later.

Reads ``stimulus.json`` and writes ``outcome.json`` as `network_bench` does. Gaps between the samples are random; in the
middle, a reset takes what is under way, and those samples are sent again.
"""

from __future__ import annotations

import json
import random
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from benches.network_bench import CLOCK_PERIOD_NS, Checker, Monitor

SEED = 11
GAP = 0.3
"""Share of the clock edges without a sample."""


@cocotb.test()
async def network_matches_model(dut: Any) -> None:
    stimulus = json.loads(Path("stimulus.json").read_text())
    words = [int(word, 16) for word in stimulus["features"]]
    checker = Checker(stimulus["expected"])
    monitor = Monitor({name: getattr(dut, name) for name in stimulus["expected"]})
    if stimulus["latency_cycles"]:
        await run_clocked(dut, words, monitor, checker, stimulus["latency_cycles"])
    else:
        await run_combinational(dut, words, monitor, checker)
    checker.finish()


async def run_clocked(dut: Any, words: list[int], monitor: Monitor, checker: Checker, latency: int) -> None:
    chance = random.Random(SEED)
    Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start()
    await reset(dut)
    due: deque[int] = deque()  # the edges at which answers are due
    sent = answered = edge = 0
    was_reset = False
    while answered < len(words):
        await FallingEdge(dut.clk)
        edge += 1
        valid = dut.out_valid.value == 1
        assert valid == (bool(due) and due[0] == edge), f"out_valid is {dut.out_valid.value} at edge {edge}, due {due}"
        if valid:
            due.popleft()
            checker.check(answered, monitor.read())
            answered += 1
        if not was_reset and answered >= len(words) // 2:
            was_reset = True
            await reset(dut)
            due.clear()
            sent = answered
            continue
        sending = sent < len(words) and chance.random() >= GAP
        dut.in_valid.value = int(sending)
        # Without a sample, the port carries another one, which must not come out.
        dut.features.value = words[sent if sending else chance.randrange(len(words))]
        if sending:
            due.append(edge + latency)
            sent += 1


async def reset(dut: Any) -> None:
    """Two edges of reset, in which samples do not count."""
    dut.rst.value = 1
    dut.in_valid.value = 1
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    dut.in_valid.value = 0


async def run_combinational(dut: Any, words: list[int], monitor: Monitor, checker: Checker) -> None:
    for sample, word in enumerate(words):
        for valid in (0, 1):
            dut.features.value = word
            dut.in_valid.value = valid
            await Timer(CLOCK_PERIOD_NS, unit="ns")
            assert dut.out_valid.value == valid
        checker.check(sample, monitor.read())
