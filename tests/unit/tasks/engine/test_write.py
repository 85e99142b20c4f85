"""Results on their way to the platform: what is written, in which order, and once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from encord.objects import LabelRowV2
from tests.stage_runs import stage_run, waiting

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.local import Fault as PlatformFault
from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase, Skipped
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

Settled = list[tuple[Result, Outcome]]


def labels(label_row: LabelRowV2) -> None: ...


def results_of(world: World, tasks: int, *, pathway: str | None = "complete") -> tuple[StageRun, list[Result]]:
    """The results of an agent that drew a box, set a priority, and named a pathway."""
    world.project.add_placeholders(tasks)
    run = stage_run(world, labels)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    results = []
    for context in contexts:
        assert context.row is not None
        world.mark(context.row)
        result = run.executor.judge(context, Attempt(TaskAgentReturnStruct(pathway, context.row, 0.5)))
        assert isinstance(result, Result)
        results.append(result)
    world.platform.journal.clear()
    return run, results


def test_labels_and_priorities_come_before_the_move(world: World) -> None:
    """One request of each kind, for all."""
    run, results = results_of(world, 2)
    settled: Settled = []
    run.writer().write(results, lambda *one: settled.append(one))
    assert world.requests() == ["save", "priorities", "actions"]
    assert [(result, type(outcome)) for result, outcome in settled] == [(result, Moved) for result in results]


def test_what_may_not_move_yet_is_written_once(world: World) -> None:
    """Another call moves it, and writes nothing again."""
    run, (result,) = results_of(world, 1)
    settled: Settled = []
    run.writer().write([result], lambda *one: settled.append(one), lambda: False)
    assert (settled, result.labels, result.prioritised) == ([], None, True)
    run.writer().write([result], lambda *one: settled.append(one))
    assert world.requests() == ["save", "priorities", "actions"]
    assert [type(outcome) for _, outcome in settled] == [Moved]


def test_without_a_pathway_the_result_is_written_and_the_task_stays(world: World) -> None:
    """It is held."""
    run, results = results_of(world, 1, pathway=None)
    settled: Settled = []
    run.writer().write(results, lambda *one: settled.append(one))
    assert world.requests() == ["save", "priorities"]
    assert settled == [(results[0], Held())]


def test_a_move_that_was_answered_is_never_sent_again(world: World) -> None:
    """An interrupt may have come before its outcome could be told."""
    run, (result,) = results_of(world, 1)
    run.writer().write([result], lambda *_: None)
    world.platform.journal.clear()
    settled: Settled = []
    run.writer().write([result], lambda *one: settled.append(one))
    assert world.requests() == []
    assert [type(outcome) for _, outcome in settled] == [Moved]


def test_a_refused_priority_keeps_a_task_where_it_is(world: World) -> None:
    """Its labels were accepted; that is no reason to move it."""
    run, (result,) = results_of(world, 1)
    world.platform.faults.add(PlatformFault("priorities", status=400))
    settled: Settled = []
    run.writer().write([result], lambda *one: settled.append(one))
    ((_, outcome),) = settled
    assert isinstance(outcome, Failed)
    assert (outcome.fault.phase, outcome.moved_to) == (Phase.SAVE, None)
    assert world.count("Pre-label") == 1


def test_a_failed_task_that_goes_down_a_pathway_has_failed(world: World) -> None:
    """Where it went is a part of its outcome."""
    run, (result,) = results_of(world, 1)
    fault = Fault(Phase.AGENT, LookupError("no"), 1)
    failed = Result(result.context, run.agent.pathways.find("review"), fault=fault)
    settled: Settled = []
    run.writer().write([failed], lambda *one: settled.append(one))
    assert world.requests() == ["actions"]
    assert settled == [(failed, Failed(fault, failed.pathway))]


def test_a_rehearsal_makes_no_request(world: World) -> None:
    """What the SDK would refuse is found all the same."""
    run, results = results_of(world, 2)
    row = results[1].context.row
    assert row is not None
    # As of a row that was listed without it.
    row._label_row_read_only_data = replace(row._label_row_read_only_data, workflow_graph_node=None)
    refused = run.writer().rehearse(results)
    assert world.requests() == []
    assert [fault.phase for fault in refused.values()] == [Phase.SAVE]
    assert set(refused) == {id(results[1])}


def test_where_tasks_have_arrived(world: World) -> None:
    """Each with the pathway that leads there; those that have not moved are not among them."""
    run, results = results_of(world, 2)
    first, second = (result.context.task for result in results)
    first.proceed(pathway_name="triage")
    assert run.writer().arrived([first, second]) == {first.uuid: run.agent.pathways.find("triage")}


@pytest.mark.parametrize(
    ("labels", "priority", "said"),
    [
        (True, 0.5, "; its labels and its priority were written"),
        (True, None, "; its labels were written"),
        (False, 0.5, "; its priority was written"),
        (False, None, ""),
    ],
)
def test_a_task_that_somebody_moves_last(world: World, labels: bool, priority: float | None, said: str) -> None:
    """It is skipped, and told what of it was written: nothing, if its agent only named a pathway."""
    run, (result,) = results_of(world, 1)
    if not labels:
        result.label_row = result.labels = None
    result.priority = priority
    settled: Settled = []

    def moves() -> bool:
        world.project.move(str(result.context.task.uuid), "Review")
        return True

    run.writer().write([result], lambda *one: settled.append(one), moves)
    ((_, outcome),) = settled
    assert outcome == Skipped(f"the task left the stage before it could be moved{said}")
