"""Requests that are sent once, and those that somebody hears of."""

from __future__ import annotations

import contextvars
import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from encord.http.constants import RequestsSettings
from encord.user_client import EncordUserClient

from encord_agents.core.sdk import once
from encord_agents.core.sdk.once import hear_of_others, hear_of_strangers, sending_once, sent_once


@pytest.fixture
def settings() -> RequestsSettings:
    """The settings of a client that obeys, as the SDK reads them just before it sends."""
    client = EncordUserClient.create_with_bearer_token("secret", domain="http://localhost")
    return sending_once(client).user_config.requests_settings


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    before = dict(once._strangers)
    yield
    assert once._strangers == before


def in_own_context(work: Callable[[], None]) -> None:
    contextvars.Context().run(work)


def test_inside_of_each_other(settings: RequestsSettings) -> None:
    """The inner block's end does not end the outer one, and an exception ends both."""
    with suppress(KeyError), sent_once():
        with sent_once():
            assert settings.max_retries == 0
        assert settings.max_retries == 0
        raise KeyError
    assert settings.max_retries == 3


def test_one_thread_only(settings: RequestsSettings) -> None:
    """Other threads send as ever meanwhile."""
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(settings.max_retries))
    with sent_once():
        thread.start()
        thread.join()
        assert settings.max_retries == 0
    assert seen == [3]


def test_others_are_heard_of(settings: RequestsSettings) -> None:
    """A request of user code is told to the function of its context, and none of the engine's own is."""
    heard: list[str] = []

    def work() -> None:
        hear_of_others(lambda: heard.append("mine") is None)
        assert settings.max_retries == 3
        with sent_once():
            assert settings.max_retries == 0
        assert heard == ["mine"]

    in_own_context(work)
    in_own_context(lambda: heard.append(str(settings.max_retries)))  # there, nobody asked
    assert heard == ["mine", "3"]


def test_strangers_are_heard_of(settings: RequestsSettings) -> None:
    """A request from a context without a function of its own is told to all who hear of strangers, until they stop."""
    heard: list[str] = []
    hear_of_strangers("a", lambda: heard.append("a"))
    hear_of_strangers("b", lambda: heard.append("first b"))
    hear_of_strangers("b", lambda: heard.append("b"))

    def acquainted() -> None:
        hear_of_others(lambda: heard.append("mine") is None)
        assert settings.connection_retries == 3

    in_own_context(lambda: heard.append(str(settings.connection_retries)))
    in_own_context(acquainted)
    hear_of_strangers("a", None)
    in_own_context(lambda: heard.append(str(settings.connection_retries)))
    hear_of_strangers("b", None)
    hear_of_strangers("b", None)
    in_own_context(lambda: heard.append(str(settings.connection_retries)))
    assert heard == ["a", "b", "3", "mine", "b", "3", "3"]


def test_a_hearer_may_leave_while_it_is_told(settings: RequestsSettings) -> None:
    """The others are told all the same."""
    heard: list[str] = []

    def leave() -> None:
        heard.append("a")
        hear_of_strangers("a", None)
        hear_of_strangers("c", lambda: heard.append("c"))

    hear_of_strangers("a", leave)
    hear_of_strangers("b", lambda: heard.append("b"))
    in_own_context(lambda: heard.append(str(settings.max_retries)))
    hear_of_strangers("b", None)
    hear_of_strangers("c", None)
    assert heard == ["a", "b", "3"]


def test_an_exception_of_the_hearer_stops_the_request(settings: RequestsSettings) -> None:
    """A request is not sent if what has to come before it failed."""

    def work() -> None:
        hear_of_others(lambda: 1 / 0)  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            settings.max_retries  # noqa: B018
        with sent_once():
            assert settings.max_retries == 0

    in_own_context(work)


@pytest.mark.parametrize(
    ("way", "hears"), [(copy.copy, True), (copy.deepcopy, True), (lambda it: pickle.loads(pickle.dumps(it)), False)]
)
def test_copies_go_their_own_way(
    settings: RequestsSettings, way: Callable[[RequestsSettings], RequestsSettings], hears: bool
) -> None:
    """A copy's values are its own. Requests through it are heard of; those through a pickle are not."""
    copied = way(settings)
    heard: list[int] = []
    copied.max_retries = 9
    hear_of_strangers("a", lambda: heard.append(0))
    in_own_context(lambda: heard.append(copied.max_retries))
    hear_of_strangers("a", None)
    assert heard == ([0, 9] if hears else [9])
    with sent_once():
        assert copied.max_retries == (0 if hears else 9)
    assert settings.max_retries == 3


def test_a_request_that_may_be_somebody_elses(settings: RequestsSettings) -> None:
    """A context may be kept for longer than its owner works: then all who hear of strangers are told, too."""
    heard: list[str] = []
    hear_of_strangers("a", lambda: heard.append("a"))

    def work() -> None:
        hear_of_others(lambda: heard.append("mine") is not None)
        assert settings.max_retries == 3

    in_own_context(work)
    hear_of_strangers("a", None)
    assert heard == ["mine", "a"]
