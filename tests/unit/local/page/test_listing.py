"""Pages of tasks: every order and filter, forwards and backwards, at a cost that does not grow with the project."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow
from encord_agents.local.page import listing
from encord_agents.local.page.listing import ORDERS, Wanted

WORKFLOW = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])


@pytest.fixture
def project() -> Iterator[LocalProject]:
    platform = LocalPlatform()
    project = platform.create_project(workflow=WORKFLOW)
    project.add_placeholders(50, title="{index:02d}%_Cat.png")
    with project._database.write() as connection:
        connection.execute("UPDATE tasks SET priority = (id % 3) / 3.0, updated_at = id % 5")
        connection.execute(
            "INSERT INTO label_classes SELECT unit, branch, 'f', 1, 0.2, 0.2 + (id % 10) / 20.0 FROM tasks"
            " WHERE id % 2 = 0"
        )
    yield project
    platform.close()


def titles(project: LocalProject, wanted: Wanted, **where: str | None) -> list[str]:
    page = listing.page(project._database, project._record, wanted, size=7, **where)
    return [row["title"] for row in page.rows]


@pytest.mark.parametrize("order", ORDERS)
def test_pages_follow_each_other(project: LocalProject, order: str) -> None:
    """Forwards, each task is seen once and in order; backwards, the same pages in reverse."""
    wanted, database = Wanted(order=order), project._database
    pages = [listing.page(database, project._record, wanted, size=7)]
    while pages[-1].after is not None:
        pages.append(listing.page(database, project._record, wanted, after=pages[-1].after, size=7))
    forwards = [[row["uuid"] for row in page.rows] for page in pages]
    everything = [uuid for page in forwards for uuid in page]
    assert len(everything) == len(set(everything)) == 50
    keys = [row["key"] for page in pages for row in page.rows]
    assert keys == sorted(keys, reverse=ORDERS[order][1] == "DESC")
    page = pages[-1]
    for expected in reversed(forwards[:-1]):
        assert page.before is not None
        page = listing.page(database, project._record, wanted, before=page.before, size=7)
        assert [row["uuid"] for row in page.rows] == expected
    assert page.before is None
    for at, uuid in list(enumerate(everything))[::9]:
        before, after = listing.neighbours(database, project._record, wanted, uuid)
        assert (before and before["uuid"]) == (everything[at - 1] if at else None)
        assert (after and after["uuid"]) == (everything[at + 1] if at + 1 < 50 else None)


def test_filters(project: LocalProject) -> None:
    """Titles are found as they are written, in either case; classes by the confidence of one label."""
    assert titles(project, Wanted(title="09%_c")) == ["09%_Cat.png"]
    assert titles(project, Wanted(title="0_%")) == []
    assert len(titles(project, Wanted(label_class="f"))) == 7
    database, record = project._database, project._record
    assert listing.count(database, record, Wanted(label_class="f")) == 25
    assert listing.count(database, record, Wanted(label_class="none")) == 25
    assert listing.count(database, record, Wanted(label_class="f", least=0.55)) == 5
    assert listing.count(database, record, Wanted(most=0.1)) == 0
    assert listing.count(database, record, Wanted()) == 50
    assert listing.count(database, record, Wanted(stage=project.stage("B").uuid)) == 0


def test_queries_read_and_written() -> None:
    """A query that was written is read as the same; what makes no sense in one is left out."""
    wanted = Wanted("s", "a b&c", "f", 0.25, 1.0, "changed")
    query = dict(pair.split("=") for pair in wanted.query(after="1_2", frame="").lstrip("?").split("&"))
    assert query == {
        "stage": "s", "title": "a+b%26c", "class": "f", "least": "0.25", "most": "1", "order": "changed", "after": "1_2"
    }  # fmt: skip
    assert Wanted.of({"least": "x", "most": "2", "order": "backwards"}) == Wanted()
    assert Wanted().query() == ""


@pytest.mark.parametrize("wanted", [Wanted(order=order) for order in ("oldest", "newest")])
def test_the_cost_of_a_page_does_not_grow(project: LocalProject, wanted: Wanted) -> None:
    """The database takes the same steps for a page among 50 tasks and among 5,000, at the beginning and at the end."""

    def steps(after: str | None) -> int:
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        with project._database.read() as connection:
            connection.set_progress_handler(step, 10)
            listing.page(project._database, project._record, wanted, after=after)
            connection.set_progress_handler(None, 0)
        return count

    before = steps(None)
    project.add_placeholders(4_950)
    assert steps(None) < 1.5 * before + 20
    place = listing.place_of(project._database, project._record, project.tasks()[2_500].uuid, wanted.order)
    assert steps(place) < 1.5 * before + 20
