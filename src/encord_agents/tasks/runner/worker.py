"""A batch in a worker of an executor: the stage's driver runs it; the runner is closed when the process exits."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Sequence
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from encord_agents.core.queues import SimpleQueue
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.driven import Feed
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.run_options import DrainOptions

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["runs_here", "serve"]

runs_here: dict[str, tuple[int, Stop, contextvars.Context]] = {}
"""The runs of this process, by name: the process's id, their stop, and their caller's context variables."""


def serve(
    function: QueueFunction, tasks: Sequence[messages.OnItsWay], options: DrainOptions, run: str, number: int
) -> list[Any] | None:
    """Run a stage's agent over a batch, in whichever thread or process the executor runs this.

    Args:
        run: The run's name.
        number: The batch's number.

    Returns:
        Messages like those of a worker process, in order; `Ended` is the last. ``None``: the run is ending. Without
        tasks, only whether this process can connect.
    """
    # Another process has no entry: no request to stop reaches it, and context variables cannot be pickled.
    home, stop, context = runs_here.get(run) or (None, Stop(), contextvars.Context())
    if stop.requested:
        return None
    if os.getpid() != home:  # a forked process inherits its parent's entry
        _close_at_exit(function.runner)
    said: list[Any] = []
    feed: Feed = SimpleQueue()
    feed.put(messages.Tasks(tasks))
    feed.put(None)
    ended = messages.Ended()
    try:
        if tasks:
            ended = context.copy().run(function.drive, feed, options, stop=stop, say=said.append)
        else:
            function.connect(stop)
    except Leaving:  # while it connected: nothing was begun
        pass
    except Exception as error:  # noqa: BLE001 - a result like any other: it ends the run
        ended = messages.Ended(error=messages.Carried(error))
    return [*said, ended]


def _close_at_exit(runner: QueueRunner) -> None:
    # Not atexit, which forked processes of multiprocessing do not run; they have no documented alternative.
    if not _runners:
        Finalize(None, _close, exitpriority=100)
    if runner not in _runners:
        _runners.append(runner)


def _close() -> None:
    while _runners:
        _runners.pop().close()


_runners: list[QueueRunner] = []
"""Runners to close when this process ends."""
