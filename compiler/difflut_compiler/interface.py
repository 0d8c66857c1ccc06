"""How samples enter the hardware and answers leave it: plain ports, a valid bit, or AXI4-Stream.

The network itself is the same in all of them. A wrapper around it, the top module then, counts what is under way:

* ``plain``: a sample on every clock edge, its answer ``latency_cycles`` later. Optionally ``enable``, without which
  nothing moves at an edge, and ``rst``, active high and synchronous, which clears all registers, enabled or not; or
  tables that can be written while the hardware is there (:mod:`difflut_compiler.reload`).
* ``valid``: ``in_valid`` says which edges bring a sample, ``out_valid`` which bring an answer.
* ``axi-stream``: a sample is a number of beats, an answer is one. TLAST of a sample's last beat comes out with its
  answer; TLAST earlier ends an incomplete sample, which is dropped. A FIFO takes the answers of all samples under way,
  so that a receiver can stall at any time while the network itself never does.
"""

from __future__ import annotations

from dataclasses import dataclass

from difflut_compiler.errors import CompilerError
from difflut_compiler.names import count_of

INTERFACES = ("plain", "valid", "axi-stream")
BYTE_BITS = 8
MAX_STREAM_BYTES = 1024
WRAPPER_NAMES = frozenset(
    """aclk answered aresetn beat clk complete core fifo fifo_last first give in_valid is_last m_axis_tdata m_axis_tlast
    m_axis_tready m_axis_tvalid occupied out_valid places read_place ready rst s_axis_tdata s_axis_tlast s_axis_tready
    s_axis_tvalid sample stored take under_way write_place""".split()
)
"""Names that the wrappers use themselves, which no output may have."""


@dataclass(frozen=True)
class Interface:
    """``kind`` is one of :data:`INTERFACES`, ``stream_bits`` the width of the incoming stream's data."""

    kind: str = "plain"
    stream_bits: int = 32
    clock_enable: bool = False
    reset: bool = False
    reloadable: bool = False

    def check(self) -> None:
        """Raises :class:`CompilerError` for what there is not."""
        if any(type(option) is not bool for option in (self.clock_enable, self.reset, self.reloadable)):
            raise CompilerError("clock enable, reset and reloadable are true or false")
        if self.kind not in INTERFACES:
            raise CompilerError(f"there is no interface {self.kind!r}; choose one of {', '.join(INTERFACES)}")
        if self.stream_bits % BYTE_BITS or not BYTE_BITS <= self.stream_bits <= BYTE_BITS * MAX_STREAM_BYTES:
            raise CompilerError(f"a stream has whole bytes, 1 to {MAX_STREAM_BYTES}, not {self.stream_bits} bits")
        if self.controls and not self.is_plain:
            raise CompilerError(f"clock enable and reset go with plain ports; the interface {self.kind} has its own")
        if self.reloadable and (self.controls or not self.is_plain):
            raise CompilerError("reloadable tables go with plain ports, without clock enable and reset")

    @property
    def is_plain(self) -> bool:
        return self.kind == "plain"

    @property
    def controls(self) -> tuple[str, ...]:
        """Ports that control the registers of the network, beside the clock."""
        return ("enable",) * self.clock_enable + ("rst",) * self.reset

    @property
    def names(self) -> frozenset[str]:
        """Names that no output may have."""
        return frozenset({*self.controls, *LOAD_PORTS * self.reloadable}) if self.is_plain else WRAPPER_NAMES

    @property
    def needs_clock(self) -> bool:
        return not self.is_plain or bool(self.controls) or self.reloadable

    def beats(self, feature_bits: int) -> int:
        """Beats of one sample."""
        return -(-feature_bits // self.stream_bits)

    def describe_latency(self, latency_cycles: int, feature_bits: int) -> str:
        """How long the network takes and how often it gets a sample."""
        cycles = count_of(latency_cycles, "clock cycle")
        if self.kind == "axi-stream":
            network = f"{cycles} in the network" if latency_cycles else "combinational network"
            beats = self.beats(feature_bits)
            return f"{network}, then a FIFO; one sample per {count_of(beats, 'beat') if beats > 1 else 'beat'}"
        return f"{cycles}, one sample per cycle" if latency_cycles else "combinational"

    def describe_timing(self, latency_cycles: int) -> str:
        """What the bench of the interface makes sure of, beside the answers themselves: when they come."""
        if self.kind == "axi-stream":
            return "answers in order, none lost and none twice, while sender and receiver pause at random"
        if not latency_cycles:
            return "combinational"
        with_enable = " with enable" if self.clock_enable else ""
        return f"each answer after exactly {count_of(latency_cycles, 'clock cycle')}{with_enable}"


PLAIN = Interface()
LOAD_PORTS = ("load", "load_address", "load_data")
"""Ports through which reloadable tables are written."""


def stream_out_bits(answer_bits: int) -> int:
    """Width of the outgoing stream's data: whole bytes."""
    return -(-answer_bits // BYTE_BITS) * BYTE_BITS
