"""The steps that all drivers take."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2
from tests.stage_runs import Clock, stage_run, waiting, with_failure_pathway

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.exceptions import CertificateError, NoRoomError, OutageError
from encord_agents.local import Fault as PlatformFault
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.events import AttemptFailed, Event, StageWarning, TaskFinished, TaskWouldWrite
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Phase
from encord_agents.tasks.engine.stage_run import StageRun

if TYPE_CHECKING:
    from tests.conftest import World


def loaded(world: World, tasks: int = 1, **options: Any) -> tuple[StageRun, list[Context]]:
    world.project.add_placeholders(tasks)
    run = stage_run(world, lambda: "complete", **options)
    contexts, left = run.load(waiting(run), run.gate.clock())
    assert left == []
    return run, contexts


def failed(error: BaseException) -> Attempt:
    return Attempt(None, "agent", error)


# Loading, and asking again


def test_tasks_polled_lately_are_not_asked_about(world: World) -> None:
    """The agent needs nothing of them, so loading them makes no request."""
    world.project.add_placeholders(2)
    run = stage_run(world, lambda: None)
    tasks = waiting(run)
    world.platform.journal.clear()
    contexts, left = run.load(tasks, run.gate.clock())
    assert (len(contexts), left, world.requests()) == (2, [], [])


def test_tasks_polled_a_while_ago_may_have_left(world: World) -> None:
    """They are asked about together; those that left are given back."""
    world.project.add_placeholders(2)
    clock = Clock()
    run = stage_run(world, lambda: None, clock=clock)
    tasks = waiting(run)
    tasks[1].proceed(pathway_name="review")
    polled_at = clock()
    clock.now += run.gate.timing.stale_after / 3
    contexts, left = run.load(tasks, polled_at)
    assert ([context.task.uuid for context in contexts], left) == ([tasks[0].uuid], [tasks[1]])
    assert contexts[0].seen_at == clock.now


def test_stale_tasks_are_asked_about_before_an_attempt(world: World) -> None:
    """Those that left are marked, and the others are fresh again."""
    clock = Clock()
    run, contexts = loaded(world, 2, clock=clock)
    contexts[0].task.proceed(pathway_name="review")
    clock.now += run.gate.timing.stale_after
    assert not run.is_fresh(contexts)
    assert (contexts[0].gone, contexts[1].gone) == (True, False)
    assert run.is_fresh(contexts[1:])
    assert not run.is_stale(contexts[1])


def test_a_task_that_the_platform_says_nothing_about_is_still_stale(world: World) -> None:
    """The next attempt fails, and before the one after it the platform is asked again."""
    clock = Clock()
    run, (context,) = loaded(world, clock=clock)
    clock.now += run.gate.timing.stale_after
    world.platform.faults.add(PlatformFault("tasks", status=403))
    assert run.is_fresh([context])
    assert context.trouble is not None
    assert run.is_stale(context)
    assert run.is_fresh([context])
    assert (context.trouble, run.is_stale(context)) == (None, False)


# After an attempt


def test_a_good_attempt(world: World) -> None:
    """Brings a result, with the pathway that the agent named."""
    run, (context,) = loaded(world)
    result = run.judge(context, run.executor.attempt(context))
    assert isinstance(result, Result)
    assert result.pathway is not None
    assert result.pathway.name == "complete"
    assert run.history.has_succeeded
    assert run.history.has_named_a_pathway


def test_a_failed_attempt_is_retried(world: World) -> None:
    """After a delay that the policy names, and then it is final."""
    events: list[Event] = []
    run, (context,) = loaded(world, num_retries=1, events=events)
    context.attempts = 1
    assert run.judge(context, failed(LookupError("a"))) == 0.0
    context.attempts = 2
    last = run.judge(context, failed(LookupError("b")))
    assert isinstance(last, Fault)
    assert [event.retry_in for event in events if isinstance(event, AttemptFailed)] == [0.0, None]


def test_the_first_error_is_told_with_the_last(world: World) -> None:
    """If it was another one."""
    events: list[Event] = []
    run, (context,) = loaded(world, num_retries=1, events=events)
    for number, error in enumerate((LookupError("a"), LookupError("b")), 1):
        context.attempts = number
        verdict = run.judge(context, failed(error))
    assert isinstance(verdict, Fault)
    run.finish(context, Failed(verdict))
    (finished,) = (event for event in events if isinstance(event, TaskFinished))
    assert isinstance(finished.outcome, Failed)
    assert finished.outcome.fault.first == "LookupError: a"


@pytest.mark.parametrize("succeeded", [False, True])
def test_a_task_that_failed_for_good_goes_down_the_failure_pathway(world: World, succeeded: bool) -> None:
    """Not before the agent's first success: until then, the agent may be to blame."""
    run, (context,) = loaded(world)
    run = with_failure_pathway(run, "review")
    context.attempts = 1
    if succeeded:
        run.history.succeed()
    verdict = run.judge(context, failed(LookupError()))
    assert isinstance(verdict, Result if succeeded else Fault)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OutageError(300.0, LookupError()), OutageError),
        (CertificateError("untrusted"), SetUpError),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_trouble_of_everybody_is_raised(
    world: World, error: Exception, raised: type[BaseException], wrapped: bool
) -> None:
    """It fails no task, also where it is in a group, as `asyncio.TaskGroup` raises one."""
    events: list[Event] = []
    run, (context,) = loaded(world, events=events)
    context.attempts = 1
    with pytest.raises(raised):
        run.judge(context, failed(ExceptionGroup("several", [error]) if wrapped else error))
    assert not any(isinstance(event, TaskFinished) for event in events)


