"""Bench for plain ports with tables that can be written.

Reads ``stimulus.json`` and writes ``outcome.json`` as `network_bench` does. All samples run with the tables that the
hardware starts with; then ``image``, a word per address, is written, one word per clock edge and in random order, so
that a word that also goes elsewhere is not always written over; and they run again and must give
``expected_after_loading``. While nothing is written, address and data are random.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from benches.network_bench import CLOCK_PERIOD_NS, Checker, Driver, Monitor, run_pipelined

SEED = 14


@cocotb.test()
async def network_matches_model(dut: Any) -> None:
    stimulus = json.loads(Path("stimulus.json").read_text())
    words = [int(word, 16) for word in stimulus["features"]]
    later = stimulus["expected_after_loading"]
    checker = Checker({name: values + later[name] for name, values in stimulus["expected"].items()})
    monitor = Monitor({name: getattr(dut, name) for name in stimulus["expected"]})
    Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start()
    await run(dut, words, monitor, checker, stimulus["latency_cycles"])
    image = list(enumerate(stimulus["image"]))
    for address, word in random.Random(SEED).sample(image, len(image)):
        dut.load.value, dut.load_address.value, dut.load_data.value = 1, address, word
        await FallingEdge(dut.clk)
    await run(dut, words, monitor, checker, stimulus["latency_cycles"])
    checker.finish()


async def run(dut: Any, words: list[int], monitor: Monitor, checker: Checker, latency: int) -> None:
    chance = random.Random(SEED)
    dut.load.value = 0
    dut.load_address.value = chance.randrange(1 << len(dut.load_address))
    dut.load_data.value = chance.getrandbits(len(dut.load_data))
    driver = Driver(dut.features, words)
    await run_pipelined(dut.clk, driver, monitor, checker, samples=len(words), latency=latency)
