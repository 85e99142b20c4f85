"""Lays out a workflow as a graph: stages in layers from left to right, pathways as curves between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from encord_agents.local.workflow import ResolvedStage

WIDTH, HEIGHT = 196, 84
"""The size of a stage's box."""
GAP_X, GAP_Y = 128, 36
MARGIN = 20
LABEL_HEIGHT = 22
_CHARACTER = 6.6
"""The width of a character in a pathway's label."""
LONGEST_LABEL = 15


@dataclass(frozen=True)
class Edge:
    """An edge from one stage to another, with the names of all pathways that take it."""

    origin: str
    destination: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Box:
    stage: ResolvedStage
    x: float
    y: float


@dataclass(frozen=True)
class Curve:
    """An edge as an SVG path, with its label; ``x`` and ``y`` are the label's centre."""

    edge: Edge
    path: str
    label: str
    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Graph:
    width: float
    height: float
    boxes: Sequence[Box]
    curves: Sequence[Curve]


def edges(stages: Sequence[ResolvedStage]) -> list[Edge]:
    """Return the edges between stages, in the order of stages and pathways."""
    found: dict[tuple[str, str], list[str]] = {}
    for stage in stages:
        for index, pathway in enumerate(stage.pathways):
            name = f"{stage.shares[index]:g} %" if index < len(stage.shares) else pathway.name
            found.setdefault((stage.uuid, pathway.to), []).append(name)
    return [Edge(origin, destination, tuple(names)) for (origin, destination), names in found.items()]


def layout(stages: Sequence[ResolvedStage], start: str, ways: Sequence[Edge]) -> Graph:
    """Place stages and edges.

    A stage is one layer after the last of the stages that lead to it; back edges do not count, and are drawn below.
    """
    forward = _forward([stage.uuid for stage in stages], start, ways)
    layers = _layers([stage.uuid for stage in stages], start, forward)
    columns = _columns(layers, forward)
    joined = _joined(forward, layers)
    _untangle(columns, joined)
    places, height = _places(columns, joined)
    boxes = [Box(stage, *places[stage.uuid]) for stage in stages]
    back = [edge for edge in ways if edge not in forward]
    curves = [_curve(edge, _through(edge, layers, places)) for edge in forward]
    bottom = height
    for index, edge in enumerate(back):
        bottom = height + 28 + 30 * index
        curves.append(_back(edge, places, bottom - MARGIN))
    if back:
        bottom += 12
    width = 2 * MARGIN + len(columns) * WIDTH + (len(columns) - 1) * GAP_X
    return Graph(width, bottom, boxes, curves)


def _forward(stages: Sequence[str], start: str, ways: Sequence[Edge]) -> list[Edge]:
    """Return the edges without the back edges that a depth-first search finds."""
    out: dict[str, list[Edge]] = {}
    for edge in ways:
        out.setdefault(edge.origin, []).append(edge)
    back: set[Edge] = set()
    done: set[str] = set()
    for root in (start, *stages):
        trail: list[str] = []
        waiting: list[tuple[str, bool]] = [(root, False)]
        while waiting:
            stage, leaving = waiting.pop()
            if leaving:
                trail.pop()
                done.add(stage)
                continue
            if stage in done or stage in trail:
                continue
            trail.append(stage)
            waiting.append((stage, True))
            for edge in out.get(stage, ()):
                if edge.destination in trail:
                    back.add(edge)
                else:
                    waiting.append((edge.destination, False))
    return [edge for edge in ways if edge not in back]


def _layers(stages: Sequence[str], start: str, forward: Sequence[Edge]) -> dict[str, int]:
    layer = dict.fromkeys(stages, 0)
    for _ in stages:  # the longest path has one step fewer
        for edge in forward:
            layer[edge.destination] = max(layer[edge.destination], layer[edge.origin] + 1)
    led_to = {edge.destination for edge in forward}
    last = max(layer.values(), default=0)
    for index, stage in enumerate(stages):
        if stage != start and stage not in led_to and not any(edge.origin == stage for edge in forward):
            layer[stage] = last if index else 0  # isolated: in the last layer, next to the final stages
    return layer


_Node = str | tuple[Edge, int]
"""A stage, or the place where a long edge passes through a layer."""


def _columns(layers: dict[str, int], forward: Sequence[Edge]) -> list[list[_Node]]:
    columns: list[list[_Node]] = [[] for _ in range(max(layers.values(), default=0) + 1)]
    for stage, layer in layers.items():
        columns[layer].append(stage)
    for edge in forward:
        for layer in range(layers[edge.origin] + 1, layers[edge.destination]):
            columns[layer].append((edge, layer))
    return columns


def _joined(forward: Sequence[Edge], layers: dict[str, int]) -> dict[_Node, list[_Node]]:
    joined: dict[_Node, list[_Node]] = {}
    for edge in forward:
        passing: list[_Node] = [(edge, layer) for layer in range(layers[edge.origin] + 1, layers[edge.destination])]
        chain: list[_Node] = [edge.origin, *passing, edge.destination]
        for one, other in itertools.pairwise(chain):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    return joined


