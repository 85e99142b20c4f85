"""Runners collect agents and run them: in one process, or on an engine's workers."""

from encord_agents.tasks.runner.queue_runner import QueueRunner
from encord_agents.tasks.runner.sequential_runner import Runner, SequentialRunner

__all__ = ["QueueRunner", "Runner", "SequentialRunner"]
