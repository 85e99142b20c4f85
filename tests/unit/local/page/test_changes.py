"""The page of changes: which tasks are on it, and how they are counted."""

from __future__ import annotations

import pytest
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.looking import for_project, request, row_of, text
from tests.unit.local.rows import saved

from encord_agents.local import LocalProject
from encord_agents.local.page import changes
from encord_agents.local.page.pages import Pages


def page(pages: Pages, project: LocalProject) -> str:
    return text(changes.changes_page(pages, for_project(project)))


def test_nothing_has_changed(pages: Pages, project: LocalProject) -> None:
    """The page of a new project says so; an unknown project is refused."""
    assert "Nothing has changed" in page(pages, project)
    with refused(404):
        changes.changes_page(pages, request(project=NOBODY))


def test_moves_and_labels_are_counted(pages: Pages, project: LocalProject) -> None:
    """A task that was moved and one that has labels differ, each with its numbers; the third is not there."""
    project.move(project.tasks()[1].uuid, "Done")
    saved(project, 0)
    shown = page(pages, project)
    assert "Tasks that differ 2 Moved 1 Labels added 1 Removed 0 Changed 0" in shown
    assert "Agent → Done" in shown
    assert [name in shown for name in ("a.png", "b.png", "c.png")] == [True, True, False]
    assert "Since the start, when there were no labels" in shown


def test_a_copy_is_held_against_its_original(pages: Pages, project: LocalProject) -> None:
    """A copied project's page says what it is held against."""
    row = row_of(project)
    with project._database.write() as connection:
        connection.execute(
            "INSERT INTO baselines VALUES (?, ?, ?, NULL)", (row["unit"], row["branch"], project.stage("Done").uuid)
        )
    shown = page(pages, project)
    assert "Since the project was copied" in shown
    assert "Done → Agent" in shown


def test_many_changes(pages: Pages, project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many tasks are shown, all are counted, and the rest is told."""
    monkeypatch.setattr(changes, "SHOWN", 1)
    for task in project.tasks():
        project.move(task.uuid, "Done")
    shown = page(pages, project)
    assert "Tasks that differ 3 Moved 3" in shown
    assert ("a.png" in shown, "b.png" in shown) == (True, False)
    assert "and 2 more tasks" in shown
