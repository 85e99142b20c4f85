"""Connections of prepared clients: kept, as few as are needed, and nobody else's business."""

from __future__ import annotations

import http.server
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from encord import EncordUserClient
from encord.exceptions import RequestException
from encord.http.querier import Querier, create_new_session
from encord.http.v2.api_client import ApiClient

from encord_agents.core import sdk
from encord_agents.core.client import sending_once
from encord_agents.core.sdk import IDLE, Connections
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

WORKFLOW = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])


@dataclass
class Relay:
    """A server between client and platform that counts connections, and can close them."""

    address: str = ""
    connections: list[Any] = field(default_factory=list)
    requests: int = 0

    def close_all(self) -> None:
        for connection in self.connections:
            connection.close_connection = True
            connection.connection.shutdown(2)


@pytest.fixture
def relay(local_platform: LocalPlatform) -> Iterator[Relay]:
    import requests

    found = Relay()
    session = requests.Session()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            found.connections.append(self)

        def do_GET(self) -> None:
            found.requests += 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = session.request(self.command, local_platform.domain + self.path, data=body, headers=self.headers)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.address = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
    session.close()


def client_of(platform: LocalPlatform, relay: Relay) -> EncordUserClient:
    return EncordUserClient.create_with_ssh_private_key(platform.ssh_key, domain=relay.address)


def test_the_sdk_is_as_it_was_read() -> None:
    """Each seam that connections are kept by is there. Where a new version fails here, this names what changed."""
    assert sdk.seams() == []


def test_one_connection_serves_all(local_platform: LocalPlatform, relay: Relay) -> None:
    """Both protocols, the client's own requests and those of what is made from it, one after the other."""
    made = local_platform.create_project(workflow=WORKFLOW)
    made.add_placeholders(3)
    client = sending_once(client_of(local_platform, relay))
    project = client.get_project(made.project_hash)
    for row in project.list_label_rows_v2():
        row.initialise_labels()
        row.save()
    (stage,) = (stage for stage in project.workflow.stages if stage.title == "A")
    for task in stage.get_tasks():  # type: ignore[union-attr,call-arg]
        task.proceed(pathway_name="b")
    assert made.stage("B").tasks == 3
    assert relay.requests > 10
    assert len(relay.connections) == 1


def test_as_many_connections_as_are_in_flight(local_platform: LocalPlatform, relay: Relay) -> None:
    """Threads share them; more threads than requests at once do not open more."""
    made = local_platform.create_project(workflow=WORKFLOW)
    client = sending_once(client_of(local_platform, relay))
    project = client.get_project(made.project_hash)
    slots = threading.Semaphore(3)

    def ask(_: int) -> None:
        with slots:
            project.list_label_rows_v2()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    assert relay.requests >= 60
    assert len(relay.connections) <= 3


def test_a_connection_that_the_server_closed(local_platform: LocalPlatform, relay: Relay) -> None:
    """It is replaced, and nobody notices."""
    made = local_platform.create_project(workflow=WORKFLOW)
    project = sending_once(client_of(local_platform, relay)).get_project(made.project_hash)
    relay.close_all()
    assert project.list_label_rows_v2() == []
    assert len(relay.connections) == 2


def test_other_clients_are_left_alone(local_platform: LocalPlatform, relay: Relay) -> None:
    """The client that a prepared one was made of, and every other one, sends as the SDK does."""
    made = local_platform.create_project(workflow=WORKFLOW)
    client = client_of(local_platform, relay)
    sending_once(client)
    project = client.get_project(made.project_hash)
    before, asked = len(relay.connections), relay.requests
    for _ in range(3):
        project.list_label_rows_v2()
    assert len(relay.connections) - before == relay.requests - asked > 0
    assert "create_new_session" in ApiClient._request.__globals__
    assert ApiClient._request.__globals__["create_new_session"] is create_new_session
    assert Querier._execute.__globals__["create_new_session"] is create_new_session


def test_retries_are_the_sdks(local_platform: LocalPlatform, relay: Relay) -> None:
    """A kept session repeats what one of the SDK's own would: its policy is taken over for each request."""
    connections = Connections()
    opens = connections.session(create_new_session)
    for retries in (3, 0, 3):
        with (
            opens(max_retries=retries, backoff_factor=0.5, connect_retries=2) as kept,
            create_new_session(max_retries=retries, backoff_factor=0.5, connect_retries=2) as plain,
        ):
            mine, theirs = (session.get_adapter("https://").max_retries for session in (kept, plain))  # type: ignore[attr-defined]
            assert vars(mine) == vars(theirs)
    assert connections.idle == 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_idle_connections_are_dropped() -> None:
    """After 30 seconds without use; those that are used stay."""
    clock = Clock()
    connections = Connections(clock)
    opens = connections.session(create_new_session)
    options = {"max_retries": 0, "backoff_factor": 0.0, "connect_retries": 0}
    with opens(**options) as first, opens(**options) as second:
        pass
    assert connections.idle == 2
    clock.now = IDLE - 1
    with opens(**options) as used:
        assert used is first  # the one that was used last
    clock.now = IDLE + 1
    with opens(**options) as used:
        assert used is first
    assert connections.idle == 1
    assert second is not first
    connections.close()
    assert connections.idle == 0


def test_an_interrupted_request_leaves_no_connection() -> None:
    """Nobody knows what is still to be read from it; one that failed as requests do is used again."""
    connections = Connections()
    opens = connections.session(create_new_session)
    options = {"max_retries": 0, "backoff_factor": 0.0, "connect_retries": 0}
    for error in (RequestException("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)), opens(**options):
            raise error
        assert connections.idle == (isinstance(error, RequestException))
        connections.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_opens_its_own(local_platform: LocalPlatform, relay: Relay) -> None:
    """A forked process does not talk on its parent's connections, which go on."""
    made = local_platform.create_project(workflow=WORKFLOW)
    project = sending_once(client_of(local_platform, relay)).get_project(made.project_hash)
    child = os.fork()
    if child == 0:
        os._exit(0 if project.list_label_rows_v2() == [] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert project.list_label_rows_v2() == []
    assert len(relay.connections) == 2


def test_another_sdk(
    local_platform: LocalPlatform, relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a seam is not as expected, requests go the SDK's own way, and one line in the log says why."""
    monkeypatch.setattr(sdk, "OPENS", "open_session")
    sdk._usable.cache_clear()
    caplog.set_level(logging.DEBUG, "encord_agents")
    try:
        made = local_platform.create_project(workflow=WORKFLOW)
        for _ in range(2):
            client = sending_once(client_of(local_platform, relay))
            assert client.get_project(made.project_hash).list_label_rows_v2() == []
    finally:
        sdk._usable.cache_clear()
    assert len(relay.connections) == relay.requests
    (record,) = caplog.records
    assert "does not call open_session()" in record.getMessage()
