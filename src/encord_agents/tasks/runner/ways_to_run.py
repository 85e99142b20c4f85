"""Longer messages of a `QueueRunner`: without a project, when it is called, and about a stage's second function."""

from __future__ import annotations

import warnings

from encord_agents.exceptions import StageAlreadyAssignedError

__all__ = ["NO_PROJECT", "WAYS_TO_RUN", "warn_of_second"]

NO_PROJECT = """\
A QueueRunner needs its project from the start, because the processes that run its agents only import it:
  QueueRunner(project_hash="12345678-...")"""

WAYS_TO_RUN = """\
A QueueRunner is not run by calling it: an engine calls its functions. There are three ways.

1. On this machine, over several processes:
       runner.drain(workers=4)      # or, as a command line: runner.run()

2. On Celery, over several machines:
       from encord_agents.integrations.celery import register
       app = register(runner, Celery("agents", broker="redis://..."))

3. On an engine of your own: hand out the tasks, and have a worker call the function of their stage.
       for stage in runner.get_agent_stages():
           for task in stage.get_tasks():
               queue.put(task.model_dump_json())     # a worker calls the stage's function with it

To run everything in this process, one task after the other, use Runner in place of QueueRunner."""

SECOND = """\
{error}
As it is, {second}() can be called as a queue function too, and drain(), Celery and get_agent_stages() use {first}()."""


def warn_of_second(error: StageAlreadyAssignedError, second: str) -> None:
    """Warn that a stage has a second function: 0.2.10 allowed it, but it may be a mistake in the stage's title."""
    warnings.warn(SECOND.format(error=error, first=error.function, second=second), stacklevel=3)