def _untangle(columns: list[list[_Node]], joined: dict[_Node, list[_Node]]) -> None:
    """Order each column by the mean position of its nodes' neighbours, so that fewer edges cross."""
    for sweep in range(6):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            place = {node: index - len(nodes) / 2 for nodes in columns for index, node in enumerate(nodes)}
            middles = {
                node: sum(place[other] for other in joined[node]) / len(joined[node]) if node in joined else place[node]
                for node in column
            }
            column.sort(key=lambda node: middles[node])


def _places(
    columns: list[list[_Node]], joined: dict[_Node, list[_Node]]
) -> tuple[dict[_Node, tuple[float, float]], float]:
    """Place every node as level with its neighbours as the other nodes in its column allow."""
    middle: dict[_Node, float] = {}
    for column in columns:
        for index, node in enumerate(column):
            middle[node] = (index - (len(column) - 1) / 2) * (HEIGHT + GAP_Y)
    for sweep in range(12):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = [
                sum(middle[other] for other in joined[node]) / len(joined[node]) if node in joined else middle[node]
                for node in column
            ]
            middle |= zip(column, _spread(column, wanted), strict=True)
    top = min((middle[node] - _height(node) / 2 for node in middle), default=0.0)
    bottom = max((middle[node] + _height(node) / 2 for node in middle), default=0.0)
    places: dict[_Node, tuple[float, float]] = {}
    for index, column in enumerate(columns):
        for node in column:
            y = middle[node] - top + MARGIN
            x = MARGIN + index * (WIDTH + GAP_X)
            places[node] = (x, round(y - HEIGHT / 2 if isinstance(node, str) else y, 1))
    return places, round(bottom - top + 2 * MARGIN, 1)


def _spread(column: list[_Node], wanted: list[float]) -> list[float]:
    """Return the heights closest to the wanted ones at which the nodes of a column keep their order and distance."""
    # Neighbours that would overlap form a block, which moves to the mean of their wanted heights.
    blocks: list[tuple[list[int], float]] = []
    offsets: dict[int, float] = {}
    for index in range(len(column)):
        block, start = [index], wanted[index]
        offsets[index] = 0.0
        while blocks:
            before, start_before = blocks[-1]
            last = before[-1]
            gap = (_height(column[last]) + _height(column[block[0]])) / 2 + GAP_Y
            if start_before + offsets[last] + gap <= start + 1e-9:
                break
            blocks.pop()
            for member in block:
                offsets[member] += offsets[last] + gap
            block = before + block
            start = sum(wanted[member] - offsets[member] for member in block) / len(block)
        blocks.append((block, start))
    heights = [0.0] * len(column)
    for block, start in blocks:
        for member in block:
            heights[member] = start + offsets[member]
    return heights


def _height(node: _Node) -> float:
    return HEIGHT if isinstance(node, str) else 12


def _through(edge: Edge, layers: dict[str, int], places: dict[_Node, tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that an edge passes through: out of its stage, through the layers between, into the next."""
    x, y = places[edge.origin]
    points = [(x + WIDTH, y + HEIGHT / 2)]
    for layer in range(layers[edge.origin] + 1, layers[edge.destination]):
        x, y = places[(edge, layer)]
        points += [(x, y), (x + WIDTH, y)]
    x, y = places[edge.destination]
    return [*points, (x - 7, y + HEIGHT / 2)]  # room for the arrow's head


def _curve(edge: Edge, points: list[tuple[float, float]]) -> Curve:
    parts = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for step in range(len(points) - 1):
        (x, y), (to_x, to_y) = points[step], points[step + 1]
        if y == to_y:
            parts.append(f"L{to_x:g} {to_y:g}")
        else:
            bend = (to_x - x) / 2
            parts.append(f"C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}")
    (x, y), (to_x, to_y) = points[0], points[1]
    label = _label(edge)
    # The label is nearer to the end of a curve, where edges out of the same stage have parted.
    share = 0.5 if y == to_y else 0.62
    return Curve(edge, " ".join(parts), label, x + (to_x - x) * share, _at(y, to_y, share), _width(label))


def _at(y: float, to_y: float, share: float) -> float:
    """Return the height of a curve of `_curve` at a fraction of its width, approximated by a smoothstep."""
    return y + (to_y - y) * (share * share * (3 - 2 * share))


def _back(edge: Edge, places: dict[_Node, tuple[float, float]], y: float) -> Curve:
    x, top = places[edge.origin]
    to_x, to_top = places[edge.destination]
    start, end = x + WIDTH * 0.6, to_x + WIDTH * 0.4
    path = (
        f"M{start:g} {top + HEIGHT:g} C{start:g} {y:g} {start:g} {y:g} {start - 30:g} {y:g}"
        f" L{end + 30:g} {y:g} C{end:g} {y:g} {end:g} {y:g} {end:g} {to_top + HEIGHT + 7:g}"
    )
    if start - end < 80:  # the same stage, or one above the other
        path = f"M{start:g} {top + HEIGHT:g} C{start:g} {y + 20:g} {end:g} {y + 20:g} {end:g} {to_top + HEIGHT + 7:g}"
    label = _label(edge)
    return Curve(edge, path, label, (start + end) / 2, y, _width(label))


def _label(edge: Edge) -> str:
    text = " · ".join(edge.names)
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def _width(label: str) -> float:
    return round(len(label) * _CHARACTER + 16, 1) if label else 0.0
