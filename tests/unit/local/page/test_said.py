"""The words of people about a task: issues with their places in words, and reviews of labels that are there."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.unit.local.page.looking import row_of
from tests.unit.local.rows import saved

from encord_agents.local import LocalProject
from encord_agents.local.page import said
from encord_agents.local.page.pages import Pages


def issue(project: LocalProject, comment: str, at: float, **place: Any) -> None:
    """Keep an issue of the first task's file."""
    given = (f"{comment} {at}", project._record.id, project.tasks()[0].data_hash, orjson.dumps(place).decode())
    with project._database.write() as connection:
        connection.execute("INSERT INTO issues VALUES (?, ?, ?, ?, ?, '[\"odd\"]', 'a@b.c', ?)", (*given, comment, at))


def issues(pages: Pages, project: LocalProject, number: int = 0) -> list[said.Issue]:
    row = row_of(project, number)
    return said.issues(pages, project._record, row, pages.labels(row, pages.classes(project._record)))


@pytest.mark.parametrize(
    ("place", "about", "frame", "label"),
    [
        ({"type": "dataUnit"}, "", None, None),
        ({"type": "frame", "frameIndex": 7}, "frame 7", 7, None),
        ({"type": "frameCoordinate", "frameIndex": 1234.0, "x": 0.5, "y": 0.5}, "frame 1,234", 1234, None),
        ({"type": "frame", "frameIndex": -1}, "", None, None),
        ({"type": "frame", "frameIndex": 1e300}, "", None, None),
        ({"type": "frame", "frameIndex": "7"}, "", None, None),
        ({"type": "frameRange", "frameRanges": [[0, 4], [8, 8], "odd", [1]]}, "frames 0 to 4, 8 to 8", None, None),
        ({"type": "frameRange", "frameRanges": [[k, k] for k in range(11)]}, None, None, None),
        ({"type": "annotation", "annotationId": "o1", "frameIndex": 3}, "Person 1", 3, "o1"),
        ({"type": "annotation", "annotationId": "gone"}, "a label that is gone", None, "gone"),
    ],
)
def test_the_place_of_an_issue(
    pages: Pages, project: LocalProject, place: dict[str, Any], about: str | None, frame: int | None, label: str | None
) -> None:
    """It is a label by its name, frames by their numbers, or nothing for the whole file; long lists are cut."""
    saved(project)
    issue(project, "why?", 5.0, **place)
    (found,) = issues(pages, project)
    assert (found.comment, found.tags, found.author, found.at) == ("why?", ["odd"], "a@b.c", 5.0)
    assert (found.frame, found.label) == (frame, label)
    assert found.about == about if about is not None else found.about.count(" to ") == 10


def test_issues_in_order(pages: Pages, project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of this file, the latest first, so many at most."""
    for at in (1.0, 3.0, 2.0):
        issue(project, "why?", at, type="dataUnit")
    assert [found.at for found in issues(pages, project)] == [3.0, 2.0, 1.0]
    assert issues(pages, project, 1) == []
    monkeypatch.setattr(said, "MOST", 2)
    assert [found.at for found in issues(pages, project)] == [3.0, 2.0]


def test_reviews_that_say_something(pages: Pages, project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are judged or have a comment, and are of labels that are still there."""
    saved(project)
    row = row_of(project)

    def reviews(*given: tuple[str, str, str | None]) -> list[said.Review]:
        with project._database.write() as connection:
            connection.execute("DELETE FROM reviews")
            for number, (label, status, comment) in enumerate(given):
                values = (str(number), row["uuid"], "object", label, status, comment)
                connection.execute("INSERT INTO reviews VALUES (?, ?, ?, ?, ?, ?)", values)
        return said.reviews(pages, row, pages.labels(row, pages.classes(project._record)))

    assert reviews(("o1", "NEW", None), ("gone", "REJECTED", "no")) == []
    assert reviews(("o1", "REJECTED", None)) == [said.Review("Person 1", "o1", "rejected", "")]
    assert reviews(("o1", "NEW", "hm")) == [said.Review("Person 1", "o1", "new", "hm")]
    monkeypatch.setattr(said, "MOST", 1)
    assert len(reviews(("o1", "APPROVED", None), ("o1", "REJECTED", None))) == 1
