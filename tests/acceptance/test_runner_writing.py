"""Labels before the move; refused bundles are split; nothing is done twice that was done once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from encord.exceptions import AuthenticationError, AuthorisationError
from encord.http import querier
from encord.objects import LabelRowV2
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentTask

from encord_agents.local import Fault
from encord_agents.tasks import Runner
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

WINDOWS = pytest.mark.parametrize("window", [1, 300])


def struct(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct("review", label_row, 0.5)


def all_moved_once(world: World, n: int) -> bool:
    moves = [world.project.moves(task.uuid) for task in world.project.tasks()]
    return moves == [1] * n and world.count("Review") == n


@WINDOWS
def test_a_task_moves_only_after_its_labels_were_accepted(world: World, window: int) -> None:
    """A task whose labels are refused is not moved, and its agent is not called again."""
    (data_hash,) = world.project.add_placeholders(1)
    world.project.refuse_row(data_hash)
    calls: list[int] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        calls.append(1)
        return struct(label_row)

    report = world.run(agent, task_batch_size=window)
    assert (report.failed, report.failures[0].phase, calls) == (1, "save", [1])
    assert world.requests("actions") == []
    assert world.count("Pre-label") == 1


def test_a_task_moves_only_after_its_priority_was_accepted(world: World) -> None:
    """So it is with a priority, even where the labels were accepted."""
    world.project.add_placeholders(3)
    bad = world.project.tasks()[1]
    world.platform.faults.add(Fault("priorities", times=None, status=400, contains=bad.data_hash))
    report = world.run(struct)
    assert (report.moved, report.failed) == (2, 1)
    assert report.failures[0].phase == "save"
    assert world.titles("Pre-label") == [bad.data_title]


def test_held_tasks_are_written_too(world: World) -> None:
    """With pathway None, labels and priority are written, and a refusal is a failure all the same."""
    hashes = world.project.add_placeholders(3)
    world.project.refuse_row(hashes[1])
    report = world.run(_hold)
    assert (report.held, report.failed) == (2, 1)
    assert [world.project.saves(h) for h in hashes] == [1, 0, 1]
    assert world.count("Pre-label") == 3


def _hold(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct(None, label_row, 0.5)


def refusal(kind: str, status: int, contains: str | None = None) -> Fault:
    """A request is refused, in the way of its protocol: label rows have their own, with the error inside a 200."""
    if kind in ("rows", "label_create", "save"):
        error = {401: "AUTHENTICATION_ERROR", 403: "AUTHORISATION_ERROR"}[status]
        return Fault(kind, times=None, action="envelope", status=status, error=error, contains=contains)
    return Fault(kind, times=None, status=status, contains=contains)


# Splitting


def test_one_refused_row_among_100_is_found_quickly(world: World) -> None:
    """By halves, not one by one."""
    world.numbers["gather"] = 60.0  # a busy machine would make more bundles, each of fewer rows
    hashes = world.project.add_placeholders(100)
    world.project.refuse_row(hashes[63])
    report = world.run(struct, task_batch_size=300)
    assert (report.moved, report.failed) == (99, 1)
    assert str(report.failures[0].data_hash) == hashes[63]
    assert world.platform.journal.count("save") <= 3 + 2 * 7
    assert [world.project.saves(h) for h in hashes] == [int(h != hashes[63]) for h in hashes]


def test_several_refused_rows(world: World) -> None:
    """All of them are found, and only they."""
    hashes = world.project.add_placeholders(60)
    bad = {hashes[0], hashes[1], hashes[30], hashes[59]}
    for data_hash in bad:
        world.project.refuse_row(data_hash)
    report = world.run(struct)
    assert {str(record.data_hash) for record in report.failures} == bad
    assert report.moved == 56


TELLS_TOO_LARGE = pytest.mark.skipif(
    not hasattr(querier, "PayloadTooLargeError"),
    reason="the older protocol of this SDK does not look at the status: a 413 is as good as no answer",
)


@TELLS_TOO_LARGE
def test_too_large_is_split_not_waited_for(world: World) -> None:
    """A 413 means less at once: every row is saved, and nothing fails."""
    hashes = world.project.add_placeholders(40)
    world.platform.settings.body_limit = 12_000
    report = world.run(struct)
    assert report.raise_for_failures().moved == 40
    assert [world.project.saves(h) for h in hashes] == [1] * 40
    assert any(entry.status == 413 for entry in world.platform.journal)


@TELLS_TOO_LARGE
def test_a_row_that_is_too_large_alone_fails_alone(world: World) -> None:
    """If even one row is too large, that task fails."""
    hashes = world.project.add_placeholders(10)
    world.platform.settings.body_limit = 8_000

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        for _ in range(40 if label_row.data_hash == hashes[4] else 0):
            world.mark(label_row)
        return struct(label_row)

    report = world.run(agent)
    assert (report.moved, report.failed) == (9, 1)
    assert (str(report.failures[0].data_hash), report.failures[0].phase) == (hashes[4], "save")


@pytest.mark.parametrize("kind", ["rows", "label_create", "items", "save", "priorities", "actions"])
def test_a_403_of_one_task_is_that_tasks(world: World, kind: str) -> None:
    """Wherever it comes from, read or write: the task fails alone."""
    world.project.add_placeholders(10)
    bad = world.project.tasks()[6]

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return struct(label_row)

    contains = bad.uuid if kind == "actions" else bad.data_hash
    if kind == "items":
        world.project.forbid_item(bad.data_hash)
    else:
        world.platform.faults.add(refusal(kind, 403, contains))
    report = world.run(agent, num_retries=0)
    assert (report.moved, report.failed) == (9, 1)
    assert report.failures[0].task_uuid.hex == bad.uuid.replace("-", "")
    expected = {"save": "save", "priorities": "save", "actions": "move"}.get(kind, "load")
    assert report.failures[0].phase == expected
    assert world.titles("Pre-label") == [bad.data_title]


@pytest.mark.parametrize(
    ("status", "error", "window"),
    [(401, AuthenticationError, 1), (401, AuthenticationError, 300), (403, AuthorisationError, 300)],
)
@pytest.mark.parametrize("kind", ["tasks", "rows", "label_create", "items", "save", "priorities", "actions"])
def test_everything_refused_is_a_set_up_error(
    world: World, kind: str, status: int, error: type[Exception], window: int
) -> None:
    """A 401, or a 403 for every row of a chunk: the SDK's own exception, with a note; nothing is moved."""
    world.project.add_placeholders(6)

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return struct(label_row)

    runner = world.agent(agent)
    world.platform.faults.add(refusal(kind, status))
    with pytest.raises(error) as caught:
        runner(progress="none", num_retries=0, task_batch_size=window)
    assert getattr(caught.value, "__notes__", []), "a note that says what to do"
    assert world.count("Pre-label") == 6
    assert runner.report is not None
    assert runner.report.moved == 0
    assert type(caught.value).__name__ in str(runner.report.stopped)


