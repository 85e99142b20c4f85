"""The pages of projects: the numbers on them, and which of them move."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.looking import attributes, for_project, html, request, text
from tests.unit.local.rows import saved

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Workflow
from encord_agents.local.history import Client, acting
from encord_agents.local.page import projects
from encord_agents.local.page.pages import Pages


def move(project: LocalProject, number: int, *stages: str) -> None:
    for stage in stages:
        project.move(project.tasks()[number].uuid, stage)


def live(pages: Pages, project: LocalProject, query: str = "") -> Any:
    return orjson.loads(projects.live(pages, for_project(project, query)).body)


def test_stages_are_counted(pages: Pages, project: LocalProject) -> None:
    """Each stage has the number of its tasks, also of none, and of the moves out of it within a minute, by whomever."""
    move(project, 0, "Review", "Done")
    with acting(Client("somebody else")):
        move(project, 1, "Done")
    found = projects.stages(pages, project._record)
    assert [(stage.title, stage.type, stage.tasks, stage.rate) for stage in found] == [
        ("Agent", "agent", 1, 2), ("Annotate", "annotation", 0, 0), ("Review", "review", 0, 1), ("Done", "done", 2, 0),
    ]  # fmt: skip
    with project._database.write() as connection:
        connection.execute("UPDATE history SET at = at - ?", (projects.LATELY + 1,))
    assert [stage.rate for stage in projects.stages(pages, project._record)] == [0, 0, 0, 0]


def test_the_numbers_that_move(pages: Pages, project: LocalProject) -> None:
    """They are those of the page, ready to be shown; the activity is sent to pages that show it."""
    move(project, 0, "Done")
    agent, done = (project.stage(title).uuid for title in ("Agent", "Done"))
    found = live(pages, project)
    values = found["values"]
    assert (values["total"], values["waiting"], values["done"], values["rate"]) == ("3", "2", "1", "1")
    assert (values[f"stage:{agent}"], values[f"rate:{agent}"]) == ("2", "1 / min")
    assert (values[f"stage:{done}"], values[f"rate:{done}"]) == ("1", "")
    assert found["parts"] == {}
    assert "a.png" in live(pages, project, "?activity")["parts"]["activity"]


def test_nobody_keeps_the_numbers_that_move(pages: Pages, project: LocalProject) -> None:
    """A browser asks for them each time."""
    assert projects.live(pages, for_project(project)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("handle", [projects.overview, projects.live])
def test_an_unknown_project(pages: Pages, project: LocalProject, handle: Any) -> None:
    """It is refused; a known one is found by its hash in either case."""
    with refused(404):
        handle(pages, request(project=NOBODY))
    assert handle(pages, request(project=project.project_hash.upper())).status_code == 200


def test_classes_are_counted(pages: Pages, project: LocalProject) -> None:
    """Each class has its tasks, its labels, and their share of the most frequent class's.

    A class that nobody has used is there, too; one that the ontology has no longer is behind the others.
    """
    saved(project, 0)
    saved(project, 1)
    with project._database.write() as connection:
        connection.execute(
            "INSERT INTO label_classes SELECT unit, branch, 'old', 8, NULL, NULL FROM label_classes LIMIT 1"
        )
    found = projects.class_counts(pages, project._record)
    assert [(one.label_class.name, one.rows, one.labels, one.share) for one in found] == [
        ("Person", 2, 2, 0.25), ("Scene", 0, 0, 0.0), ("old", 1, 8, 1.0),
    ]  # fmt: skip


def test_classes_of_another_project(platform: LocalPlatform, pages: Pages, project: LocalProject) -> None:
    """Its labels do not count here, and without labels no share is of anything."""
    saved(project)
    other = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    assert [(one.rows, one.share) for one in projects.class_counts(pages, other._record)] == [(0, 0.0), (0, 0.0)]


def test_the_first_page(platform: LocalPlatform, pages: Pages, project: LocalProject) -> None:
    """It has the latest project first, and of each project four pictures at most."""
    for title in ("d.png", "e.png"):
        project.add_image(title)
    move(project, 0, "Done")
    platform.create_project(title="Second <b>", workflow={"stages": [{"title": "A", "type": "agent"}]})
    answer = projects.all_projects(pages, request())
    assert html(answer).index("Second &lt;b&gt;") < html(answer).index(project.project_hash)
    assert len([address for address in attributes(answer, "(?:src|href)") if "/thumbnail" in address]) == 4


def test_a_project_with_its_workflow(pages: Pages, project: LocalProject) -> None:
    """Its page has a box for each stage, each pathway's name, and the numbers that move under their keys."""
    answer = projects.overview(pages, for_project(project))
    for stage in project.stages:
        assert stage.title in text(answer)
        assert f"stage:{stage.uuid}" in attributes(answer, "data-value")


def test_the_latest_events(pages: Pages, project: LocalProject) -> None:
    """The activity has twelve at most, latest first."""
    for _ in range(7):
        move(project, 0, "Review", "Agent")
    move(project, 1, "Done")
    activity = projects.activity(pages, project._record)
    assert activity.index("b.png") < activity.index("a.png")
    assert activity.count("<li>") == 12


def test_a_blank_title_can_be_clicked_on(pages: Pages, platform: LocalPlatform, project: LocalProject) -> None:
    """A project whose title has nothing to see is called untitled where it is linked to, and on its own page."""
    blank = platform.create_project(title="   ", workflow=Workflow([AgentStage("Agent", {})]))
    assert f'{blank.project_hash}">untitled</a>' in html(projects.all_projects(pages, request()))
    assert "<h1>untitled</h1>" in html(projects.overview(pages, for_project(blank)))
