"""The sequential driver: load, attempt, write, one after the other, in the caller's thread.

It serves queue functions, whose tasks are loaded and written together, and runners whose window is a single task.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from encord.workflow.stages.agent import AgentTask

from encord_agents.exceptions import NoRoomError, OutageError
from encord_agents.tasks.engine.chunk import attempt_all
from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.poll import StageReader
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Leaving

__all__ = ["run_chunk", "run_one_by_one"]


def run_chunk(
    run: StageRun,
    tasks: Sequence[AgentTask],
    *,
    polled_at: float,
    loop: EventLoop | None = None,
) -> int:
    """Load tasks together, run them one by one, write them together: all in the caller's thread.

    Async agents run concurrently, on ``loop``. If it ends early, finished results are written first, unless it is time
    to leave.

    Returns:
        The number of tasks that were still in the stage, and were therefore given to the agent.
    """
    with run.gate.optional(), run.stop.interruptible():  # a stop does not wait for loading
        contexts, left = run.load(tasks, polled_at)
    for task in left:
        run.skip(task)
    results: list[Result] = []
    interrupted = too_late = False

    try:
        attempt_all(run, contexts, loop, results)
        if not run.stop.requested:
            _write(run, results)
    except Leaving:
        too_late = True
        raise
    except (NoRoomError, OutageError, SetUpError):
        raise
    except BaseException as error:
        interrupted = True
        run.stop.interrupt(error)
        raise
    finally:
        # After an interrupt, a set-up error or a stop, results that are finished by then are still written.
        try:
            if results and not too_late:
                run.limit_writing()
                _write(run, results)
        except (Leaving, NoRoomError, OutageError, SetUpError):
            if not interrupted:  # otherwise the interrupt propagates; unwritten results are listed
                raise
        finally:
            run.leave(results)
            for context in contexts:
                context.close()
    return len(contexts)


def _write(run: StageRun, results: list[Result]) -> None:
    before = run.gate.grace
    if before is None:
        run.gate.grace = run.gate.timing.time_to_write  # so that a stop which comes during these writes limits them
    try:
        run.write(results, lambda result, outcome: run.finish(result.context, outcome), run.writer())
    finally:
        run.gate.grace = before


def run_one_by_one(run: StageRun) -> None:
    """Run a stage with a window of one: each task is written before the next is loaded, and there are no threads.

    No thread reads pages in the background here, so some are read between tasks.
    """
    try:
        _run_one_by_one(run)
    except Leaving:
        if not run.stop.requested:
            raise


def _run_one_by_one(run: StageRun) -> None:
    backlog = run.backlog
    reader = StageReader(run.agent.stage, run.gate, backlog, run.events)
    number = run.gate.limits.read_ahead
    while not run.stop.requested and not backlog.exhausted:
        if (backlog.reading and backlog.wants_more) or (backlog.must_be_read and not backlog.available):
            with run.gate.optional(), run.stop.interruptible():
                reader.read(number)
        if not backlog.reading:
            number = sys.maxsize  # later readings reach the last page before anything moves, so they are exact
        for waiting in backlog.take(1):
            moves, departures = run.moves, run.departures
            given = run_chunk(run, [waiting.task], polled_at=waiting.seen_at)
            backlog.release(waiting.task.uuid, left=run.departures > departures, unused=not given)
            if run.moves > moves:  # noted afterwards, since this thread has read no page in the meantime
                backlog.begin_move()
                backlog.end_move()
