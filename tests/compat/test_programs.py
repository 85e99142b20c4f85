"""Small programs for 0.2.10 do here what they did there, a few deliberate differences aside."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.differences import BEHAVIOUR, OURS
from tests.compat.programs import ALL, RESULTS, SHAPED, result
from tests.compat.public import PUBLIC

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform

RECORDED: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))

HERE = [name for name in ALL if "cv2" not in SHAPED.get(name, ("", ""))[1] or importlib.util.find_spec("cv2")]
"""Those that this environment has the packages for; `nox -s compat` has them for all."""


@pytest.mark.parametrize("name", HERE)
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


def test_what_is_recorded_of_public_programs() -> None:
    """They ended well with 0.2.10, and a good dozen of them labelled something."""
    assert [name for name in PUBLIC if RECORDED[name]["ended"] != "ended"] == []
    labelled = [
        name
        for name, (shape, _) in PUBLIC.items()
        if shape != "labelled images"
        and any(row["objects"] or row["answers"] for row in RECORDED[name]["labels"].values())
    ]
    assert len(labelled) >= 12
