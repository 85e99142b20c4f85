"""The page for those who come from 0.2.10 is what the table makes of it."""

from __future__ import annotations

from tests.compat.page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    """docs/migrating.md holds each difference with its reason: run ``python -m tests.compat.page``."""
    assert PAGE.read_text(encoding="utf-8") == page()
