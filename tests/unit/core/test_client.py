"""The authenticated client."""

from __future__ import annotations

import copy
import dataclasses
import http.server
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
from encord.exceptions import EncordException, RequestException
from encord.http.constants import RequestsSettings
from encord.user_client import EncordUserClient

from encord_agents import __version__
from encord_agents.core.client import get_user_client
from encord_agents.core.sdk.once import sending_once, sent_once
from encord_agents.core.settings import Settings
from encord_agents.exceptions import CredentialsError
from encord_agents.local import LocalPlatform
from encord_agents.local.keys import new_key


class Unavailable(http.server.BaseHTTPRequestHandler):
    """Answers everything with 503, and remembers what it was asked."""

    headers_seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.headers_seen.append(dict(self.headers.items()))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def unavailable() -> Iterator[tuple[str, list[dict[str, str]]]]:
    Unavailable.headers_seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unavailable) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", Unavailable.headers_seen
        finally:
            server.shutdown()
            thread.join()


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch, local_platform: LocalPlatform) -> None:
    """Without arguments, the environment's key signs in at the environment's domain."""
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    project = local_platform.create_project(title="Mine", workflow={"stages": [
        {"title": "Agent", "type": "agent", "pathways": {"go": "Done"}}, {"title": "Done", "type": "done"},
    ]})  # fmt: skip
    assert get_user_client().get_project(project.project_hash).title == "Mine"


def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key there is no client, and no request."""
    monkeypatch.delenv("ENCORD_SSH_KEY", raising=False)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    with pytest.raises(CredentialsError):
        get_user_client()


def test_who_is_calling() -> None:
    """Requests say which library, in which version, and carry the trace id they were given."""
    trace = "0123456789abcdef" * 2
    with unavailable() as (domain, seen):
        client = get_user_client(Settings(ssh_key_content=new_key(), domain=domain), trace_id=trace, retries=False)
        with pytest.raises((EncordException, RequestException)):
            client.get_project("11111111-1111-4111-8111-111111111111")
    assert f"encord-agents/{__version__}" in seen[0]["User-Agent"]
    assert seen[0]["X-Cloud-Trace-Context"].startswith(trace)


def test_without_retries() -> None:
    """A caller who repeats by rules of its own can have a client that does not: one call is one request."""
    with unavailable() as (domain, seen):
        client = get_user_client(Settings(ssh_key_content=new_key(), domain=domain), retries=False)
        with pytest.raises((EncordException, RequestException)):
            client.get_project("11111111-1111-4111-8111-111111111111")
    assert len(seen) == 1


def test_retries_by_default() -> None:
    """Otherwise the SDK's own retries stay as they are."""
    settings = get_user_client(Settings(ssh_key_content=new_key())).user_config.requests_settings
    assert settings.max_retries > 0
    assert settings.connection_retries > 0


def test_timeouts() -> None:
    """10 s to connect, 60 s to wait for an answer: a dead host does not hold a run for three minutes."""
    settings = get_user_client(Settings(ssh_key_content=new_key())).user_config.requests_settings
    assert (settings.connect_timeout, settings.read_timeout, settings.write_timeout) == (10, 60, 60)


class Named(EncordUserClient):
    """A user's own class of clients."""

    name = "mine"


def test_sending_once() -> None:
    """The copy repeats nothing inside of `sent_once`; the client, and the copy elsewhere, do as ever."""
    made = EncordUserClient.create_with_bearer_token("secret", domain="http://localhost")
    client = Named(made.user_config, made.querier)
    client.name = "yours"
    before = dict(vars(client)), dict(vars(client.user_config)), dict(vars(client.user_config.config))
    prepared = sending_once(client)
    assert isinstance(prepared, Named)
    assert prepared.name == "yours"
    assert (dict(vars(client)), dict(vars(client.user_config)), dict(vars(client.user_config.config))) == before
    plain = client.user_config.requests_settings
    ours = prepared.user_config.requests_settings
    assert ours is prepared.user_config.config.requests_settings is prepared.querier._config.requests_settings
    with sent_once():
        assert (plain.max_retries, plain.connection_retries) == (3, 3)
        assert (ours.max_retries, ours.connection_retries) == (0, 0)
    assert dataclasses.asdict(ours) == dataclasses.asdict(plain)
    plain.max_retries, ours.connection_retries, plain.read_timeout = 5, 6, 7
    assert dataclasses.asdict(ours) == dataclasses.asdict(plain)
    assert (ours.max_retries, ours.connection_retries, ours.read_timeout) == (5, 6, 7)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))])
def test_copies_of_the_copy(way: Callable[[EncordUserClient], EncordUserClient]) -> None:
    """They have the same values. Copies are heard of as the first is; what is pickled of it is the SDK's own."""
    client = sending_once(EncordUserClient.create_with_bearer_token("secret", domain="http://localhost"))
    client.user_config.requests_settings.max_retries = 5
    copied = way(client)
    settings = way(client.user_config.requests_settings)  # type: ignore[arg-type]
    assert (type(settings) is RequestsSettings) is (way not in (copy.copy, copy.deepcopy))
    assert settings.max_retries == copied.user_config.requests_settings.max_retries == 5
    assert copied.user_config.requests_settings is copied.user_config.config.requests_settings


def test_trace_ids_can_be_pickled() -> None:
    """And copied, as the settings of a client that has none."""
    settings = get_user_client(Settings(ssh_key_content=new_key()), trace_id="a" * 32).user_config.requests_settings
    provider = pickle.loads(pickle.dumps(settings)).trace_id_provider
    assert provider is not None
    assert provider() == f"{'a' * 32}/1;o=1"
