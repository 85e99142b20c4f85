"""The page in the company of others: which requests it answers, and which forms are its own."""

from __future__ import annotations

import pytest
from tests.unit.local.asking import refused
from tests.unit.local.page.looking import request

from encord_agents.local.page import guard

OPENED = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("headers", "document", "file"),
    [
        ({}, True, True),
        ({"sec-fetch-site": "none", **OPENED}, True, True),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, True, True),
        ({"sec-fetch-site": "cross-site", **OPENED}, True, False),
        ({"sec-fetch-site": "same-site", **OPENED}, True, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, False, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "document"}, False, False),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, False, False),
        ({"sec-fetch-site": "cross-site"}, False, False),
        ({"sec-fetch-site": "something new", "sec-fetch-mode": "cors"}, False, False),
        ({"host": "evil.example"}, False, False),
        ({"origin": "http://evil.example", "sec-fetch-site": "none"}, False, False),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, False, False),
    ],
)
def test_requests_of_other_pages(headers: dict[str, str], document: bool, file: bool) -> None:
    """A link to a document may be followed from anywhere; nothing else of ours is for another origin's page."""
    asked = request(headers=headers)
    assert (guard.refusal(asked, document=True) is None) == document
    assert (guard.refusal(asked, document=False) is None) == file
    for is_document in (True, False):
        found = guard.refusal(asked, document=is_document)
        assert found is None or found.status == 403


@pytest.mark.parametrize(("method", "answered"), [("GET", True), ("HEAD", True), ("POST", False), ("PUT", False)])
def test_forms_of_other_pages(method: str, answered: bool) -> None:
    """A document that is opened from elsewhere is looked at only: a form that is sent there is refused."""
    asked = request(method=method, headers={"sec-fetch-site": "cross-site", **OPENED})
    assert (guard.refusal(asked, document=True) is None) == answered


def test_the_token() -> None:
    """It is the same for a data directory, another one for another, and does not tell its secret."""
    token = guard.token(b"secret")
    assert token == guard.token(b"secret") != guard.token(b"Secret")
    assert token.isalnum()
    assert b"secret".hex() not in token
    guard.check_token(b"secret", token)


@pytest.mark.parametrize("given", ["", "x", guard.token(b"other"), guard.token(b"secret")[:-1], "é\udcff"])
def test_a_form_that_is_not_ours(given: str) -> None:
    """It is refused, whatever is in place of the token."""
    with refused(403):
        guard.check_token(b"secret", given)


def test_nothing_but_our_own_runs() -> None:
    """The policy lets in nothing but what comes from here, and lets nobody put the page into a frame."""
    policy = dict(part.strip().split(" ", 1) for part in guard.HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert not any("unsafe" in allowed or "*" in allowed for allowed in policy.values())
