"""Async agents of a few tasks, all at once, in the caller's thread."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from encord_agents.exceptions import (
    NoRoomError,
)
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.event_loop import EventLoop, Going
from encord_agents.tasks.engine.execute import was_cancelled
from encord_agents.tasks.engine.outcome import Failed, Fault, Skipped
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import next_of

__all__ = ["await_together"]


def await_together(run: StageRun, contexts: Sequence[Context], loop: EventLoop, results: list[Result]) -> None:
    """The same for async agents, all at once; results are added in the order of the tasks.

    Where there is no room for all their files, those that got none wait for the others; where none got one, they take
    turns.
    """
    pending = list(contexts)
    most = len(pending)
    while pending and not run.stop.requested:
        if (left := run.quiet.wait(run.gate.clock())) > 0:
            run.wait_a_while(left)
            continue
        stale = [context for context in pending if run.is_stale(context)]
        if stale and not run.is_fresh(stale) and not stale[0].gone:
            return
        for context in [context for context in pending if context.gone]:
            pending.remove(context)
            run.finish(context, Skipped())
        going: list[tuple[Context, Going]] = []
        # Not `Future.result()`: an interrupt in there may leave a lock held that the loop waits for.
        ends: SimpleQueue[None] = SimpleQueue()
        heard, wait = 0, 0.0
        again: list[Context] = []
        lacking: list[Context] = []
        try:
            while pending and len(going) < most and (ticket := run.quiet.begin(run.gate.clock())) is not None:
                context = pending.pop(0)
                context.ticket = ticket
                run.start(context)
                going.append((context, loop.submit(run.executor.attempt_async(context))))
                going[-1][1].add_done_callback(lambda _, ends=ends: ends.put(None))  # type: ignore[misc]
            for context, future in going:
                while not future.done():
                    next_of(ends)
                heard += 1
                try:
                    verdict = run.judge(context, was_cancelled(context) if future.cancelled() else future.result())
                except NoRoomError as error:
                    lacking.append(context)
                    if not error.may_pass or len(going) == 1:
                        raise
                    continue
                if isinstance(verdict, Result):
                    results.append(verdict)
                    context.close()
                elif isinstance(verdict, Fault):
                    run.finish(context, Failed(verdict))
                else:
                    again.append(context)
                    wait = max(wait, verdict)
        except KeyboardInterrupt:
            run.stop.request("interrupt")  # a second one leaves at once
            raise
        finally:
            for context, _ in going[heard:]:
                run.listen(context, None)
            _end_all(run, [future for _, future in going], ends)
        if lacking and len(lacking) == len(going):
            most = 1
        if again:
            run.stop.wait(wait)
        pending = [context for context in (*lacking, *again) if run.reload(context)] + pending


def _end_all(run: StageRun, going: Sequence[Going], ends: SimpleQueue[None]) -> None:
    """Cancel the coroutines that still run, and wait for their clean-up as long as there is time to write.

    What they use is gone when the call returns: the files, and soon the run-scoped dependencies.

    Raises:
        KeyboardInterrupt: It was interrupted meanwhile; at once if that was not the first time.
    """
    interrupted = False
    until = run.gate.clock() + run.gate.timing.time_to_write
    while True:
        try:
            left = [future for future in going if not future.done()]
            for future in left:
                future.cancel()
            while not all(future.done() for future in left) and run.gate.clock() < until and not run.stop.leaving:
                with contextlib.suppress(Empty):
                    ends.get(timeout=run.gate.timing.tick)
            break
        except KeyboardInterrupt:
            if interrupted or run.stop.requested:
                run.stop.leave()
                raise
            interrupted = True
            run.stop.request("interrupt")
    if interrupted:
        raise KeyboardInterrupt
