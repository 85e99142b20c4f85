"""Names that existing code imports from here; they live in `encord_agents.tasks.runner.base`."""

from encord_agents.tasks.runner.base import RegisteredAgent as RunnerAgent
from encord_agents.tasks.runner.base import RunnerBase

__all__ = ["RunnerAgent", "RunnerBase"]
