"""The classes of labels, kept next to them."""

from __future__ import annotations

from typing import Any

from tests.unit.local.rows import boxed, saved

from encord_agents.local import LocalProject, contents


def test_classes_are_kept_beside_labels(project: LocalProject) -> None:
    """Counted by feature, with the lowest and highest confidence; a save replaces them, a reset forgets them."""
    row = saved(project)
    assert contents.classes(boxed(row["data_hash"])) == {"pErs0nB1": (1, 0.5, 0.5)}
    saved(project, confidence=0.7)

    def kept() -> list[tuple[Any, ...]]:
        with project._database.read() as connection:
            return [tuple(row) for row in connection.execute("SELECT feature, n, low, high FROM label_classes")]

    assert kept() == [("pErs0nB1", 1, 0.7, 0.7)]
    project.reset()
    assert kept() == []
    assert project.label(row["data_hash"]) is None
