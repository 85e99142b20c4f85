"""Task agents: functions that serve the agent stages of a workflow."""

from encord_agents.core.dependencies import Depends
from encord_agents.tasks.engine.signals import stop_on_signals
from encord_agents.tasks.runner.queue_runner import QueueRunner
from encord_agents.tasks.runner.sequential_runner import Runner, SequentialRunner

__all__ = ["Depends", "QueueRunner", "Runner", "SequentialRunner", "stop_on_signals"]
