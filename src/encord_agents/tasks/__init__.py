"""Task agents: functions that serve the agent stages of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encord_agents.core.dependencies import Depends
from encord_agents.tasks.engine.signals import stop_on_signals
from encord_agents.tasks.runner.sequential_runner import Runner, SequentialRunner

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["Depends", "QueueRunner", "Runner", "SequentialRunner", "stop_on_signals"]


if not TYPE_CHECKING:  # otherwise checkers would accept any name

    def __getattr__(name: str) -> Any:
        # Imported on first access only: a `Runner` needs no worker processes, and starts sooner without their modules.
        if name == "QueueRunner":
            from encord_agents.tasks.runner.queue_runner import QueueRunner

            return QueueRunner
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
