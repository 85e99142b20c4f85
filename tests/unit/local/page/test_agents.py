"""Editor agents on the page: what is refused before one is called, and what becomes of its decision."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.asking import refused
from tests.unit.local.page.looking import for_task, request, row_of, text

from encord_agents.local import LocalProject, editor_agents
from encord_agents.local.page import actions, agents
from encord_agents.local.page.outcomes import CALLS_AT_ONCE
from encord_agents.local.page.pages import Pages

NOWHERE = "http://127.0.0.1:9/"


def test_added_and_removed(pages: Pages) -> None:
    """Each is said in words, and the outcome of an earlier address, or of an agent that is gone, is forgotten."""
    assert agents.add(pages, " Box it ", NOWHERE).startswith("Box it is registered")
    agents.try_out(pages, "Box it")
    assert pages.outcomes.of("tried Box it") is not None
    agents.add(pages, "Box it", f"{NOWHERE}other")
    assert pages.outcomes.of("tried Box it") is None
    agents.try_out(pages, "Box it")
    assert agents.remove(pages, "Box it") == "Box it is no longer registered."
    assert pages.outcomes.of("tried Box it") is None
    assert editor_agents.registered(pages.service) == []


@pytest.mark.parametrize(("name", "address"), [("", NOWHERE), ("a", "ftp://x"), ("a", "http://encord.com/"), ("a", "")])
def test_an_agent_that_cannot_be_added(pages: Pages, name: str, address: str) -> None:
    """It is refused, and not registered; one of another machine cannot be added here."""
    with refused(400):
        agents.add(pages, name, address)
    with refused(400):
        agents.remove(pages, name)
    with refused(404):
        agents.try_out(pages, name)
    assert editor_agents.registered(pages.service) == []


def test_the_page_of_agents(pages: Pages) -> None:
    """It lists them without the queries of their addresses, with the outcome of the last try."""
    agents.add(pages, "Box it", f"{NOWHERE}?secret=7")
    agents.try_out(pages, "Box it")
    shown = text(agents.agents_page(pages, request("/agents")))
    assert "Box it" in shown
    assert "secret" not in shown
    outcome = pages.outcomes.of("tried Box it")
    assert outcome is not None
    assert outcome.trouble
    assert outcome.trouble.split(".")[0] in shown


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"name": "other"}, 404), ({"frame": "1"}, 400), ({"frame": "-1"}, 400), ({"frame": ""}, 400),
        ({"frame": "²"}, 400), ({"frame": "9" * 10}, 400), ({"objects": [""]}, 400),
        ({"objects": ["x" * (agents.LONGEST_HASH + 1)]}, 400), ({"objects": ["x"] * (agents.MOST_OBJECTS + 1)}, 400),
    ],
)  # fmt: skip
def test_a_call_that_is_refused(pages: Pages, project: LocalProject, given: dict[str, Any], status: int) -> None:
    """An agent, a frame or objects that are not there: nobody is called, and the history has no call."""
    agents.add(pages, "Box it", NOWHERE)
    with refused(status):
        agents.call(pages, for_task(project), **{"name": "Box it", "frame": "0", "objects": [], **given})
    assert pages.outcomes.of(project.tasks()[0].uuid) is None
    with project._database.read() as connection:
        assert connection.execute("SELECT count(*) FROM history WHERE kind = 'call'").fetchone()[0] == 0


def test_a_call(pages: Pages, project: LocalProject) -> None:
    """Its outcome is kept for its task, and the history names the agent; a bound of calls at a time holds."""
    agents.add(pages, "Box it", NOWHERE)
    agents.call(pages, for_task(project), name="Box it", frame="0", objects=["o1"])
    outcome = pages.outcomes.of(project.tasks()[0].uuid)
    assert outcome is not None
    assert outcome.agent == "Box it"
    with project._database.read() as connection:
        (found,) = connection.execute("SELECT client FROM history WHERE kind = 'call'").fetchall()
    assert found["client"] == "Editor agent Box it"
    for _ in range(CALLS_AT_ONCE):
        pages.outcomes.__enter__()
    with refused(503):
        agents.call(pages, for_task(project), name="Box it", frame="0", objects=[])


def decide(pages: Pages, project: LocalProject, decision: str) -> str:
    return agents._decided(pages, project._record, row_of(project), decision)


@pytest.mark.parametrize("way", ["label", "value", "uuid"])
def test_a_decision(pages: Pages, project: LocalProject, way: str) -> None:
    """It names a pathway, by its name, its uuid or its button."""
    button = actions.offered(project._record.stages[project.stage("Agent").uuid])[1]
    decision = {"label": button.label, "value": button.value, "uuid": button.value.partition(":")[2]}[way]
    assert decide(pages, project, decision) == "1 task sent down “done” to Done."
    assert project.stage("Done").tasks == 1


@pytest.mark.parametrize("decision", ["other", "", "Done", "submit", "x" * 9_000])
def test_a_decision_that_is_no_way_out(pages: Pages, project: LocalProject, decision: str) -> None:
    """The task stays, and the ways that there are are named; a long decision is cut."""
    told = decide(pages, project, decision)
    assert f"“{decision[:256]}”, which is no way out of Agent (those are: “review”, “done”)" in told
    assert project.stage("Agent").tasks == 3


def test_a_decision_that_comes_late(pages: Pages, project: LocalProject) -> None:
    """A task that has left the stage meanwhile stays where it is; a stage without ways out has none."""
    before = row_of(project)
    project.move(before["uuid"], "Done")
    told = agents._decided(pages, project._record, before, "review")
    assert "the task has left the stage meanwhile" in told
    assert "(those are: none)" in decide(pages, project, "review")
    assert project.stage("Done").tasks == 1
