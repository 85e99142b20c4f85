"""Sessions that are used again: settings of the environment, proxies."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from encord_agents.core.sessions import new_session

URL = "https://storage.example/file"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *(name.lower() for name in PROXIES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def settings(session: requests.Session, verify: Any = True) -> Any:
    return session.merge_environment_settings(URL, {}, True, verify, None)


@pytest.mark.parametrize("trusts_environment", [True, False])
@pytest.mark.parametrize("verify", [True, None, False, "/own.pem"])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"REQUESTS_CA_BUNDLE": "/a.pem"},
        {"CURL_CA_BUNDLE": "/b.pem"},
        {"HTTPS_PROXY": "http://proxy:1", "REQUESTS_CA_BUNDLE": "/a.pem"},
        {"https_proxy": "http://proxy:1", "NO_PROXY": "storage.example"},
        {"ALL_PROXY": "http://proxy:1"},
    ],
    ids=lambda given: "+".join(given) or "nothing",
)
def test_settings_are_those_of_requests(
    environment: dict[str, str], verify: Any, trusts_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies and trust are what a plain session of `requests` has, whatever the environment and the caller say."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, plain = new_session(HTTPAdapter), requests.Session()
    ours.trust_env = plain.trust_env = trusts_environment
    assert settings(ours, verify) == settings(plain, verify)
    assert ours.trust_env is trusts_environment


def test_the_environment_is_not_searched_for_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no variable names a proxy, `requests` does not look for one, which takes it as long as all else it does."""

    def searched(*_: Any, **__: Any) -> Any:
        raise AssertionError("searched")

    monkeypatch.setattr(requests.sessions, "get_environ_proxies", searched)
    session = new_session(HTTPAdapter)
    settings(session)
    monkeypatch.setitem(os.environ, "HTTPS_PROXY", "http://proxy:1")
    with pytest.raises(AssertionError):
        settings(session)


@pytest.mark.parametrize("proxies", [{}, {"https": "http://own:1"}], ids=["none", "own"])
def test_settings_of_the_session(proxies: dict[str, str]) -> None:
    """A session's own settings count where the caller gives none."""
    ours, plain = new_session(HTTPAdapter), requests.Session()
    for session in (ours, plain):
        session.proxies.update(proxies)
        session.verify, session.cert, session.stream = "/own.pem", "/client.pem", True
    given: Any = (URL, {}, None, None, None)
    assert ours.merge_environment_settings(*given) == plain.merge_environment_settings(*given)


def test_a_method_that_a_program_has_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An organisation's own way to merge settings is taken, as by any session of `requests`."""
    monkeypatch.setattr(requests.Session, "merge_environment_settings", lambda *_: {"verify": "/ours.pem"})
    assert settings(new_session(HTTPAdapter)) == {"verify": "/ours.pem"}


def test_threads_share_a_session() -> None:
    """While one asks for its settings, the session is the same for all others."""
    session, seen = new_session(HTTPAdapter), []
    asked, answered = threading.Event(), threading.Event()

    class Slow(dict[str, Any]):
        def __iter__(self) -> Iterator[str]:
            asked.set()
            answered.wait(10)
            return super().__iter__()

        def items(self) -> Any:
            asked.set()
            answered.wait(10)
            return super().items()

    session.proxies = Slow()
    thread = threading.Thread(target=settings, args=(session,))
    thread.start()
    asked.wait(10)
    seen.append(session.trust_env)
    answered.set()
    thread.join()
    assert seen == [True]
