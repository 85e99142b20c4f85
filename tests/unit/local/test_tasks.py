"""Tasks of a stage: pages, filters, moves and routers, without HTTP."""

from __future__ import annotations

import pytest

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Stage, Workflow, tasks
from encord_agents.local.tasks import Paging, TaskFilter
from encord_agents.local.trouble import Refusal


def pages(project: LocalProject, wanted: TaskFilter | None = None, *, offset: bool = False) -> list[list[str]]:
    found, token = [], ""
    while True:
        paging = Paging(2, offset, token)
        stage = project.stage("Agent").uuid
        page = tasks.page(project._database, project._record, stage, wanted or TaskFilter(), paging)
        found.append([row["title"] for row in page.rows])
        if page.next_token is None:
            return found
        token = page.next_token


@pytest.mark.parametrize("offset", [False, True])
def test_pages(project: LocalProject, offset: bool) -> None:
    """The highest priority first, then the oldest; no task twice, none left out."""
    assert pages(project, offset=offset) == [["a.png", "b.png"], ["c.png"]]
    hashes = [task.data_hash for task in project.tasks()]
    tasks.set_priorities(project._database, project._record, [(hashes[2], 0.9), (hashes[0], 0.1)])
    assert pages(project, offset=offset) == [["c.png", "b.png"], ["a.png"]]


def test_a_keyset_token_survives_moves(project: LocalProject) -> None:
    """A page goes on after the last task that was seen, although that one has left."""
    record, stage = project._record, project.stage("Agent").uuid
    first = tasks.page(project._database, record, stage, TaskFilter(), Paging(2))
    for row in first.rows:
        project.move(row["uuid"], "Done")
    rest = tasks.page(project._database, record, stage, TaskFilter(), Paging(2, token=first.next_token or ""))
    assert [row["title"] for row in rest.rows] == ["c.png"]


@pytest.mark.parametrize("token", ["x", "-1", "1_", "1_x", "9" * 30, "0.5_1 OR 1", "\u0661_1"])
@pytest.mark.parametrize("offset", [False, True])
def test_a_token_of_somebody_else(project: LocalProject, token: str, offset: bool) -> None:
    """It is refused."""
    paging = Paging(2, offset, token)
    with pytest.raises(Refusal):
        tasks.page(project._database, project._record, project.stage("Agent").uuid, TaskFilter(), paging)


def test_filters(project: LocalProject) -> None:
    """Each leaves those that fit; an empty list fits none."""
    one = project.tasks()[1]
    dataset = project._record.dataset or ""
    for wanted, expected in (
        (TaskFilter(data_hashes=[one.data_hash]), ["b.png"]),
        (TaskFilter(data_hashes=[]), []),
        (TaskFilter(dataset_hashes=[dataset], title_contains="c."), ["c.png"]),
        (TaskFilter(dataset_hashes=["other"]), []),
        (TaskFilter(statuses=["ASSIGNED"]), []),
        (TaskFilter(assignees=["ann@example.com"]), []),
        (TaskFilter(statuses=["NEW"], title_contains="A."), []),
    ):
        assert [title for page in pages(project, wanted) for title in page] == expected


def test_moves_are_all_or_none(project: LocalProject) -> None:
    """If one task is not in the stage, or is there twice, nothing moves."""
    here, there = project.stage("Agent").uuid, project.stage("Done").uuid
    one, two, _ = project.tasks()
    for wrong in ([(one.uuid, there), ("other", there)], [(one.uuid, there), (one.uuid, there)]):
        with pytest.raises(Refusal):
            tasks.move(project._database, project._record, here, wrong)
    assert tasks.counts(project._database, project._record) == {here: 3}
    tasks.move(project._database, project._record, here, [(one.uuid, there), (two.uuid, there)])
    assert tasks.counts(project._database, project._record) == {here: 1, there: 2}
    assert project.reset() == 3
    assert tasks.counts(project._database, project._record) == {here: 3}


def test_a_router_keeps_its_percentages(platform: LocalPlatform) -> None:
    """Exactly, from the first task on; the router itself never holds one."""
    router = Stage("Router", "router", routes={"Review": 25, "Done": 75})
    workflow = Workflow(
        [AgentStage("Agent", {"on": "Router"}), router, Stage("Review", "review"), Stage("Done", "done")]
    )
    project = platform.create_project(workflow=workflow)
    project.add_placeholders(20)
    here, to = project.stage("Agent").uuid, next(iter(project._record.routers))
    for number, task in enumerate(project.tasks(), start=1):
        tasks.move(project._database, project._record, here, [(task.uuid, to)])
        assert abs(project.stage("Review").tasks - number / 4) < 1
    assert project.stage("Review").tasks == 5
