"""The page of runs: each client's numbers, and the stages that tasks left within a minute."""

from __future__ import annotations

import pytest
from tests.unit.local.page.conftest import NOW
from tests.unit.local.page.looking import attributes, html, request, text

from encord_agents.local import LocalProject
from encord_agents.local.history import Client, acting
from encord_agents.local.page import runs
from encord_agents.local.page.pages import Pages


def asked(
    pages: Pages, kind: str = "save", *, ago: float = 1.0, status: int = 200, items: int = 1, client: str = "a/1"
) -> None:
    """Note a request in the journal."""
    pages.journal.pulse.add(client, kind, status, items, NOW - ago, 0.01)


def live(pages: Pages) -> str:
    return html(runs.live(pages, request("/runs/live")))


def test_nobody_has_asked(pages: Pages) -> None:
    """The page says so, and its moving part is no page, and kept by no browser."""
    assert "Nobody has asked for anything yet" in text(runs.runs_page(pages, request("/runs")))
    answer = runs.live(pages, request("/runs/live"))
    assert "<html" not in html(answer)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("ago", "at_work"), [(0.0, True), (runs.AT_WORK - 0.1, True), (runs.AT_WORK + 0.1, False)])
def test_at_work(pages: Pages, ago: float, at_work: bool) -> None:
    """A client is at work until it has been silent for a while."""
    asked(pages, ago=ago)
    assert ("at work since" in live(pages)) == at_work
    assert ("at-work" in live(pages)) == at_work


def test_the_numbers_of_a_run(pages: Pages) -> None:
    """Saved rows are those of saves, moved tasks those of both requests that move, and refusals are told by status."""
    asked(pages, "save", items=7)
    asked(pages, "actions", items=20)
    asked(pages, "move", items=3)
    asked(pages, "tasks", items=100, status=503)
    asked(pages, "tasks", items=100, status=0)
    shown = text(live(pages))
    assert "Requests 5 Rows saved 7 Tasks moved 23 Refused 2" in shown
    assert "1 × closed, 1 × 503" in attributes(live(pages), "title")


def test_the_most_frequent_requests(pages: Pages) -> None:
    """Eight kinds are shown, the most frequent first."""
    for number in range(10):
        for _ in range(number + 1):
            asked(pages, f"kind{number}")
    shown = text(live(pages))
    assert [number for number in range(10) if f"kind{number} " in shown] == list(range(2, 10))
    assert shown.index("kind9") < shown.index("kind2")


def test_a_client_is_somebody(pages: Pages) -> None:
    """Each has a run, by its short name, with the whole one to be seen; one without a name is unnamed."""
    for client in ("encord-sdk-python/7 <x>", ""):
        asked(pages, client=client)
    assert {"Encord SDK 7", "unnamed"} <= set(attributes(live(pages), "aria-label"))
    assert "encord-sdk-python/7 <x>" in attributes(live(pages), "title")


@pytest.mark.parametrize(
    ("series", "path"),
    [
        ([0, 0, 0], "M0.0 46.0L150.0 46.0L300.0 46.0"),
        ([0, 5, 10], "M0.0 46.0L150.0 25.0L300.0 4.0"),
        ([1, 1], "M0.0 4.0L300.0 4.0"),
    ],
)
def test_a_curve(series: list[int], path: str) -> None:
    """It is as wide as the picture, its highest second at the top and none at the bottom."""
    assert runs._curve(series) == path


def test_tasks_a_minute(pages: Pages, project: LocalProject) -> None:
    """Each stage has the tasks that each client has sent out of it lately, most first."""
    tasks = [task.uuid for task in project.tasks()]
    with acting(Client("one")):
        project.move(tasks[0], "Done")
    with acting(Client("two")):
        project.move(tasks[1], "Done")
        project.move(tasks[2], "Review")
    assert "Agent Project two 2 Agent Project one 1" in text(live(pages))
    with project._database.write() as connection:
        connection.execute("UPDATE history SET at = at - 61")
    assert attributes(live(pages), "data-rate") == []
