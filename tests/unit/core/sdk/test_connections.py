"""Connections of prepared clients: kept, as few as are needed, and nobody else's business."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from encord import EncordUserClient
from encord.exceptions import RequestException
from encord.http.constants import RequestsSettings
from encord.http.querier import Querier, create_new_session
from encord.http.v2.api_client import ApiClient
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, Driver
from tests.servers import private_authority, tls_before
from tests.waiting import until

from encord_agents.core.sdk import connections
from encord_agents.core.sdk.connections import IDLE, Connections
from encord_agents.core.sdk.once import sending_once
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.tasks import Runner
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

WORKFLOW = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])


@dataclass
class Relay:
    """A server between client and platform that counts connections, and can close them."""

    address: str = ""
    connections: list[Any] = field(default_factory=list)
    requests: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    swallow: str = ""
    """Part of a path: what is asked for there is handed on, but the answer is not: the connection is closed."""
    one_each: bool = False
    """True if a connection serves one request, and is closed when a second one comes, without a word before."""

    @property
    def is_left(self) -> bool:
        """Whether nobody is connected any more."""
        return all(connection.wfile.closed for connection in self.connections)

    def close_all(self) -> None:
        for connection in self.connections:
            connection.close_connection = True
            connection.connection.shutdown(2)


@pytest.fixture
def relay(local_platform: LocalPlatform) -> Iterator[Relay]:
    import requests

    found = Relay()
    session = requests.Session()
    session.trust_env = False

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            found.connections.append(self)

        def do_GET(self) -> None:
            found.requests += 1
            found.headers.append(dict(self.headers.items()))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = urlsplit(self.path)  # a proxy is told the whole address
            url = f"{local_platform.domain}{asked.path}?{asked.query}"
            answer = session.request(self.command, url, data=body, headers=self.headers)
            if found.swallow and found.swallow in self.path:
                found.swallow = ""
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)
            if found.one_each:
                self.wfile.flush()
                self.connection.recv(1)
                self.close_connection = True

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


def test_idle_connections_are_dropped_after_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for which the machine slept counts: servers have closed their ends meanwhile."""
    opens = Connections().session(create_new_session)
    options = {"max_retries": 0, "backoff_factor": 0.0, "connect_retries": 0}
    with opens(**options) as first:
        pass
    monkeypatch.setattr(connections, "seconds_asleep", lambda: 1e9)
    with opens(**options) as second:
        assert second is not first


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


def ask(client: EncordUserClient, project_hash: str) -> str:
    """Both protocols once, and what came of it."""
    try:
        client.get_project(project_hash).list_label_rows_v2()[0].initialise_labels()
    except RequestException as error:
        return type(error.__cause__).__name__
    return "answered"


def test_the_same_headers(local_platform: LocalPlatform, relay: Relay) -> None:
    """Requests over kept connections say what the SDK's own say, and nothing else."""
    made = local_platform.create_project(workflow=WORKFLOW)
    made.add_placeholders(1)
    seen = []
    for client in (client_of(local_platform, relay), sending_once(client_of(local_platform, relay))):
        relay.headers.clear()
        assert ask(client, made.project_hash) == "answered"
        changing = ("Date", "Authorization", "X-Cloud-Trace-Context", "Signature", "Signature-Input", "Content-Length")
        seen.append([{k: v for k, v in one.items() if k.title() not in changing} for one in relay.headers])
        seen.append([sorted(one) for one in relay.headers])
    assert seen[2:] == seen[:2]
    assert len(seen[0]) >= 3