def test_an_attempt_without_room_does_not_count(world: World) -> None:
    """It may be made again when there is some."""
    run, (context,) = loaded(world)
    context.attempts = 1
    with pytest.raises(NoRoomError):
        run.judge(context, failed(NoRoomError("There is no room", OSError("full"))))
    assert (context.attempts, context.postponed) == (0, True)


class BusyError(Exception):
    """As the clients of hosted models raise it."""

    status_code = 429

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = after


def refused(run: StageRun, context: Context, error: Exception) -> None:
    context.attempts += 1
    context.ticket = run.quiet.begin(run.gate.clock())
    run.judge(context, failed(error))


@pytest.mark.parametrize("after", [None, 30.0])
def test_a_long_hold_is_warned_of_once(world: World, after: float | None) -> None:
    """As an outage of more than ten seconds is: the wait that a service asks for, or a row of refusals."""
    events: list[Event] = []
    clock = Clock()
    run, contexts = loaded(world, 8, events=events, clock=clock, num_retries=20)
    run.quiet._jitter = lambda: 1.0
    warned = []
    for context in contexts:
        refused(run, context, BusyError("slow down\n" + "<p>page</p>" * 50_000, after))
        clock.now += run.quiet.left(clock.now)
        warned.append(sum(isinstance(event, StageWarning) for event in events))
    assert warned == ([1] * 8 if after else [0, 0, 0, 1, 1, 1, 1, 1])  # 1 + 2 + 4 + 8 seconds
    (told,) = (event for event in events if isinstance(event, StageWarning))
    assert "held back" in told.message
    assert "BusyError: slow down <p>page" in told.message
    assert len(told.message) < 3000


def test_a_short_hold_is_no_news(world: World) -> None:
    """Neither is one that a success ended, however many of them there are."""
    events: list[Event] = []
    clock = Clock()
    run, contexts = loaded(world, 8, events=events, clock=clock, num_retries=20)
    for context in contexts:
        refused(run, context, BusyError("slow down", 9.0))
        clock.now += 9.0
        run.quiet.end(run.quiet.begin(clock.now), well=True)
    assert not any(isinstance(event, StageWarning) for event in events)


