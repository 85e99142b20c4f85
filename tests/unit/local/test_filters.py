"""Filters of lists: what each lets through, and that nothing is ignored."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encord_agents.local import filters
from encord_agents.local.trouble import Refusal


@pytest.mark.parametrize(
    ("value", "pattern", "matches"),
    [
        ("cat.png", "cat.png", True),
        ("cat.png", "CAT%", True),
        ("cat.png", "%.jpg", False),
        ("cat.png", "c_t.png", True),
        ("cat.png", "c__t.png", False),
        ("100%", "100%", True),
        ("a[1].png", "a[1].png", True),
        ("a1.png", "a[1].png", False),
        ("a*b", "a*b", True),
        ("axb", "a*b", False),
        ("a?", "a?", True),
        ("line\nbreak", "line%", True),
        ("", "%", True),
        ("", "_", False),
    ],
)
def test_like(value: str, pattern: str, matches: bool) -> None:
    """% is any text, _ one character, case does not matter, and nothing else is special."""
    assert filters.like(value, pattern) is matches


@given(value=st.text("ab%_*[", max_size=12), pattern=st.text("ab%_*[", max_size=8))
def test_like_is_that_of_a_regular_expression(value: str, pattern: str) -> None:
    """For any text and pattern."""
    parts = {"%": ".*", "_": "."}
    expected = re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), value, re.DOTALL)
    assert filters.like(value, pattern) is (expected is not None)


def test_like_is_not_slow() -> None:
    """However many stars a pattern has."""
    assert not filters.like("a" * 1000, "%a" * 300 + "b")
    with pytest.raises(Refusal):
        filters.like("a", "%" * 2000)


def test_what_is_not_known_is_refused() -> None:
    """In either case, and with its name; what may be there if it asks for nothing, may."""
    filters.only({"titleEq": ["x"], "title_like": ["y"]}, "things", "title_eq", "title_like")
    filters.only({"orgAccess": ["False"], "page_token": [""]}, "things", off=("org_access", "page_token"))
    for query in ({"titleEqual": ["x"]}, {"orgAccess": ["True"]}):
        with pytest.raises(Refusal) as caught:
            filters.only(query, "things", "title_eq", off=("org_access",))
        assert caught.value.status == 501
        assert next(iter(query)) in caught.value.message


def test_dates_and_flags() -> None:
    """A date without a zone is UTC's; what is neither true nor false, or no date, is refused."""
    assert filters.date("1970-01-01T00:01:00", "d") == 60
    assert filters.date("1970-01-01T01:00:00+01:00", "d") == 0
    assert filters.date(None, "d") is None
    assert filters.flag({"signUrls": ["True"]}, "sign_urls") is True
    assert filters.flag({}, "sign_urls") is None
    for wrong in (lambda: filters.date("soon", "d"), lambda: filters.flag({"x": ["yes"]}, "x")):
        with pytest.raises(Refusal):
            wrong()


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({}, True),
        ({"title_eq": "Cats"}, True),
        ({"title_eq": "cats"}, False),
        ({"title_like": "cat%"}, True),
        ({"desc_eq": "of cats"}, True),
        ({"description_like": "%dogs%"}, False),
        ({"created_before": "1970-01-01T00:00:11"}, True),
        ({"created_after": "1970-01-01T00:00:11"}, False),
        ({"edited_after": "1970-01-01T00:00:19"}, True),
        ({"edited_before": "1970-01-01T00:00:19", "title_eq": "Cats"}, False),
    ],
)
def test_a_listing(values: dict[str, str], allowed: bool) -> None:
    """All that is asked for must hold."""
    assert filters.Listing(values).allows("Cats", "of cats", 10, 20) is allowed
