"""Runners collect agents and run them: in one process, or on an engine's workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encord_agents.tasks.runner.sequential_runner import Runner, SequentialRunner

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["QueueRunner", "Runner", "SequentialRunner"]


if not TYPE_CHECKING:  # otherwise checkers would accept any name

    def __getattr__(name: str) -> Any:
        # Imported on first access: see `encord_agents.tasks`.
        if name == "QueueRunner":
            from encord_agents.tasks.runner.queue_runner import QueueRunner

            return QueueRunner
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