def test_what_a_service_says_forges_no_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its answer is a part of one line of the log, controls no terminal, and is cut."""
    caplog.set_level(logging.INFO)
    run, (context,) = loaded(world, num_retries=1)
    refused(run, context, BusyError("busy\nERROR all labels were deleted\x1b[2J" + "<p>page</p>" * 50_000, 1.0))
    (said,) = (one.getMessage() for one in caplog.records if "too many calls" in one.getMessage())
    assert "BusyError: busy ERROR all labels were deleted\\x1b[2J<p>page" in said
    assert "\n" not in said
    assert len(said) < 3000


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_is_given_up_on_holds_nobody_back(world: World, wrapped: bool) -> None:
    """Also where it is in a group."""
    run, (context,) = loaded(world, num_retries=1, stage_options={"give_up_on": (BusyError,)})
    error: Exception = BusyError("slow down", 30.0)
    refused(run, context, ExceptionGroup("several", [error]) if wrapped else error)
    assert not run.quiet.is_kept


# The end of a task


@pytest.mark.parametrize("strict", [True, False])
def test_tasks_that_stay_are_remembered(world: World, strict: bool) -> None:
    """In later passes of a run they come last; queue functions have no order of their own."""
    run, contexts = loaded(world, 3, strict=strict)
    pathway = run.agent.pathways.find("complete")
    outcomes: list[Outcome] = [Held(), Moved(pathway), Failed(Fault(Phase.AGENT, LookupError(), 1))]
    for context, outcome in zip(contexts, outcomes, strict=True):
        run.finish(context, outcome)
    stay = {contexts[0].task.uuid, contexts[2].task.uuid}
    assert run.history.known == (stay if strict else set())
    assert run.moves == 1


def test_settled_results_leave_the_list(world: World) -> None:
    """An exception leaves the others in it, to be written or listed."""
    run, contexts = loaded(world, 3)
    results = [run.judge(context, run.executor.attempt(context)) for context in contexts]
    batch = [result for result in results if isinstance(result, Result)]

    def settle(result: Result, outcome: Outcome) -> None:
        if len(batch) == 2:
            raise KeyboardInterrupt
        run.finish(result.context, outcome)

    with pytest.raises(KeyboardInterrupt):
        run.write(batch, settle, run.writer())
    assert batch == results[1:]
    run.leave(batch)
    run.leave(batch)
    assert run.unwritten == [context.ref for context in contexts[1:]]
    assert run.unconfirmed == {context.task.uuid for context in contexts[1:]}  # they were moved, and it was not told


def test_a_dry_run_says_what_it_would_write(world: World) -> None:
    """And writes nothing."""
    events: list[Event] = []
    run, (context,) = loaded(world, events=events, dry_run=True)
    result = run.judge(context, run.executor.attempt(context))
    assert isinstance(result, Result)
    world.platform.journal.clear()
    run.write([result], lambda result, outcome: run.finish(result.context, outcome), run.writer())
    assert world.requests() == []
    (told,) = (event for event in events if isinstance(event, TaskWouldWrite))
    assert told.summary == "would move along 'complete'"


def test_a_changed_row_is_warned_of_once(world: World) -> None:
    """If a failed attempt has drawn on it."""
    world.project.add_placeholders(2)

    def agent(label_row: LabelRowV2) -> str:
        world.mark(label_row)
        raise LookupError

    events: list[Event] = []
    run = stage_run(world, agent, events=events, num_retries=1)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    for context in contexts:
        run.judge(context, run.executor.attempt(context))
        assert run.reload(context)
    assert [type(event).__name__ for event in events].count("StageWarning") == 1


def test_what_cannot_be_loaded_is_the_first_attempts_fault(world: World) -> None:
    """In phase load, and nothing is called."""
    world.project.add_placeholders(1)
    calls = []

    def agent(label_row: LabelRowV2) -> None:
        calls.append(label_row)

    run = stage_run(world, agent)
    tasks = waiting(run)
    world.platform.faults.add(
        PlatformFault("label_create", action="envelope", status=400, error="CORRUPTED_LABEL_ERROR")
    )
    (context,), _ = run.load(tasks, run.gate.clock())
    verdict = run.judge(context, run.executor.attempt(context))
    assert isinstance(verdict, Fault)
    assert (verdict.phase, calls) == (Phase.LOAD, [])
