"""Whatever existing code may import from 0.2.10 is there, or left out on purpose with a reason.

That includes names that a module had imported itself: editors complete them, and public code has them from there.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from tests.compat.differences import NAMES_LEFT_OUT

RECORDED: dict[str, list[str]] = json.loads((Path(__file__).parent / "names.json").read_text(encoding="utf-8"))["names"]
NAMES = [
    (module, name)
    for module, names in RECORDED.items()
    for name in names
    if not {"*", name}.intersection(NAMES_LEFT_OUT.get(module, ((), ""))[0])
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_of_0_2_10(module: str, name: str) -> None:
    """The name is where it was."""
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", sorted(NAMES_LEFT_OUT))
def test_what_is_left_out_was_there(module: str) -> None:
    """The list of names that are left out lists names of 0.2.10 only."""
    assert set(NAMES_LEFT_OUT[module][0]) <= {"*", *RECORDED[module]}