@pytest.mark.parametrize("exempt", ["", "127.0.0.1"])
def test_proxies_of_the_environment(
    local_platform: LocalPlatform, relay: Relay, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    """They are asked, and those that are exempt are not, as with the SDK's own sessions."""
    made = local_platform.create_project(workflow=WORKFLOW)
    made.add_placeholders(1)
    for name in ("HTTP_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", relay.address)
    monkeypatch.setenv("no_proxy", exempt)
    counted = []
    for client in (local_platform.client(), sending_once(local_platform.client())):
        before = relay.requests
        assert ask(client, made.project_hash) == "answered"
        counted.append(relay.requests - before)
    assert counted[0] == counted[1]
    assert bool(counted[0]) is not bool(exempt)


@pytest.mark.parametrize("trusted", [True, False])
def test_certificates_of_the_environment(
    local_platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    """A private authority is trusted where `requests` would trust it, whatever the SDK does, and not elsewhere."""
    made = local_platform.create_project(workflow=WORKFLOW)
    made.add_placeholders(1)
    context, authority = private_authority(tmp_path)
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    with tls_before(local_platform.domain, context) as domain:
        settings = RequestsSettings(max_retries=0, connection_retries=0)
        plain = EncordUserClient.create_with_ssh_private_key(
            local_platform.ssh_key, domain=domain, requests_settings=settings
        )
        kept = sending_once(plain)
        outcomes = [ask(client, made.project_hash) for client in (plain, kept, kept)]
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        outcomes += [ask(client, made.project_hash) for client in (plain, kept)]
    assert outcomes[1] == outcomes[2]
    asks = "merge_environment_settings" in ApiClient._request.__code__.co_names
    assert outcomes[0] == (outcomes[1] if asks else "SSLError")
    assert outcomes[3:] == ["SSLError", "SSLError"]
    assert (outcomes[1] != "SSLError") is trusted


def test_a_move_without_an_answer(local_platform: LocalPlatform, relay: Relay) -> None:
    """Where a kept connection is closed after a move was sent, it is asked after, and not sent twice."""
    made = local_platform.create_project(workflow=WORKFLOW)
    made.add_placeholders(3)
    runner = Runner(made.project_hash, user_client=client_of(local_platform, relay))
    relay.swallow = "/actions"

    @runner.stage("A")
    def agent(task: AgentTask) -> str:
        return "b"

    report = runner(progress="none")
    assert relay.swallow == ""
    assert made.stage("B").tasks == 3
    assert local_platform.journal.kinds()["actions"] == 1
    (stage,) = report.stages
    assert (stage.moved, report.failed) == (3, 0)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_server_that_closes_connections_without_a_word(world: World, relay: Relay, driver: Driver) -> None:
    """After the first requests that this costs, each has a connection of its own; what was cut off is asked after."""
    world.numbers |= {"first_backoff": 0.02, "longest_backoff": 0.1}
    world.project.add_placeholders(10)
    world.client = client_of(world.platform, relay)
    relay.one_each = True
    calls: list[str] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        calls.append(label_row.data_hash)
        return TaskAgentReturnStruct("complete", label_row, 0.5)

    assert driver.run(world, agent).counts == {"moved": 10}
    assert len(calls) == 10
    assert [world.project.moves(task.uuid) for task in world.project.tasks()] == [1] * 10


def test_connections_are_not_kept_for_a_while_after_one_has_failed(relay: Relay) -> None:
    """For 30 seconds, and twice as long each further time, up to 16 minutes. A new connection that fails changes
    nothing."""
    clock = Clock()
    connections = Connections(clock)
    opens = connections.session(create_new_session)

    def ask(*, answered: bool = True) -> None:
        relay.swallow = "" if answered else "nothing"
        options = {"max_retries": 0, "backoff_factor": 0.0, "connect_retries": 0}
        with contextlib.nullcontext() if answered else pytest.raises(requests.ConnectionError), opens(**options) as one:
            one.get(f"{relay.address}/v2/public/nothing")

    ask(answered=False)
    for seconds in (IDLE, 2 * IDLE, 4 * IDLE, 8 * IDLE, 16 * IDLE, 32 * IDLE, 32 * IDLE):
        ask()
        assert connections.idle == 1
        ask(answered=False)
        for _ in range(2):
            ask()
            ask(answered=False)
            assert connections.idle == 0
        clock.now += seconds - 1
        ask()
        assert connections.idle == 0
        clock.now += 1


def test_a_run_leaves_no_connection(local_platform: LocalPlatform, relay: Relay) -> None:
    """What was kept open during a run is closed after it, and a later call opens what it needs."""
    made = local_platform.create_project(workflow=WORKFLOW)
    runner = Runner(made.project_hash, user_client=client_of(local_platform, relay))
    runner.stage("A")(lambda: "b")
    for number in (1, 2):
        made.add_placeholders(5)
        runner(progress="none")
        until(lambda: relay.is_left)
        assert made.stage("B").tasks == 5 * number


def test_other_users_of_the_sdk_at_the_same_time(local_platform: LocalPlatform, relay: Relay) -> None:
    """While prepared clients are at work in some threads, plain ones in others open a connection for each request."""
    made = local_platform.create_project(workflow=WORKFLOW)
    project = client_of(local_platform, relay).get_project(made.project_hash)
    prepared = sending_once(local_platform.client()).get_project(made.project_hash)
    connections, requests = len(relay.connections), relay.requests
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: (project, prepared)[n % 2].list_label_rows_v2(), range(40)))
    assert len(relay.connections) - connections == relay.requests - requests == 20


