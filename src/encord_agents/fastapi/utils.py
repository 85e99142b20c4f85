"""A name that existing code imports from here."""

from __future__ import annotations

from encord_agents.editor.credentials import verify_auth

__all__ = ["verify_auth"]
