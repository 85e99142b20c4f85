"""The changes of a project since its start."""

from __future__ import annotations

from tests.unit.local.rows import saved

from encord_agents.local import LocalProject, differing


def test_differences_since_the_start(project: LocalProject) -> None:
    """Of objects by their hashes, and of stages; dates do not count."""
    assert project.differences() == []
    saved(project)
    project.move(project.tasks()[1].uuid, "Done")
    labelled, moved = project.differences()
    assert (labelled.data_title, labelled.added, labelled.removed, labelled.changed) == ("a.png", 1, 0, 0)
    assert (moved.data_title, moved.origin, moved.stage, moved.moved) == ("b.png", "Agent", "Done", True)
    assert differing._lasting({"createdAt": 1, "value": 2}) == {"value": 2}