def test_looking_for_old_ones_takes_none_away() -> None:
    """A request that begins while another one looks for what is to be dropped finds what is idle."""
    inside: list[Any] = []

    class Looked(Clock):
        armed = False

        def __call__(self) -> float:
            if self.armed:
                self.armed = False
                with opens(**options) as session:
                    inside.append(session)
            return self.now

    clock = Looked()
    opens = Connections(clock).session(create_new_session)
    options = {"max_retries": 0, "backoff_factor": 0.0, "connect_retries": 0}
    with opens(**options) as first:
        pass
    clock.armed = True
    with opens(**options) as again:
        pass
    assert inside == [first]
    assert again is first


@pytest.mark.parametrize("verify", [None, True, False, "/certificates"])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"},
        {"CURL_CA_BUNDLE": "/b"},
        {"HTTPS_PROXY": "http://proxy:1"},
        {"https_proxy": "http://proxy:1", "no_proxy": "example.com", "REQUESTS_CA_BUNDLE": "/a"},
        {"All_Proxy": "http://proxy:1"},
    ],
)
def test_the_environment_means_what_it_means_to_requests(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], verify: Any
) -> None:
    """Proxies and certificates of kept sessions are those of any session of `requests`."""
    for name in [name for name in os.environ if name.lower().endswith(("_proxy", "_ca_bundle"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    connections = Connections()
    with connections.session(create_new_session)(max_retries=0, backoff_factor=0, connect_retries=0) as kept:
        for url in ("https://example.com/", "http://example.com/", "https://other.example/"):
            given = (url, {}, None, verify, None)
            assert kept.merge_environment_settings(*given) == requests.Session().merge_environment_settings(*given)
        assert kept.trust_env


def test_the_pool_of_a_host_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked up anew for another host, other certificates, a proxy, and where it was closed."""
    adapter = connections._Adapter()

    def pool(url: str, verify: Any = True, proxies: Any = None) -> Any:
        request = requests.Request("GET", url).prepare()
        return adapter.get_connection_with_tls_context(request, verify, proxies)

    first = pool("https://a.example/one")
    assert pool("https://a.example/two?three") is first
    others = [
        pool("https://a.example:444/one"),
        pool("http://a.example/one"),
        pool("https://b.example/one"),
        pool("https://a.example/one", verify=False),
        pool("https://a.example/one", proxies={"https": "http://proxy:1"}),
    ]
    assert all(other is not first for other in others)
    latest = pool("https://a.example/one")
    assert pool("https://a.example/two") is latest
    adapter.close()
    assert pool("https://a.example/one") is not latest


def test_an_answer_is_read_at_once(relay: Relay, local_platform: LocalPlatform) -> None:
    """Its content is that of `requests`, whatever its size; one that is streamed is left unread."""
    url = f"{relay.address}/v2/public/nothing"
    with connections._new_session() as session:
        read, streamed = session.get(url), session.get(url, stream=True)
        assert streamed._content is False  # type: ignore[comparison-overlap]
        assert read.content == streamed.content == requests.get(url, timeout=10).content
