"""The results as a plot: an SVG by hand, so that nothing has to be installed for it."""

from __future__ import annotations

from xml.sax.saxutils import escape

from benchmarks.scenarios import Results, Row

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 190, 130, 12, 14, 56
OURS, PEER, INK, RULE = "#2563eb", "#b8c0cc", "#1f2937", "#e5e7eb"
NAMES = {
    "a": "task only",
    "b": "save() in the agent",
    "c": "struct",
    "d": "first frame",
    "w": "b, 8 workers",
}


def chart(results: Results) -> str:
    """Seconds of each pair as bars, on one scale for each agent time."""
    rows = [
        row
        for row in results.rows.values()
        if row.scenario.case.latency and not row.scenario.case.round_trip and row.scenario.key != "async"
    ]
    blocks: list[str] = []
    y = TOP
    for milliseconds in (0, 5):
        group = [row for row in rows if row.scenario.case.agent_seconds * 1000 == milliseconds]
        if not group:
            continue
        blocks.append(_text(12, y, f"{milliseconds} ms in the agent", bold=True))
        y += 14
        longest = max(max(row.ours.seconds, row.peer.seconds if row.peer else 0.0) for row in group)
        for row in group:
            blocks.append(_pair(row, y, (WIDTH - LEFT - RIGHT) / longest))
            y += 2 * BAR + GAP
        y += 18
    title = f"Seconds for {results.tasks:,} tasks; 30 ms for each request and 0.5 ms for each thing in it"
    legend = (
        _bar(LEFT, 28, 14, OURS) + _text(LEFT + 20, 38, "this library")
        + _bar(LEFT + 110, 28, 14, PEER) + _text(LEFT + 130, 38, "encord-agents 0.2.10")
    )  # fmt: skip
    axis = f'<line x1="{LEFT}" y1="{TOP}" x2="{LEFT}" y2="{y - 18}" stroke="{RULE}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{WIDTH}" height="{y}" fill="white"/>\n'
        + "\n".join([_text(12, 18, title, bold=True), legend, axis, *blocks])
        + "\n</svg>\n"
    )


def _pair(row: Row, y: float, scale: float) -> str:
    key = row.scenario.key
    label = f"({key[0]}) {NAMES[key[0]]}" if key[0] != "w" else NAMES["w"]
    ours = row.ours.seconds * scale
    note = f"{row.ours.seconds:.1f} s"
    if row.ratio:
        note += f" · {row.ratio:.1f} ×"
    parts = [
        _text(LEFT - 10, y + BAR + 4, label, end=True),
        _bar(LEFT, y, ours, OURS),
        _text(LEFT + ours + 6, y + BAR - 2, note, bold=True),
    ]
    if row.peer:
        theirs = row.peer.seconds * scale
        parts += [
            _bar(LEFT, y + BAR, theirs, PEER),
            _text(LEFT + theirs + 6, y + 2 * BAR - 2, f"{row.peer.seconds:.1f} s"),
        ]
    return "".join(parts)


def _bar(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR - 1}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, bold: bool = False, end: bool = False) -> str:
    style = (' font-weight="600"' if bold else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(text)}</text>'
