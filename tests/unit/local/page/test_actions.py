"""The buttons of the page: which a stage has, what they do, and the sentence afterwards."""

from __future__ import annotations

import pytest
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.looking import row_of

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow
from encord_agents.local.page import actions
from encord_agents.local.page.pages import Pages
from encord_agents.local.workflow import ResolvedStage


def stage(project: LocalProject, title: str) -> ResolvedStage:
    return project._record.stages[project.stage(title).uuid]


def act(pages: Pages, project: LocalProject, title: str, value: str, *numbers: int) -> str:
    """Press a button for some tasks of a stage."""
    uuids = [project.tasks()[number].uuid for number in numbers]
    return actions.act(pages.service, project._record, stage(project, title), value, uuids)


def stages(project: LocalProject) -> list[str]:
    found = [row_of(project, number)["stage"] for number in range(len(project.tasks()))]
    return [project._record.stages[uuid].title for uuid in found]


@pytest.mark.parametrize(
    ("title", "labels"),
    [
        ("Agent", [("review", "plain"), ("done", "plain")]),
        ("Annotate", [("Submit", "good")]),
        ("Review", [("Approve", "good"), ("Reject", "bad")]),
        ("Done", []),
    ],
)
def test_the_buttons_of_a_stage(project: LocalProject, title: str, labels: list[tuple[str, str]]) -> None:
    """They are its pathways, or what people do there; any other stage is a destination."""
    assert [(one.label, one.tone) for one in actions.offered(stage(project, title))] == labels
    others = [other.title for other in actions.destinations(project._record, stage(project, title))]
    assert sorted([*others, title]) == ["Agent", "Annotate", "Done", "Review"]


@pytest.mark.parametrize(
    ("title", "value", "sentence", "destination"),
    [
        ("Annotate", "submit", "1 task submitted to Review.", "Review"),
        ("Review", "approve", "1 task approved to Done.", "Done"),
        ("Review", "reject", "1 task rejected to Annotate.", "Annotate"),
    ],
)
def test_people(pages: Pages, project: LocalProject, title: str, value: str, sentence: str, destination: str) -> None:
    """A button says what it has done, and to which stage the task went."""
    project.move(project.tasks()[0].uuid, title)
    assert act(pages, project, title, value, 0) == sentence
    assert stages(project)[0] == destination


def test_each_pathway_is_a_button(pages: Pages, project: LocalProject) -> None:
    """It sends the tasks down that pathway, which is named."""
    review, done = actions.offered(stage(project, "Agent"))
    assert act(pages, project, "Agent", review.value, 0, 1) == "2 tasks sent down “review” to Review."
    assert act(pages, project, "Agent", done.value, 2) == "1 task sent down “done” to Done."
    assert stages(project) == ["Review", "Review", "Done"]


def test_moving_anywhere(pages: Pages, project: LocalProject) -> None:
    """Tasks are put into any stage, done ones too."""
    assert act(pages, project, "Agent", f"move:{project.stage('Done').uuid}", 0, 2) == "2 tasks moved to Done."
    assert act(pages, project, "Done", f"move:{project.stage('Agent').uuid}", 0) == "1 task moved to Agent."
    assert stages(project) == ["Agent", "Agent", "Done"]


def test_a_router_is_no_destination(platform: LocalPlatform, pages: Pages) -> None:
    """The sentence names no stage where a router sends each task its own way."""
    workflow = Workflow(
        [AgentStage("Agent", {"go": "Split"}), Stage("Split", "router", routes={"Done": 100}), Stage("Done", "done")]
    )
    project = platform.create_project(workflow=workflow)
    project.add_image("a.png")
    (button,) = actions.offered(stage(project, "Agent"))
    assert act(pages, project, "Agent", button.value, 0) == "1 task sent down “go”."
    assert stages(project) == ["Done"]


@pytest.mark.parametrize(
    ("title", "value"),
    [
        ("Agent", "submit"), ("Agent", f"pathway:{NOBODY}"), ("Agent", "pathway:"), ("Agent", f"move:{NOBODY}"),
        ("Agent", "move:"), ("Agent", "forget"), ("Agent", ""), ("Done", "approve"), ("Annotate", "reject"),
    ],
)  # fmt: skip
def test_what_is_no_button_there(pages: Pages, project: LocalProject, title: str, value: str) -> None:
    """It is refused, and no task moves."""
    if title != "Agent":
        project.move(project.tasks()[0].uuid, title)
    before = stages(project)
    with refused(403 if value.startswith("move:") else 400):
        act(pages, project, title, value, 0)
    assert stages(project) == before


@pytest.mark.parametrize("title", ["Agent", "Annotate"])
def test_a_task_that_has_left(pages: Pages, project: LocalProject, title: str) -> None:
    """None of the tasks moves if one is not in the stage any more; none chosen is refused, too."""
    project.move(project.tasks()[0].uuid, "Annotate")
    value, before = actions.offered(stage(project, title))[0].value, stages(project)
    for numbers in ((0, 1), ()):
        with refused(400):
            act(pages, project, title, value, *numbers)
    assert stages(project) == before


@pytest.mark.parametrize("keep", [True, False])
def test_starting_over(pages: Pages, project: LocalProject, keep: bool) -> None:
    """All tasks are at the start again, and the sentence says what became of the labels."""
    project.move(project.tasks()[1].uuid, "Done")
    told = actions.reset(pages.service, project._record, keep_labels=keep)
    assert told == f"3 tasks are at the start again; labels {'kept' if keep else 'forgotten'}."
    assert stages(project) == ["Agent"] * 3
