"""A name that existing code imports from here."""

from encord_agents.tasks.engine.stage import as_uuid

__all__ = ["try_coerce_UUID"]

try_coerce_UUID = as_uuid  # noqa: N816  (the name of old)
