"""The table of operations is the platform's routes, and the page is made from it."""

from __future__ import annotations

from pathlib import Path

from encord_agents.local import operations, remedies

PAGE = Path(__file__).parents[3] / "docs" / "local" / "operations.md"


def test_every_route_is_in_the_table() -> None:
    """And nothing that is no route."""
    assert operations.rows().keys() == operations.answered()


def test_the_page_is_the_table() -> None:
    """`python -m encord_agents.local.operations > docs/local/operations.md` makes it."""
    assert PAGE.read_text(encoding="utf-8") == operations.page()


def test_remedies() -> None:
    """What is not known is answered with a sentence, whatever it is."""
    assert "get_task_actions" in remedies.remedy("GET", "/v2/public/analytics/time-spent")
    assert "ffmpeg" in remedies.remedy("POST", "/v2/public/storage/items/reencode")
    assert remedies.remedy("GET", "/v2/public/nothing") == remedies.DEFAULT
    assert all(sentence.endswith((".", "page.")) for _, sentence in remedies.REMEDIES.values())
