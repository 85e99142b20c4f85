"""A name that existing code imports from here."""

from uuid import UUID

from encord_agents.tasks.engine.stage import as_uuid

__all__ = ["try_coerce_UUID"]


def try_coerce_UUID(candidate_uuid: str | UUID) -> UUID | None:  # noqa: N802  (the name of old)
    """Return the uuid that ``candidate_uuid`` is or spells, or ``None`` for other text."""
    return as_uuid(candidate_uuid)
