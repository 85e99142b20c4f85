"""The driver that does one thing after the other: load, attempt, write, in the caller's thread.

For queue functions, whose tasks are loaded and written together, and for a runner whose window is a single task.
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

    Async agents are awaited together, on ``loop``. Whatever ends it early, what is finished is written first.

    Returns:
        The number of tasks that were still in the stage, and so given to the agent.
    """
    with run.gate.optional(), run.stop.interruptible():  # a stop does not wait for tasks that are yet to be loaded
        contexts, left = run.load(tasks, polled_at)
    for task in left:
        run.skip(task)
    results: list[Result] = []
    interrupted = too_late = False

    try:
        attempt_all(run, contexts, loop, results)
        if not run.stop.requested:
            _write(run, results)
    except KeyboardInterrupt:
        interrupted = True
        run.stop.request("interrupt")
        raise
    except Leaving:
        too_late = True
        raise
    finally:
        # An interrupt, a set-up error or a stop: what was finished by then is written all the same.
        try:
            if results and not too_late:
                run.limit_writing()
                _write(run, results)
        except (Leaving, NoRoomError, OutageError, SetUpError):
            if not interrupted:  # else the interrupt goes on; what is not written is listed
                raise
        finally:
            run.leave(results)
            for context in contexts:
                context.close()
    return len(contexts)


def _write(run: StageRun, results: list[Result]) -> None:
    before = run.gate.grace
    if before is None:
        run.gate.grace = run.gate.timing.time_to_write  # for a stop that comes while this waits
    try:
        run.write(results, lambda result, outcome: run.finish(result.context, outcome), run.writer())
    finally:
        run.gate.grace = before


def run_one_by_one(run: StageRun) -> None:
    """A window of one: each task is written before the next is loaded, and there are no threads.

    Nothing reads the pages in the background here, so some are read between every two tasks.
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
            number = sys.maxsize  # another reading goes to its end before anything moves, and so is exact
        for waiting in backlog.take(1):
            moves, departures = run.moves, run.departures
            given = run_chunk(run, [waiting.task], polled_at=waiting.seen_at)
            backlog.release(waiting.task.uuid, left=run.departures > departures, unused=not given)
            if run.moves > moves:
                backlog.begin_move()
                backlog.end_move()
