"""A project as tests use it: what they may do to it, and what is refused with the choice."""

from __future__ import annotations

import pytest

from encord_agents.local import LocalPlatform, LocalPlatformError, LocalProject


def test_records(project: LocalProject) -> None:
    """Stages in order with their tasks, tasks oldest first, by title or uuid of the stage."""
    assert [(stage.title, stage.tasks) for stage in project.stages][:2] == [("Agent", 3), ("Annotate", 0)]
    one = project.tasks("Agent")[0]
    assert (one.data_title, one.stage_title, one.status, one.priority) == ("a.png", "Agent", "NEW", None)
    assert project.tasks(project.stage("Done").uuid) == []
    project.move(one.uuid, "Done")
    assert project.moves(one.uuid) == 1
    assert project.add_task(one.data_hash, "Review", branch="second") in [task.uuid for task in project.tasks("Review")]
    assert project.item_types() == ["image"] * 3


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: p.stage("Reveiw"), "No stage is called 'Reveiw'; there are 'Agent'"),
        (lambda p: p.move("x", "Done"), "no task x"),
        (lambda p: p.saves("x") or p.priority("x"), "no data unit x"),
        (lambda p: p.act("aprove", "Review"), "action: no action is called 'aprove'; .*did you mean 'approve'"),
        (lambda p: p.act("submit", "Annotate"), "There is no task in the stage 'Annotate'"),
        (lambda p: p.act("submit", "Agent"), "No such action on the agent stage"),
        (lambda p: p.break_asset(p.tasks()[0].data_hash, "broken"), "how: must be 'missing', 'corrupt'"),
        (lambda p: p.add_file("a", b"", item_type="picture", mime_type="x"), "no items of type 'picture'"),
    ],
)
def test_what_cannot_be(project: LocalProject, call: object, says: str) -> None:
    """It is an error for a person, with what there is."""
    with pytest.raises(LocalPlatformError, match=says):
        call(project)  # type: ignore[operator]


def test_people_act(project: LocalProject) -> None:
    """On all tasks of a stage, or those whose title has a text in it."""
    assert project.act("move", "Agent", destination="Annotate") == 3
    assert project.act("submit", "Annotate", title="b.") == 1
    assert project.act("approve", "Review") == 1
    assert [task.stage_title for task in project.tasks()] == ["Annotate", "Done", "Annotate"]
    assert project.reset() == 3


def test_a_project_that_is_gone(platform: LocalPlatform, project: LocalProject) -> None:
    """Whoever still has it is told so."""
    project.delete()
    assert platform.projects() == []
    with pytest.raises(LocalPlatformError, match="is gone"):
        project.tasks()
