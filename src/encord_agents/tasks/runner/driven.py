"""A stage in a worker: a `Runner`'s driver, fed through a pipe or by an executor, sends its events to the parent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from encord.workflow.stages.agent import AgentTask

from encord_agents.core.dependencies.solve import Attempt
from encord_agents.core.queues import Empty, SimpleQueue
from encord_agents.core.sdk.tasks import task_of
from encord_agents.tasks.engine.backlog import Waiting
from encord_agents.tasks.engine.context import Agent, Context
from encord_agents.tasks.engine.events import Event, Events
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.outcome import Fault
from encord_agents.tasks.engine.overlap import Pipeline
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.connection import Connection
from encord_agents.tasks.runner.run_options import DrainOptions

__all__ = ["Feed", "drive"]

Say = Callable[[Any], None]
Feed = SimpleQueue[messages.Tasks | messages.HoldBack | None]


def drive(
    connection: Connection,
    agent: Agent,
    files: Path | None,
    feed: Feed,
    options: DrainOptions,
    *,
    stop: Stop,
    say: Say,
) -> messages.Ended:
    """Run a stage's agent over tasks as they arrive, until there are no more. Tasks that fail stay in their stage.

    Args:
        feed: The tasks; ``None`` after the last.
        stop: Ends the run after the task in flight; finished results are written.
        say: Sends a message to the parent: for every event, and at the end of every attempt.
    """
    gate = connection.gate(stop, max_outage=options.max_outage)

    def tell(event: Event) -> None:
        say(messages.told(event, agent.history, gate.clock()))

    run = connection.stage_run(
        agent,
        gate,
        Events([], record=tell),
        bundle_saves=options.bundle_saves,
        dry_run=options.dry_run,
        executor=partial(_TellingExecutor, say, contained=True),
        strict=False,  # only the parent sees the outcomes of all workers
        dead_letters=False,
        files=files,
        on_success=lambda context: say(messages.Succeeded(context.task.uuid, agent.history.has_named_a_pathway)),
    )
    loop = connection.loop if agent.plan.has_async else None
    # As many tasks as a worker may have, so that others are loaded and written while one batch is attempted.
    window = gate.limits.batches * options.batch_size
    error: BaseException | None = None
    try:
        Pipeline(run, window, options.batch_size if loop else 1, loop, _Fed(run, feed)).drive()
    except SetUpError as trouble:
        error = trouble.error
    except Leaving:
        pass
    # An interrupt too, which a terminal sends to the processes of a user's executor: what was done until then is told.
    except BaseException as trouble:  # noqa: BLE001 - it ends the run
        error = trouble
    finally:
        run.send_rest()
    return messages.Ended(
        tuple(run.unwritten),
        frozenset(run.unconfirmed),
        None if error is None else messages.Carried(error),
        agent.history.quiet.left(gate.clock()),
    )


class _Fed:
    """The parent's messages, as the feed of a `Pipeline`."""

    def __init__(self, run: StageRun, feed: Feed) -> None:
        self._run = run
        self._feed = feed

    def __call__(self, seconds: float) -> Sequence[Waiting] | None:
        try:
            given = self._feed.get(timeout=seconds)
        except Empty:
            return ()
        now = self._run.gate.clock()
        if given is None:
            return None
        if isinstance(given, messages.HoldBack):
            self._run.quiet.hold_back(given.seconds, now)
            return ()
        stage = self._run.agent.stage
        waiting = []
        for one in given.tasks:
            if (task := task_of(stage, one.task)) is not None:
                waiting.append(Waiting(task, now - one.age))
            else:  # the platform is asked about it, as about a task that was seen long ago
                waiting.append(Waiting(AgentTask.model_validate_json(one.task), -math.inf))
        return waiting


class _TellingExecutor(Executor):
    """Reports the end of each attempt, so that the parent knows which task was running when a worker died."""

    def __init__(self, say: Say, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._say = say

    def attempt(self, context: Context) -> Attempt | Fault:
        try:
            return super().attempt(context)
        finally:
            self._say(messages.AttemptEnded(context.task.uuid))

    async def attempt_async(self, context: Context) -> Attempt | Fault:
        try:
            return await super().attempt_async(context)
        finally:
            self._say(messages.AttemptEnded(context.task.uuid))
