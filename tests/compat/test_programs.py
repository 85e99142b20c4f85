"""Small programs for 0.2.10 do here what they did there, a few deliberate differences aside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.differences import BEHAVIOUR
from tests.compat.programs import PROGRAMS, RESULTS, result

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform

RECORDED: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))

OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "what the runner returns": ("report", {"out": ["RunReport"]}),
    "what follows a yield": ("yield", {"out": []}),
}
"""Program -> the difference of docs/migrating.md that it shows, and what is another result here."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_for_0_2_10(local_platform: LocalPlatform, name: str) -> None:
    """It ends as it did, says what it said, and leaves tasks, priorities and labels as it left them."""
    _, changes = OURS.get(name, ("", {}))
    assert result(local_platform, name) == RECORDED[name] | changes


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_difference_is_one_and_is_explained(name: str) -> None:
    """What differs is in docs/migrating.md, and does differ."""
    difference, changes = OURS[name]
    assert difference in BEHAVIOUR
    assert RECORDED[name] | changes != RECORDED[name]