@pytest.mark.parametrize("kind", ["rows", "label_create", "items", "save", "priorities", "actions"])
def test_two_forbidden_neighbours_are_their_own_trouble(world: World, kind: str) -> None:
    """A chunk in which everything is forbidden ends no run in which the same was permitted before."""
    world.project.add_placeholders(20)
    tasks = world.project.tasks()

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return struct(label_row)

    # A window of 8 has chunks of two, and has moved tasks before it takes the twelfth.
    for bad in tasks[12:14]:
        if kind == "items":
            world.project.forbid_item(bad.data_hash)
        else:
            world.platform.faults.add(refusal(kind, 403, bad.uuid if kind == "actions" else bad.data_hash))
    report = world.run(agent, num_retries=0, task_batch_size=8)
    assert (report.moved, report.failed) == (18, 2)
    assert world.titles("Pre-label") == [bad.data_title for bad in tasks[12:14]]


# Others, and lost answers


@WINDOWS
def test_a_task_that_left_while_its_agent_ran_is_not_saved(world: World, window: int) -> None:
    """Seen in its stage too long ago, it is asked for again before its result is written: a person's labels stand."""
    world.numbers |= {"stale_after": 0.0}
    hashes = world.project.add_placeholders(5)
    gone = world.project.tasks()[2]

    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        if str(task.uuid) == gone.uuid:
            world.project.move(gone.uuid, "Done")
        return struct(label_row)

    report = world.run(agent, task_batch_size=window)
    assert (report.moved, report.skipped, report.failed, report.attempts) == (4, 1, 0, 5)
    assert [record.data_title for record in report.records if record.outcome == "skipped"] == [gone.data_title]
    assert [world.project.saves(h) for h in hashes] == [int(h != gone.data_hash) for h in hashes]
    assert world.titles("Done") == [gone.data_title]


def test_a_task_seen_lately_is_not_asked_for_again(world: World) -> None:
    """If no agent takes long, no request is made to ask again."""
    world.project.add_placeholders(5)
    world.run(struct)
    assert len(world.requests("tasks")) == 1


