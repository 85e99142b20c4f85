"""The page: shows the platform's projects, tasks and labels in a browser, from the same process and database."""

from __future__ import annotations

from encord_agents.local.page.routing import routes

__all__ = ["routes"]
