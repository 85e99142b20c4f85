"""The platform as an object: its options, its end, its projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from encord_agents.local import AgentStage, LocalPlatform, LocalPlatformError, Stage, Workflow

WORKFLOW = Workflow([AgentStage("A", {"go": "Done"}), Stage("Done", "done")])
NAN = float("nan")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("port", (-1, 65536, "8000", 1.0, True, None)),
        ("page_size", (0, -1, 2.5, "1", True, None)),
        ("page_tokens", ("x", None, 3, [])),
        ("latency", (-1, NAN, float("inf"), "1", None)),
        ("latency_per_item", (-0.1, None)),
        ("asset_latency", (-1, "1")),
        ("url_lifetime", ("1", NAN, None)),
        ("journal_body", (-1, None)),
    ],
)
def test_an_option_that_makes_no_sense(tmp_path: Path, option: str, values: tuple[Any, ...]) -> None:
    """It is named, with what it may be, before anything is made."""
    for value in values:
        with pytest.raises(LocalPlatformError, match=rf"^{option}: must be "):
            LocalPlatform(tmp_path / "data", **{option: value})
    assert not (tmp_path / "data").exists()


def test_a_setting_that_makes_no_sense() -> None:
    """Neither can it be given later; what may be given, is."""
    platform = LocalPlatform()
    for name, value in (("page_size", 0), ("latency", -1), ("page_tokens", "x"), ("body_limit", 0)):
        before = getattr(platform.settings, name)
        with pytest.raises(LocalPlatformError, match=name):
            setattr(platform.settings, name, value)
        assert getattr(platform.settings, name) == before
    platform.settings.asset_latency = None
    platform.settings.latency = 1
    platform.close()


def test_a_closed_platform_stays_closed() -> None:
    """Entering it again, and asking it for something, say so."""
    platform = LocalPlatform()
    with platform:
        project = platform.create_project(workflow=WORKFLOW)
    for again in (platform.start, platform.__enter__, platform.projects, project.add_image):
        with pytest.raises(LocalPlatformError, match="is closed"):
            again(*["a.png"] if again == project.add_image else [])
    platform.close()


def test_a_project_by_its_hash() -> None:
    """As text of any form, or as a UUID; also by a title that looks like one; others are an error that lists all."""
    platform = LocalPlatform()
    known = platform.create_project(title="Cats", workflow=WORKFLOW).project_hash
    for given in (known, known.upper(), f" {known}\n", known.replace("-", ""), UUID(known)):
        assert platform.project(given).project_hash == known
    like_a_hash = platform.create_project(title="deadbeef" * 4, workflow=WORKFLOW)
    assert platform.project("deadbeef" * 4).project_hash == like_a_hash.project_hash
    for other in ("words", "", UUID(int=0)):
        with pytest.raises(LocalPlatformError, match=f"(?s)There is no project {other}.*{known} .Cats."):
            platform.project(other)
    platform.close()
