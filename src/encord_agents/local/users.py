"""The people of the platform: their keys, and their roles in projects."""

from __future__ import annotations

OWNER = "local@encord-agents.invalid"
"""The user that every platform has, and that the key in its data directory belongs to."""
