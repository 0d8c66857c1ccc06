"""Bench for plain ports with a clock enable, a reset, or both.

Reads ``stimulus.json`` and writes ``outcome.json`` as `network_bench` does. Edges without the enable are random: at
them, another sample than the next is on the port and must not enter, and no output may move. Each answer comes exactly
``latency`` enabled edges after its sample. The reset, at the beginning and in the middle, enabled or not, clears all
registers; samples that were under way are sent again.
"""

from __future__ import annotations

import json
import random
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from benches.network_bench import CLOCK_PERIOD_NS, Checker, Monitor

SEED = 13
PAUSE = 0.3
"""Share of the edges without the enable."""


@cocotb.test()
async def network_matches_model(dut: Any) -> None:
    stimulus = json.loads(Path("stimulus.json").read_text())
    words = [int(word, 16) for word in stimulus["features"]]
    controls, latency = stimulus["controls"], stimulus["latency_cycles"]
    chance = random.Random(SEED)
    checker = Checker(stimulus["expected"])
    monitor = Monitor({name: getattr(dut, name) for name in stimulus["expected"]})
    after_reset = {name: stimulus["after_reset"][name] for name in stimulus["expected"]}
    Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start()
    resets = deque([0, len(words) // 2] if "rst" in controls else [])  # how many answers come before each
    pipeline: deque[int | None] = deque([None] * latency, latency)  # the samples in the network, oldest first
    sent = answered = 0
    await FallingEdge(dut.clk)
    while answered < len(words):
        enabled = "enable" not in controls or chance.random() >= PAUSE
        clearing = bool(resets) and answered >= resets[0]
        entering = sent if enabled and not clearing and sent < len(words) else None
        dut.features.value = words[entering if entering is not None else chance.randrange(len(words))]
        if "enable" in controls:
            dut.enable.value = int(enabled)
        if "rst" in controls:
            dut.rst.value = int(clearing)
        before = monitor.read()
        await FallingEdge(dut.clk)  # one rising edge later
        if clearing:
            resets.popleft()
            pipeline.extend([None] * latency)
            sent = answered
            assert monitor.read() == after_reset, f"after reset, the outputs are {monitor.read()}, not {after_reset}"
        elif enabled:
            pipeline.append(entering)
            sent += entering is not None
            if pipeline[0] is not None:
                checker.check(answered, monitor.read())
                answered += 1
        else:
            assert monitor.read() == before, f"without enable, the outputs changed from {before} to {monitor.read()}"
    checker.finish()
