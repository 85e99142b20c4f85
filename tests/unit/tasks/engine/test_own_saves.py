"""Agents' own saves: with the result, before the task waits, or at the end of the stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2
from tests.stage_runs import stage_run, waiting

from encord_agents.local import Fault as PlatformFault
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.events import TaskRef
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.stage_run import StageRun

if TYPE_CHECKING:
    from tests.conftest import World


def saved(world: World, *, dry_run: bool = False, tasks: int = 1) -> tuple[StageRun, list[Context]]:
    """Tasks whose agents have saved labels and a priority, in an attempt that is over."""
    world.project.add_placeholders(tasks)

    def agent(label_row: LabelRowV2) -> None: ...

    run = stage_run(world, agent, bundle_saves=True, dry_run=dry_run)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    for context in contexts:
        held = run.own_saves.begin(context)
        assert context.row is not None
        world.mark(context.row)
        context.row.save()
        context.row.set_priority(0.5)
        held.end()
    world.platform.journal.clear()
    return run, contexts


def fault(context: Context) -> Fault:
    return Fault(Phase.AGENT, LookupError(), context.attempts)


def test_a_result_takes_them_over(world: World) -> None:
    """Unless the agent returned something newer."""
    run, (context,) = saved(world)
    held = context.held
    assert held is not None
    result = run.own_saves.see_to(context, Result(context))
    assert isinstance(result, Result)
    assert (result.labels, result.priority) == (held.parcel("save"), 0.5)
    newer = run.own_saves.see_to(context, Result(context, priority=0.75))
    assert isinstance(newer, Result)
    assert newer.priority == 0.75


def test_they_are_released_with_the_outcome(world: World) -> None:
    """Not before: an interrupt may come before the result is kept."""
    run, (context,) = saved(world)
    run.own_saves.see_to(context, Result(context))
    assert context.held
    run.own_saves.finished(context)
    assert not context.held


def test_a_failed_task_has_them_written(world: World) -> None:
    """As they would have been without the option; a task that saved nothing simply fails."""
    run, (context,) = saved(world)
    last = fault(context)
    written = run.own_saves.finally_failed(context, last)
    assert isinstance(written, Result)
    assert (written.fault, written.priority) == (last, 0.5)
    assert context.held is not None
    context.held.let_go()
    assert run.own_saves.finally_failed(context, last) is last


def test_those_of_several_tasks_go_together(world: World) -> None:
    """One request of each kind."""
    run, contexts = saved(world, tasks=3)
    run.own_saves.send(contexts)
    assert world.requests() == ["save", "priorities"]
    assert not any(context.held for context in contexts)


@pytest.mark.parametrize("limits", [{"at_once": 2}, {"weight": 4000}])
def test_no_request_is_too_large(world: World, limits: dict[str, int]) -> None:
    """The saves of many tasks are split by their number and size, as results are."""
    world.numbers |= limits
    run, contexts = saved(world, tasks=5)
    run.own_saves.send(contexts)
    assert [entry.items for entry in world.platform.journal.of("save")] == [2, 2, 1]
    assert all(world.project.saves(str(context.task.data_hash)) == 1 for context in contexts)


def test_newer_saves_are_not_overwritten(world: World) -> None:
    """A save by a thread of an agent, while those of other tasks are sent, stays."""
    world.numbers["at_once"] = 1
    run, contexts = saved(world, tasks=2)
    row = contexts[1].row
    assert row is not None

    def save_again(request: Any, *arguments: Any, **options: Any) -> Any:
        for reply in each(request, *arguments, **options):
            yield reply
            if world.requests() == ["save"]:
                world.mark(row, 0.5)
                row.save()

    each, run.gate.each = run.gate.each, save_again  # type: ignore[method-assign]
    run.own_saves.send(contexts)
    assert world.marks(str(contexts[1].task.data_hash)) == [0.25, 0.5]
    assert world.requests("save") == ["save", "save"]


def test_a_refusal_is_the_tasks_fault(world: World) -> None:
    """Whatever its outcome would have been."""
    run, (context,) = saved(world)
    world.platform.faults.add(PlatformFault("save", action="envelope", status=400, error="CORRUPTED_LABEL_ERROR"))
    run.own_saves.send([context])
    refused = run.own_saves.see_to(context, Result(context))
    assert isinstance(refused, Fault)
    assert refused.phase is Phase.SAVE
    assert not context.held


def test_the_rest_is_sent_at_the_end(world: World) -> None:
    """Of attempts that were interrupted, and have no result."""
    run, _ = saved(world, tasks=2)
    unwritten: list[TaskRef] = []
    run.own_saves.send_rest(unwritten)
    assert world.requests() == ["save", "priorities"]
    assert unwritten == []


def test_what_was_refused_is_warned_of_on_a_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Titles and the platform's answers are cut, and forge no line of the log."""
    run, (context,) = saved(world)
    assert context.held is not None
    context.held.refused = RuntimeError("no\nERROR forged " + "<p>page</p>" * 50_000)
    run.own_saves.send_rest([])
    (said,) = (record.getMessage() for record in caplog.records)
    assert "RuntimeError: no ERROR forged <p>page" in said
    assert "\n" not in said
    assert len(said) < 3000


def test_what_could_not_be_sent_is_listed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Once, and with a warning."""
    run, (context,) = saved(world)
    run.stop.leave()
    unwritten: list[TaskRef] = []
    run.own_saves.send_rest(unwritten)
    run.own_saves.send_rest(unwritten)
    assert unwritten == [context.ref]
    assert "not written" in caplog.text


def test_a_dry_run_sends_nothing(world: World) -> None:
    """Neither before a retry nor at the end."""
    run, contexts = saved(world, dry_run=True)
    run.own_saves.send(contexts)
    run.own_saves.send_rest([])
    assert world.requests() == []
