"""A name that existing code imports from here."""

from __future__ import annotations

from encord_agents.core.data_lookup import DataLookup

__all__ = ["DataLookup"]
