"""The layout of a workflow: from left to right, nothing on top of another, ways back below."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from encord_agents.local.page.graph import GAP_Y, HEIGHT, MARGIN, WIDTH, Graph, edges, layout
from encord_agents.local.workflow import Pathway, ResolvedStage


def drawn(ways: dict[str, list[str]], start: str = "a") -> Graph:
    stages = [
        ResolvedStage(name, name, "agent", tuple(Pathway(f"to {to}", to) for to in destinations))
        for name, destinations in ways.items()
    ]
    return layout(stages, start, edges(stages))


def columns(graph: Graph) -> dict[str, float]:
    return {box.stage.uuid: box.x for box in graph.boxes}


def test_a_stage_is_right_of_those_that_lead_to_it() -> None:
    """By the longest way, also where a shorter one leads there."""
    x = columns(drawn({"a": ["b", "c"], "b": ["c"], "c": []}))
    assert x["a"] < x["b"] < x["c"]


def test_ways_back_do_not_count() -> None:
    """A circle is laid out from its start; the way back passes below all stages."""
    graph = drawn({"a": ["b"], "b": ["a", "c"], "c": []})
    x = columns(graph)
    assert x["a"] < x["b"] < x["c"]
    (back,) = (curve for curve in graph.curves if curve.edge.destination == "a")
    assert back.y > max(box.y + HEIGHT for box in graph.boxes)


def test_pathways_to_one_stage_share_a_way() -> None:
    """Their names are together in its label, cut where they are long."""
    stages = [
        ResolvedStage(
            "a", "A", "agent", (Pathway("yes", "b"), Pathway("no", "b"), Pathway("perhaps another time", "c"))
        ),
        ResolvedStage("b", "B", "done"),
        ResolvedStage("c", "C", "done"),
    ]
    found = layout(stages, "a", edges(stages))
    assert [curve.label for curve in found.curves] == ["yes · no", "perhaps anothe…"]


def test_shares_of_routers_are_their_labels() -> None:
    """A router's ways are named by percentage."""
    router = ResolvedStage("a", "R", "router", (Pathway("1", "b"), Pathway("2", "c")), (20.0, 80.0))
    assert [edge.names for edge in edges([router])] == [("20 %",), ("80 %",)]


@given(st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=1, max_size=8))
def test_whatever_the_workflow(ways: list[list[int]]) -> None:
    """No two stages overlap, everything is on the canvas, and each way is drawn."""
    names = [chr(ord("a") + index) for index in range(len(ways))]
    graph = drawn({name: [names[to] for to in outs if to < len(names)] for name, outs in zip(names, ways, strict=True)})
    for one, other in itertools.combinations(graph.boxes, 2):
        assert one.x != other.x or abs(one.y - other.y) >= HEIGHT + GAP_Y - 0.2
    for box in graph.boxes:
        assert MARGIN - 0.2 <= box.x <= graph.width - WIDTH - MARGIN + 0.2
        assert MARGIN - 0.2 <= box.y <= graph.height - HEIGHT - MARGIN + 0.2
    assert len(graph.curves) == len({(c.edge.origin, c.edge.destination) for c in graph.curves})
