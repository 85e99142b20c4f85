"""Names that existing code imports from here."""

from __future__ import annotations

from encord_agents.core.client import get_user_client
from encord_agents.core.settings import Settings
from encord_agents.editor.credentials import verify_auth
from encord_agents.exceptions import PrintableError

__all__ = ["PrintableError", "Settings", "get_user_client", "verify_auth"]
