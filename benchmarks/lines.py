"""Lines on two axes, as an SVG by hand like the bars of `benchmarks.chart`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 300, 64, 24, 56, 48
COLOURS = ("#2563eb", "#d97706", "#059669")
INK, RULE = "#1f2937", "#e5e7eb"


@dataclass(frozen=True)
class Line:
    """Points from left to right; `ideal` ones are drawn in dashes."""

    name: str
    points: Sequence[tuple[float, float]]
    ideal: bool = False


def plot(title: str, x_name: str, y_name: str, lines: Sequence[Line], *, logarithmic: bool = True) -> str:
    """Return a plot. Its axes begin at 0, or both are logarithmic: what grows in proportion is a straight line."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points if y > 0]
    x_at = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, logarithmic)
    y_at = _scale(min(ys) if logarithmic else 0.0, max(ys), HEIGHT - BOTTOM, TOP, logarithmic)
    parts = [_text(12, 18, title, bold=True)]
    low = HEIGHT - BOTTOM
    for x in dict.fromkeys(xs):
        parts += [_rule(x_at(x), TOP, x_at(x), low), _text(x_at(x), low + 16, _short(x), "middle")]
    for y in _ticks(min(ys), max(ys), logarithmic):
        parts += [_rule(LEFT, y_at(y), WIDTH - RIGHT, y_at(y)), _text(LEFT - 6, y_at(y) + 4, _short(y), "end")]
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_name, "middle"), _text(12, TOP - 10, y_name)]
    where = LEFT + 50.0
    for colour, line in zip(COLOURS, lines, strict=False):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in line.points)
        dashes = ' stroke-dasharray="4 4"' if line.ideal else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        if not line.ideal:
            parts += [f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3" fill="{colour}"/>' for x, y in line.points]
        parts.append(f'<rect x="{where:.1f}" y="{TOP - 19}" width="12" height="3" fill="{colour}"/>')
        parts.append(_text(where + 16, TOP - 13, line.name))
        where += 30 + 6.5 * len(line.name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _scale(least: float, most: float, start: float, end: float, logarithmic: bool):  # type: ignore[no-untyped-def]
    change = math.log if logarithmic else float
    low, high = change(least) if logarithmic else 0.0, change(most)
    if high == low:
        high = low + 1
    return lambda value: start + (change(value) - low) / (high - low) * (end - start)


def _ticks(least: float, most: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
        found = [m * 10.0**p for p in powers for m in (1, 2, 5) if least <= m * 10.0**p <= most]
        return found if len(found) >= 2 else [least, most]
    step = 10 ** math.floor(math.log10(most))
    if most / step < 3:
        step /= 2
    return [n * step for n in range(int(most / step) + 1)]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{RULE}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False) -> str:
    style = (' font-weight="600"' if bold else "") + (f' text-anchor="{anchor}"' if anchor != "start" else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(text)}</text>'
