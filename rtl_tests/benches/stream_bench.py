"""Bench for a network behind AXI4-Stream: random gaps from the sender, random stalls by the receiver.

Reads ``stimulus.json`` and writes ``outcome.json`` as `network_bench` does; the stimulus also has ``beats``,
``stream_bits`` and the widths of the outputs. Checked are all answers in order, none lost and none twice; TLAST with
the right ones; that data wait unchanged while they are not taken; that incomplete samples, ended by TLAST, leave no
trace; that nobody waits while nobody pauses; and that the sender is refused, and nothing gets lost, when the receiver
takes nothing until all is full. In the middle, a reset takes what is under way, and those samples are sent again.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge, Timer

from benches.network_bench import CLOCK_PERIOD_NS, Checker

SEED = 12
INCOMPLETE = 0.05
"""Share of the samples before which an incomplete one is sent."""
PHASES = ((0.0, 0.0), (0.5, 0.3), (0.0, 0.95), (9.0, 0.0))
"""Cycles that the sender pauses per sample, and how often the receiver does; each lasts some samples. If none pauses,
the stream must run at full speed. Before the first phase, every time, the receiver takes nothing until all is full.
"""
PHASE_SAMPLES = 50
REFUSED_CYCLES = 20
"""For so long, the sender is refused when all is full."""
PATIENCE_CYCLES = 1000
"""For so long at most, nothing moves."""


class Sender:
    """The beats of the samples, in order, with TLAST at random, and sometimes an incomplete sample in between."""

    def __init__(self, stimulus: dict[str, Any], chance: random.Random) -> None:
        self.words = [int(word, 16) for word in stimulus["features"]]
        self.beats, self.bits = stimulus["beats"], stimulus["stream_bits"]
        self.chance = chance
        self.last = [chance.random() < 0.2 for _ in self.words]
        self.queue: list[tuple[int, int]] = []
        self.next_sample = 0
        self.sent = 0
        self.offering = False

    def restart(self, sample: int) -> None:
        self.queue.clear()
        self.next_sample = self.sent = sample
        self.offering = False

    def beat(self) -> tuple[int, int] | None:
        """The beat to be taken next, data and TLAST; None if all have been."""
        if not self.queue and self.next_sample < len(self.words):
            if self.beats > 1 and self.chance.random() < INCOMPLETE:
                count = self.chance.randrange(1, self.beats)
                self.queue += [(self.chance.getrandbits(self.bits), int(n == count - 1)) for n in range(count)]
            word = self.words[self.next_sample]
            beats = [word >> self.bits * n & (1 << self.bits) - 1 for n in range(self.beats)]
            last = [0] * (self.beats - 1) + [int(self.last[self.next_sample])]
            self.queue += zip(beats, last, strict=True)
            self.next_sample += 1
        return self.queue[0] if self.queue else None

    def taken(self) -> None:
        self.queue.pop(0)
        self.offering = False
        self.sent = self.sent if self.queue else self.next_sample


class Blockade:
    """Times in which the receiver takes nothing, until the sender was refused for a while or has nothing to send."""

    def __init__(self, most_under_way: int) -> None:
        self.most_under_way = most_under_way
        self.refused = 0
        self.next_at = 0
        self.filled = False

    def is_on(self, sender: Sender, answered: int) -> bool:
        if answered < self.next_at:
            return False
        under_way = sender.sent - answered
        assert under_way <= self.most_under_way, f"{under_way} samples were taken of which no answer was"
        if self.refused < REFUSED_CYCLES and sender.beat() is not None:
            return True
        self.filled |= self.refused >= REFUSED_CYCLES
        self.refused = 0
        self.next_at = answered + PHASE_SAMPLES * len(PHASES)
        return False

    def count(self, sender: Sender, taken: bool) -> None:
        self.refused = self.refused + 1 if sender.offering and not taken else 0


@cocotb.test()
async def network_matches_model(dut: Any) -> None:
    stimulus = json.loads(Path("stimulus.json").read_text())
    chance = random.Random(SEED)
    sender, checker = Sender(stimulus, chance), Checker(stimulus["expected"])
    Clock(dut.aclk, CLOCK_PERIOD_NS, unit="ns").start()
    await reset(dut)
    answered, waited, stalls = 0, 0, 0
    blockade = Blockade(2 * stimulus["latency_cycles"] + 8)
    was_reset = False
    waiting: tuple[int, int] | None = None  # an answer that was shown and not taken
    while answered < len(sender.words):
        blocked = blockade.is_on(sender, answered)
        idle_cycles, receiver_pauses = PHASES[answered // PHASE_SAMPLES % len(PHASES)]
        sender_pauses = idle_cycles / (idle_cycles + sender.beats)  # before a beat
        pauses = (0.0, 1.0) if blocked else (sender_pauses, receiver_pauses)
        drive(dut, sender, pauses, chance)
        await FallingEdge(dut.aclk)  # inputs are stable around the rising edge; what is seen now is seen there
        taken_in, shown, ready = observe(dut)
        if waiting is not None:
            assert shown == waiting, f"an answer that waited changed from {waiting} to {shown}"
        waiting = shown if shown is not None and not ready else None
        await take_edge(dut)
        if blocked:
            blockade.count(sender, taken_in)
        waited = 0 if taken_in or (shown is not None and ready) else waited + 1
        assert waited < PATIENCE_CYCLES, f"nothing moved for {waited} cycles, {answered} samples answered"
        if taken_in:
            sender.taken()
        elif sender.offering and not any(pauses):
            stalls += 1
        if shown is not None and ready:
            check_answer(checker, stimulus["outputs"], answered, *shown, last=sender.last[answered])
            answered += 1
        if not was_reset and answered >= len(sender.words) // 2:
            was_reset, waiting = True, None
            await reset(dut)
            sender.restart(answered)
    # A full FIFO at the beginning of a phase without pauses takes some cycles to have places again.
    allowed = (stimulus["latency_cycles"] + 8) * (len(sender.words) // (PHASE_SAMPLES * len(PHASES)) + 2)
    assert stalls <= allowed, f"the sender waited {stalls} cycles while the receiver was always ready"
    assert blockade.filled or len(sender.words) <= blockade.most_under_way, "the stream was never full"
    checker.finish()


def drive(dut: Any, sender: Sender, pauses: tuple[float, float], chance: random.Random) -> None:
    """Offer the next beat, unless the sender pauses; it may not take back what it has offered."""
    sender_pauses, receiver_pauses = (chance.random() < pause for pause in pauses)
    beat = sender.beat()
    sender.offering = beat is not None and (sender.offering or not sender_pauses)
    dut.s_axis_tvalid.value = int(sender.offering)
    data, last = beat if sender.offering and beat is not None else (0, chance.getrandbits(1))
    dut.s_axis_tdata.value, dut.s_axis_tlast.value = data, last
    dut.m_axis_tready.value = int(not receiver_pauses)


def observe(dut: Any) -> tuple[bool, tuple[int, int] | None, bool]:
    """Whether a beat is taken at the coming edge, the answer that is shown, and whether it is taken."""
    taken = dut.s_axis_tvalid.value == 1 and dut.s_axis_tready.value == 1
    ready = dut.m_axis_tready.value == 1
    if dut.m_axis_tvalid.value != 1:
        return taken, None, ready
    data, last = dut.m_axis_tdata.value, dut.m_axis_tlast.value
    assert data.is_resolvable, f"an answer is {data}"
    assert last.is_resolvable, f"TLAST of an answer is {last}"
    return taken, (int(data), int(last)), ready


async def take_edge(dut: Any) -> None:
    """Wait until the rising edge is past and everything has settled."""
    await RisingEdge(dut.aclk)
    await ReadOnly()
    await Timer(1, unit="ns")


def check_answer(checker: Checker, outputs: dict[str, int], sample: int, data: int, tlast: int, *, last: bool) -> None:
    """Cut the answer into the outputs, the first lowest; what is above them is zero."""
    found: dict[str, int | str] = {}
    for name, width in outputs.items():
        found[name] = data & (1 << width) - 1
        data >>= width
    assert data == 0, f"padding of answer {sample} is {data}"
    assert tlast == last, f"TLAST of answer {sample} is {tlast}"
    checker.check(sample, {name: found[name] for name in checker.expected})


async def reset(dut: Any) -> None:
    """Some cycles of reset; the sender offers nothing, as the standard asks, and no answer may be shown after it."""
    dut.aresetn.value = 0
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 1
    for _ in range(3):
        await FallingEdge(dut.aclk)
    assert dut.m_axis_tvalid.value == 0
    dut.aresetn.value = 1
    await take_edge(dut)
