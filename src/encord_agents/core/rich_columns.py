"""A name that existing code imports from here; it lives in `encord_agents.terminal.columns`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encord_agents.terminal.columns import TaskSpeedColumn

__all__ = ["TaskSpeedColumn"]


if not TYPE_CHECKING:  # otherwise checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name == "TaskSpeedColumn":
            from encord_agents.terminal.columns import TaskSpeedColumn

            return TaskSpeedColumn
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