@WINDOWS
def test_a_task_that_someone_else_moved_is_skipped(world: World, window: int) -> None:
    """While the agent ran, a person moved one: it is Skipped, and the others are moved though refused with it."""
    world.project.add_placeholders(8)
    gone = world.project.tasks()[3]

    def agent(task: AgentTask) -> str:
        if str(task.uuid) == gone.uuid:
            world.project.move(gone.uuid, "Done")
        return "review"

    report = world.run(agent, task_batch_size=window)
    assert (report.moved, report.skipped, report.failed) == (7, 1, 0)
    assert [record.data_title for record in report.records if record.outcome == "skipped"] == [gone.data_title]
    assert world.titles("Done") == [gone.data_title]
    assert all(world.project.moves(task.uuid) == 1 for task in world.project.tasks())


@WINDOWS
@pytest.mark.parametrize("retries", [False, True])
def test_a_move_whose_answer_was_lost(world: World, window: int, retries: bool) -> None:
    """The task is gone from the stage: Moved, marked unconfirmed, and never sent twice."""
    world.project.add_placeholders(5)
    runner = Runner(world.project.project_hash, user_client=world.platform.client(retries=retries))
    runner.stage("Pre-label")(struct)
    world.platform.faults.add(Fault("actions", action="drop_after"))
    report = runner(progress="none", task_batch_size=window)
    assert (report.moved, report.failed, report.skipped) == (5, 0, 0)
    unconfirmed = [record for record in report.records if not record.confirmed]
    assert len(unconfirmed) == (1 if window == 1 else 5)
    assert all_moved_once(world, 5)


@WINDOWS
def test_a_move_that_never_arrived_is_sent_again(world: World, window: int) -> None:
    """The task is still in the stage, so it was not moved."""
    world.project.add_placeholders(5)
    world.platform.faults.add(Fault("actions", action="drop_before"))
    report = world.run(struct, task_batch_size=window)
    assert (report.moved, report.failed) == (5, 0)
    assert all(record.confirmed for record in report.records)
    assert all_moved_once(world, 5)


def test_a_lost_answer_and_someone_else(world: World) -> None:
    """A refusal after a lost answer: those that are gone were moved, by us, as far as anyone can tell."""
    world.project.add_placeholders(4)
    world.platform.faults.add(Fault("actions", action="drop_after"))
    world.platform.faults.add(Fault("tasks", skip=1, status=500))
    report = world.run(struct)
    assert report.moved == 4
    assert all_moved_once(world, 4)


@WINDOWS
@pytest.mark.parametrize("kind", ["save", "priorities"])
@pytest.mark.parametrize("action", ["drop_after", "drop_before"])
def test_a_save_whose_answer_was_lost_does_no_harm(world: World, window: int, kind: str, action: Any) -> None:
    """Saving again says the same."""
    hashes = world.project.add_placeholders(3)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row, 0.5)
        return struct(label_row)

    runner = world.agent(agent)
    world.platform.faults.add(Fault(kind, action=action))
    report = runner(progress="none", task_batch_size=window)
    assert report.raise_for_failures().moved == 3
    assert all(world.marks(h) == [0.5] and world.project.priority(h) == 0.5 for h in hashes)
    assert all_moved_once(world, 3)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, times=1),
        Fault(status=503, times=1),
        Fault(status=429, times=1),
        Fault(action="drop_before", times=1),
        Fault(action="drop_after", times=1),
    ],
    ids=lambda fault: f"{fault.action}-{fault.status}",
)
@pytest.mark.parametrize("kind", ["tasks", "rows", "label_create", "items", "save", "priorities", "actions"])
def test_one_hiccup_of_any_request_is_waited_out(world: World, kind: str, fault: Fault) -> None:
    """It costs no attempt and no task."""
    from dataclasses import replace

    world.project.add_placeholders(3)

    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return struct(label_row)

    runner = world.agent(agent)
    world.platform.faults.add(replace(fault, kind=kind))
    report = runner(progress="none", num_retries=0)
    assert (report.moved, report.attempts) == (3, 3)
    assert all_moved_once(world, 3)
    assert world.platform.faults.pending == []


def test_a_client_that_retries_by_itself(world: World) -> None:
    """With the SDK's own retries in the way, a lost answer is still neither a failure nor done twice."""
    world.project.add_placeholders(3)
    runner = Runner(world.project.project_hash, user_client=world.platform.client())
    runner.stage("Pre-label")(struct)
    for kind in ("save", "priorities", "actions"):
        world.platform.faults.add(Fault(kind, action="drop_after"))
    report = runner(progress="none")
    assert (report.moved, report.failed, report.skipped) == (3, 0, 0)
    assert all_moved_once(world, 3)
