"""A stage's turn in a drain, a step at a time, over a pool that does nothing by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.events import Events, TaskFinished, TaskRef
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.outcome import Held
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.write import Writer
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.outcomes import Drain
from encord_agents.tasks.runner.run_options import DrainOptions
from encord_agents.tasks.runner.stage_drain import StageDrain

if TYPE_CHECKING:
    from tests.conftest import World

    from encord_agents.tasks.engine.context import Agent


class StagePlay:
    """The turn, after the stage was read.

    Args:
        tasks: How many wait in the stage; their titles are their numbers.
        function: Stands for the queue function.
        pool: Makes the pool, given the run's stop.
    """

    def __init__(
        self,
        world: World,
        runner: QueueRunner,
        tasks: int,
        options: DrainOptions,
        function: object,
        pool: Callable[[Stop], Any],
    ) -> None:
        for number in range(tasks):
            world.project.add_placeholders(1, title=str(number))
        runner.stage("Pre-label", failure_pathway="review")(lambda: "complete")
        project = world.client.get_project(world.project.project_hash)
        (self.agent,) = runner._bind_all(project)
        self.events: list[Any] = []
        self.stop = Stop()
        gate = Gate(self.stop)

        def writer(agent: Agent) -> Writer:
            return Writer(agent, project, world.client, gate)

        run = Drain(gate, self.stop, Events([], record=self.events.append), writer, options)
        self.pool = pool(self.stop)
        self.drain = StageDrain(run, self.agent, cast("Any", function), self.pool)
        self.drain._read(100)
        self.tasks = {task.data_title: task for task in self.agent.stage.get_tasks()}

    def ref(self, title: str) -> TaskRef:
        return self.agent.ref(self.tasks[title])

    def finished(
        self, title: str, outcome: Any = None, suspect: messages.Carried | None = None, seconds: float = 0.001
    ) -> messages.Told:
        return messages.Told(TaskFinished(self.ref(title), outcome or Held(), 1, seconds), suspect=suspect)

    @property
    def outcomes(self) -> dict[str, Any]:
        return {event.task.data_title: event.outcome for event in self.events if isinstance(event, TaskFinished)}
