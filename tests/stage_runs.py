"""One agent's turn over its stage, set up as a runner does it, for tests of the engine's parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encord_agents.tasks.engine.events import Event, Events
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.connection import Connection

if TYPE_CHECKING:
    from encord.workflow.stages.agent import AgentTask
    from tests.conftest import World


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def stage_run(
    world: World,
    function: Callable[..., Any],
    *,
    clock: Clock | None = None,
    events: list[Event] | None = None,
    bundle_saves: bool = False,
    num_retries: int = 0,
    files: Path | None = None,
    stage_options: dict[str, Any] | None = None,
    **options: Any,
) -> StageRun:
    """Return the turn of an agent over Pre-label.

    Args:
        events: A list to which all events are added.
        stage_options: Options of ``@runner.stage``.
        options: Fields of the `StageRun`.
    """
    runner = world.agent(function, **(stage_options or {}))
    project = runner._project_for(None)
    (agent,) = runner._bind_all(project, num_retries=num_retries)
    stop = Stop()
    clocks = {} if clock is None else {"clock": clock}
    gate = Gate(stop, timing=runner.timing, limits=runner.limits, **clocks)
    connection = Connection(runner, project, max_outage=1.0, stop=stop, bundle_saves=bundle_saves)
    told: list[Event] = [] if events is None else events
    return connection.stage_run(
        *(agent, gate, Events([], record=told.append)),
        bundle_saves=bundle_saves,
        files=files,
        jitter=lambda: 1.0,
        **options,
    )


def waiting(run: StageRun) -> list[AgentTask]:
    """The tasks that the platform shows in the run's stage."""
    return list(run.agent.stage.get_tasks())


def with_failure_pathway(run: StageRun, name: str) -> StageRun:
    """The same turn, of an agent that has a failure pathway."""
    return replace(run, agent=replace(run.agent, failure_pathway=run.agent.pathways.find(name)))
