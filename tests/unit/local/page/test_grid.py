"""The grid of tasks: which tasks an address shows, and what can be done to them there."""

from __future__ import annotations

import pytest
from starlette.responses import Response
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.looking import attributes, for_project, request, text
from tests.unit.local.rows import saved

from encord_agents.local import LocalProject
from encord_agents.local.page import grid, listing
from encord_agents.local.page.pages import Pages


def page(pages: Pages, project: LocalProject, query: str = "") -> Response:
    return grid.tasks_page(pages, for_project(project, query))


def test_the_tasks_of_an_address(pages: Pages, project: LocalProject) -> None:
    """They are those of the stage and the filter in it, in its order; an unknown project is refused."""
    tasks = [task.uuid for task in project.tasks()]
    project.move(tasks[1], "Done")
    done = project.stage("Done").uuid
    for query, expected in (
        ("?order=oldest", tasks), ("?order=newest", tasks[::-1]), (f"?stage={done}", [tasks[1]]),
        ("?title=C.P", [tasks[2]]), ("?title=d.png", []), (f"?stage={NOBODY}", []),
    ):  # fmt: skip
        assert attributes(page(pages, project, query), "data-task") == expected
    with refused(404):
        grid.tasks_page(pages, request(project=NOBODY))


@pytest.mark.parametrize(
    ("title", "buttons"),
    [("Agent", ["review", "done", "Move"]), ("Review", ["Approve", "Reject", "Move"]), ("Done", ["Move"])],
)
def test_the_buttons_of_a_stage(pages: Pages, project: LocalProject, title: str, buttons: list[str]) -> None:
    """Tasks of one stage can be chosen, and sent on; those of all stages together cannot."""
    if title != "Agent":
        project.move(project.tasks()[0].uuid, title)
    shown = page(pages, project, f"?stage={project.stage(title).uuid}")
    assert len(attributes(shown, "data-task")) == shown.body.count(b'type="checkbox" name="task"') > 0  # type: ignore[union-attr]
    assert [button in text(shown) for button in buttons] == [True] * len(buttons)
    assert b'name="action"' not in bytes(page(pages, project).body)


def test_a_card(pages: Pages, project: LocalProject) -> None:
    """It says which labels a task has, and who did something to it last."""
    saved(project, 0)
    shown = text(page(pages, project, "?title=a.png"))
    assert "with 1 Person" in shown
    assert "Python on this machine, just now" in shown
    other = text(page(pages, project, "?title=b.png"))
    assert "without labels" in other
    assert "just now" not in other


def test_pages_lead_to_each_other(pages: Pages, project: LocalProject) -> None:
    """A page has links with the places where the next one begins and the one before it ends, in the same order."""
    project.add_placeholders(listing.PAGE)
    first = page(pages, project, "?order=oldest")
    assert len(attributes(first, "data-task")) == listing.PAGE
    following, *_ = [address for address in attributes(first, "href") if "after=" in address]
    second = page(pages, project, "?" + following.partition("?")[2])
    assert len(attributes(second, "data-task")) == 3
    back, *_ = [address for address in attributes(second, "href") if "before=" in address]
    again = page(pages, project, "?" + back.partition("?")[2])
    assert attributes(again, "data-task") == attributes(first, "data-task")
