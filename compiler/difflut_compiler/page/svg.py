"""Pictures as SVG text: histograms, heat maps and matrices; and bars of shares. Colours are the style sheet's.

Every picture scales to its place, has a title that screen readers and hovering show, and needs no script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

BARS = 24
"""Bars of a histogram at most."""
SHADES = 6
"""Colours of parts, in the style sheet the classes p0 and so on."""


def svg(width: float, height: float, label: str, *parts: str) -> Markup:
    """An SVG picture of ``parts`` in a box of ``width`` by ``height``."""
    body = "".join(parts)
    return Markup(  # noqa: S704 - our own elements; every text in them is escaped where they are made
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'preserveAspectRatio="xMidYMid meet">{body}</svg>'
    )


def text(x: float, y: float, words: object, style: str = "", anchor: str = "start") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, title: str, *, style: str = "bar", opacity: float = 1) -> str:
    shade = f' fill-opacity="{opacity:.3f}"' if opacity < 1 else ""
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{shade}>'
        f"<title>{escape(title)}</title></rect>"
    )


def histogram(values: NDArray[np.float64] | NDArray[np.int64], label: str, unit: str) -> Markup:
    """How often each value occurs: a bar per whole number, or ``BARS`` equal ranges of numbers that are not whole."""
    if np.issubdtype(values.dtype, np.integer) and int(values.max()) - int(values.min()) < BARS:
        edges = np.arange(int(values.min()), int(values.max()) + 2).astype(float)
        names = [f"{int(edge)}" for edge in edges[:-1]]
    else:
        edges = np.histogram_bin_edges(values, BARS)
        names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    counts = np.histogram(values, edges)[0]
    width, height, base = 300.0, 120.0, 96.0
    step, tallest = min(40.0, width / len(counts)), int(counts.max())
    bars = [
        box(
            place * step + 1,
            base - 78 * count / tallest,
            max(1.0, step - 2),
            78 * count / tallest,
            f"{name} {unit}: {count}",
        )
        for place, (name, count) in enumerate(zip(names, counts.tolist(), strict=True))
        if count
    ]
    axis = f'<line class="axis" x1="0" y1="{base}" x2="{width}" y2="{base}"/>'
    if values.max() > values.min():
        right_end = max(110.0, step * len(counts))
        ends = text(0, 112, f"{values.min():.3g}") + text(right_end, 112, f"{values.max():.3g} {unit}", anchor="end")
    else:
        ends = text(0, 112, f"{values.max():.3g} {unit}")
    return svg(width, height, label, axis, *bars, ends, text(0, 11, f"up to {tallest:,} LUTs", "faint"))


def heat_map(weights: NDArray[np.float64], names: Sequence[str], label: str) -> Markup:
    """A field per weight, darker for more: a square if their number is one, else rows of up to 32."""
    side = math.isqrt(len(weights))
    columns = side if side * side == len(weights) else min(32, len(weights))
    size = 300 / columns
    most = float(weights.max()) or 1.0
    fields = [
        box(
            (place % columns) * size,
            (place // columns) * size,
            max(0.5, size - 0.6),
            max(0.5, size - 0.6),
            f"{name}: {weight:.2%}",
            style="heat",
            opacity=round(0.04 + 0.96 * weight / most, 3),
        )
        for place, (name, weight) in enumerate(zip(names, weights.tolist(), strict=True))
    ]
    return svg(300, math.ceil(len(weights) / columns) * size, label, *fields)


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str], label: str) -> Markup:
    """The confusion matrix: a row per true class, a column per answer; the diagonal is what was right."""
    size, edge = 34, 74
    length = edge + size * len(names)
    most = max(max(row) for row in counts) or 1
    parts = [text(edge + size * len(names) / 2, edge - 34, "answer of the network", "faint", "middle")]
    for row, true_name in enumerate(names):
        parts.append(text(edge - 8, edge + row * size + 22, _short(true_name), anchor="end"))
        parts.append(text(edge + row * size + size / 2, edge - 10, _short(true_name), anchor="middle"))
        for column, answer in enumerate(names):
            count = counts[row][column]
            style = "right" if row == column else "wrong"
            shade = (0.15 + 0.85 * count / most) if count else 0.03
            title = f"{count} samples of {true_name} answered {answer}"
            place = (edge + column * size, edge + row * size)
            parts.append(box(*place, size - 1.5, size - 1.5, title, style=style, opacity=shade))
            if count:
                dark = "onfill" if shade > 0.55 else ""
                parts.append(text(place[0] + size / 2, place[1] + 21, count, dark, "middle"))
    return svg(length, length, label, *parts)


def _short(name: str) -> str:
    return name if len(name) <= 8 else name[:7] + "…"


def stacked_bar(parts: Sequence[tuple[str, int]], label: str) -> Markup:
    """One bar in as many shades as there are parts, each as long as its share.

    Boxes of HTML, for their names stay legible however narrow the bar is.
    """
    total = sum(amount for _, amount in parts) or 1
    boxes = "".join(
        f'<span class="p{place % SHADES}" style="flex:{amount}" '
        f'title="{escape(f"{name}: {amount:,} ({amount / total:.0%})")}">{escape(name)}</span>'
        for place, (name, amount) in enumerate(parts)
    )
    return Markup(  # noqa: S704 - our own elements; every text in them is escaped
        f'<div class="stack" role="img" aria-label="{escape(label)}">{boxes}</div>'
    )
