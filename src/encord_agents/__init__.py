"""Task agents for the Encord platform: Python functions that serve the stages of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encord_agents.core.data_model import FrameData

__all__ = ["FrameData", "__version__"]

__version__ = "0.3.0.dev0"


if not TYPE_CHECKING:  # otherwise checkers would accept any name

    def __getattr__(name: str) -> Any:
        # Imported lazily: it needs the SDK, and `encord-agents --help` should not wait for that.
        if name == "FrameData":
            from encord_agents.core.data_model import FrameData

            return FrameData
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
