"""The first samples as a waveform: the clock, some features going in, the outputs coming out some cycles later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from difflut_compiler.page.svg import svg, text

CYCLE, LANE, NAMES = 64, 34, 120
SHOWN_FEATURES = 4


def draw_waveform(samples: dict[str, Any], latency_cycles: int, output_names: Sequence[str]) -> Markup:
    """A lane for the clock, one per feature shown and one per output.

    ``samples`` has ``features``, a row per sample, and ``outputs``, a list per name. A sample enters every cycle; its
    answer is there ``latency_cycles`` cycles later, in the same cycle if the circuit is combinational.
    """
    rows: list[list[int]] = samples["features"]
    cycles = len(rows) + latency_cycles
    shown = _telling_features(rows)
    lanes = [(f"feature {feature}", [str(row[feature]) for row in rows] + [""] * latency_cycles) for feature in shown]
    lanes += [
        (name, [""] * latency_cycles + [str(value) for value in samples["outputs"][name]]) for name in output_names
    ]
    parts = [_clock(cycles)] if latency_cycles else []
    first = len(parts)
    for place, (name, values) in enumerate(lanes):
        parts.append(_bus(name, values, (first + place) * LANE + 6))
    height = (first + len(lanes)) * LANE + 24
    marks = [text(NAMES + cycle * CYCLE + CYCLE / 2, height - 6, cycle, "faint", "middle") for cycle in range(cycles)]
    label = text(NAMES - 8, height - 6, "cycle", "faint", "end")
    return svg(NAMES + cycles * CYCLE + 4, height, "waveform of the first samples", *parts, *marks, label)


def _telling_features(rows: Sequence[Sequence[int]]) -> list[int]:
    """The features that change most often from sample to sample, in their order."""
    changes = [len({row[feature] for row in rows}) for feature in range(len(rows[0]))]
    most = sorted(range(len(changes)), key=lambda feature: (-changes[feature], feature))[:SHOWN_FEATURES]
    return sorted(most)


def _clock(cycles: int) -> str:
    edges = "".join(f"h{CYCLE / 2}v-18h{CYCLE / 2}v18" for _ in range(cycles))
    return text(NAMES - 8, 24, "clk", anchor="end") + f'<path class="wave" d="M{NAMES} 27{edges}"/>'


def _bus(name: str, values: Sequence[str], y: float) -> str:
    """One lane: a hexagon per value, a grey bar where there is none yet or none any more."""
    parts = [text(NAMES - 8, y + 17, name, anchor="end")]
    for cycle, value in enumerate(values):
        x = NAMES + cycle * CYCLE
        outline = f"M{x} {y + 12}l5 -10h{CYCLE - 10}l5 10l-5 10h-{CYCLE - 10}z"
        parts.append(f'<path class="{"value" if value else "unknown"}" d="{outline}"/>')
        if value:
            parts.append(f'<text x="{x + CYCLE / 2}" y="{y + 17}" text-anchor="middle">{escape(value)}</text>')
    return "".join(parts)
