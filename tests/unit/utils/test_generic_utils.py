"""Names of 0.2.10."""

from __future__ import annotations

from uuid import UUID

from encord_agents.utils.generic_utils import try_coerce_UUID


def test_a_uuid_or_none() -> None:
    """A uuid, or its text, is a uuid; anything else is none."""
    assert try_coerce_UUID(UUID(int=1)) == try_coerce_UUID(str(UUID(int=1))) == UUID(int=1)
    assert try_coerce_UUID(candidate_uuid="Pre-label") is None
