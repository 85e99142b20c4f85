"""`encord-agents local submit|approve|reject|move|delete`: actions passed on, counted, and refused without effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from encord_agents.local import LocalPlatform, LocalProject, Stage, Workflow

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

WORKFLOW = Workflow([Stage("Annotate"), Stage("Done", "done")])


def where(project: LocalProject) -> dict[str, int]:
    """The stages with tasks."""
    return {stage.title: stage.tasks for stage in project.stages if stage.tasks}


@pytest.mark.parametrize(
    ("words", "expected", "said"),
    [
        (["submit", "Project", "Annotate"], ("submit", "Annotate", {"title": None}), "submitted"),
        (["approve", "Project", "Review"], ("approve", "Review", {"title": None}), "approved"),
        (
            ["reject", "Project", "Review", "--title", "a b"],
            ("reject", "Review", {"title": "a b"}),
            "rejected",
        ),
        (
            ["move", "Project", "Agent", "Done", "--title", ""],
            ("move", "Agent", {"title": "", "destination": "Done"}),
            "moved to Done",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
@pytest.mark.parametrize(("count", "tasks"), [(1, "1 task"), (12, "12 tasks")])
def test_actions(
    command: Command,
    project: LocalProject,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    expected: tuple[str, str, dict[str, Any]],
    said: str,
    count: int,
    tasks: str,
) -> None:
    """Reach the project with stage, destination and title as they are given, and say how many tasks it were."""
    calls = []

    def act(given: LocalProject, action: str, stage: str, **more: Any) -> int:
        calls.append((given.project_hash, action, stage, more))
        return count

    monkeypatch.setattr(LocalProject, "act", act)
    ran = command("local", *words)
    assert (ran.code, ran.out, ran.err) == (0, f"{tasks} {said}.\n", "")
    assert calls == [(project.project_hash, *expected)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["move", "Project", "Agent", "Nowhere"], "'Nowhere'"),
        (["move", "Project", "Nowhere", "Done"], "'Nowhere'"),
        (["move", "Project", "Agent", "Done", "--title", "zebra"], "no task whose title contains 'zebra'"),
        (["submit", "Project", "Agent"], "'Agent'"),
        (["reject", "Project", "Review"], "There is no task in the stage 'Review'."),
        (["submit", "nothing", "Annotate"], "There is no project nothing."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_actions_that_cannot_be(command: Command, project: LocalProject, words: list[str], said: str) -> None:
    """End in a message with exit code 2, and leave every task in its place."""
    ran = command("local", *words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Error: ")
    assert said in ran.err
    assert where(project) == {"Agent": 2}


def test_some_of_the_tasks(command: Command, project: LocalProject) -> None:
    """Move the tasks whose titles contain the text, and no others."""
    assert command("local", "move", "Project", "Agent", "Review", "--title", "00001").out == "1 task moved to Review.\n"
    assert [task.data_title for task in project.tasks("Review")] == ["image-00001.png"]
    assert where(project) == {"Agent": 1, "Review": 1}


def test_a_title_that_two_projects_have(command: Command, platform: LocalPlatform, project: LocalProject) -> None:
    """List both hashes instead of choosing a project, and act on neither."""
    other = platform.create_project(title="Project", workflow=WORKFLOW)
    for words in (["move", "Project", "Agent", "Done"], ["delete", "Project"]):
        ran = command("local", *words)
        assert ran.code == 2
        assert project.project_hash in ran.err
        assert other.project_hash in ran.err
    assert where(project) == {"Agent": 2}
    assert len(platform.projects()) == 2


def test_delete(command: Command, platform: LocalPlatform, project: LocalProject) -> None:
    """Delete the project that is named and no other; its title is shown on one line."""
    other = platform.create_project(title="Oth\x1b[2Jer\n", workflow=WORKFLOW)
    ran = command("local", "delete", other.project_hash)
    assert (ran.code, ran.out) == (0, "The project 'Oth\\x1b[2Jer\\n' is deleted.\n")
    assert [one.project_hash for one in platform.projects()] == [project.project_hash]
    again = command("local", "delete", other.project_hash)
    assert again.code == 2
    assert f"There is no project {other.project_hash}." in again.err


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["move", "Project", "Agent"], "DESTINATION"),
        (["submit", "Project"], "STAGE"),
        (["approve"], "PROJECT"),
        (["delete"], "PROJECT"),
    ],
)
def test_an_argument_that_is_missing(command: Command, project: LocalProject, words: list[str], missing: str) -> None:
    """Name the argument, and leave every task in its place."""
    ran = command("local", *words)
    assert ran.code == 2
    assert f"Missing argument '{missing}'" in ran.words
    assert where(project) == {"Agent": 2}


@pytest.mark.parametrize("name", ["submit", "approve", "reject", "move"])
def test_help(command: Command, name: str) -> None:
    """Name the arguments and the options."""
    ran = command("local", name, "--help")
    words = ["PROJECT", "STAGE", "--title", "--data", *(["DESTINATION"] if name == "move" else [])]
    assert ran.code == 0
    assert [word for word in words if word not in ran.out] == []
