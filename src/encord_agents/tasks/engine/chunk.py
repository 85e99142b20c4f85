"""Attempts of a few tasks while the caller waits: one after the other, or all at once on an event loop."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import partial

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.core.queues import Empty, SimpleQueue
from encord_agents.exceptions import NoRoomError
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.event_loop import EventLoop, Going
from encord_agents.tasks.engine.execute import was_cancelled
from encord_agents.tasks.engine.outcome import Failed, Fault, Skipped
from encord_agents.tasks.engine.pace import Pace
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Leaving, next_of

__all__ = ["attempt_all"]


def attempt_all(run: StageRun, contexts: Sequence[Context], loop: EventLoop | None, results: list[Result]) -> None:
    """Attempt tasks until each has a result or an outcome, or the run is stopping.

    Without a loop, they are attempted in order, in this thread. On a loop, all run at once. If there is no room for all
    their files, tasks without room wait for the others; if none had room, they run one at a time.

    Args:
        results: The list to which results are appended, in the order of the tasks.
    """
    pending = list(contexts)
    most = len(pending) if loop is not None else 1
    seconds: float | None = None
    while pending and not run.stop.requested:
        if (left := run.quiet.wait(run.gate.clock())) > 0:
            run.stop.wait(left if math.isfinite(left) else run.gate.timing.tick)
            continue
        soon = most if loop is not None else Pace(len(contexts), seconds=seconds, timing=run.gate.timing).soon
        if any(run.is_stale(context) for context in pending[:most]):
            stale = [context for context in pending[:soon] if run.is_stale(context)]
            if not run.is_fresh(stale) and not stale[0].gone:
                return
            if gone := [context for context in stale if context.gone]:
                for context in gone:
                    pending.remove(context)
                    run.finish(context, Skipped())
                continue  # the tasks that take their places may be stale too
        begun: list[tuple[Context, Callable[[], Attempt | Fault]]] = []
        going: list[Going] = []
        # Not `Future.result()`: an interrupt inside it may leave a lock held that the loop waits for.
        bell: SimpleQueue[None] = SimpleQueue()
        heard, wait = 0, 0.0
        again: list[Context] = []
        lacking: list[Context] = []
        try:
            while pending and len(begun) < most and (ticket := run.quiet.begin(run.gate.clock())) is not None:
                context = pending.pop(0)
                context.ticket = ticket
                run.start(context)
                if loop is None:
                    begun.append((context, partial(run.executor.attempt, context)))
                    continue
                one = loop.submit(run.executor.attempt_async(context))
                going.append(one)
                begun.append((context, partial(_end_of, one, context, bell, run.gate.timing.tick)))
                one.add_done_callback(lambda _, bell=bell: bell.put(None))  # type: ignore[misc]
            for context, attempt in begun:
                ended = attempt()
                heard += 1
                try:
                    verdict = run.judge(context, ended)
                except NoRoomError as error:
                    lacking.append(context)
                    if not error.may_pass or len(begun) == 1:
                        raise
                    continue
                if isinstance(verdict, float):
                    again.append(context)
                    wait = max(wait, verdict)
                    continue
                seconds = context.seconds
                if isinstance(verdict, Result):
                    results.append(verdict)
                    context.close()  # its file makes room for others now: writing needs only the labels
                else:
                    run.finish(context, Failed(verdict))
        except BaseException as error:
            if not isinstance(error, Exception | Leaving):
                run.stop.interrupt(error)  # a second interrupt leaves at once
            raise
        finally:
            for context, _ in begun[heard:]:  # their tickets count as in flight until they are returned
                run.listen(context, None)
            _end_all(run, going, bell)
        if lacking and len(lacking) == len(begun):
            most = 1  # they took the room from one another
        if again and run.stop.wait(wait):
            return
        with run.stop.interruptible():
            pending = [context for context in (*lacking, *again) if run.reload(context)] + pending


def _end_of(going: Going, context: Context, bell: SimpleQueue[None], tick: float) -> Attempt | Fault:
    while not going.done():
        next_of(bell, tick)
    return was_cancelled(context) if going.cancelled() else going.result()


def _end_all(run: StageRun, going: Sequence[Going], bell: SimpleQueue[None]) -> None:
    """Cancel the coroutines that still run, and wait for their clean-up for up to `Timing.time_to_write`.

    They may use files that are gone when this returns, and run-scoped dependencies that are torn down soon after.

    Raises:
        BaseException: An interrupt came meanwhile; raised at once if it was not the first one.
    """
    interrupt: BaseException | None = None
    until = run.gate.clock() + run.gate.timing.time_to_write
    while True:
        try:
            left = [future for future in going if not future.done()]
            for future in left:
                future.cancel()
            while not all(future.done() for future in left) and run.gate.clock() < until and not run.stop.leaving:
                with contextlib.suppress(Empty):
                    bell.get(timeout=run.gate.timing.tick)
            break
        except BaseException as error:
            if interrupt is not None or run.stop.requested:
                run.stop.leave()
                raise
            interrupt = error
            run.stop.interrupt(error)
    if interrupt is not None:
        raise interrupt
