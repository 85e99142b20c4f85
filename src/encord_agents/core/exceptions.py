"""A name that existing code imports from here."""

from __future__ import annotations

from encord_agents.exceptions import EncordEditorAgentException

__all__ = ["EncordEditorAgentException"]
