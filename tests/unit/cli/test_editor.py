"""`encord-agents test` and `serve`: requests as they are sent, answers as they are understood, options passed on."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from tests.servers import serving
from uvicorn.importer import import_from_string

from encord_agents.cli import editor
from encord_agents.exceptions import PrintableError
from encord_agents.fastapi.promptly import PromptProtocol

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

HASHES = ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "7d444840-9dc0-11d1-b245-5ffdce74fad2")
PAGE = f"https://app.encord.com/label_editor/{HASHES[0]}/{HASHES[1]}"
HEADER = "X-Encord-Editor-Agent"


@dataclass
class Agent:
    """A server that keeps what it is sent, and gives everybody the same answer."""

    port: int
    answer: tuple[int, str] = (200, "{}")
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}/agent"


@pytest.fixture
def agent() -> Iterator[Agent]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.paths.append(self.path)
            found.headers.append(dict(self.headers))
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, body = found.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Agent(server.server_port)
    with serving(server):
        yield found


def shown(out: str) -> dict[str, str]:
    """The lines of a call, by their names."""
    return {name: text.strip() for name, _, text in (line.partition(":") for line in out.splitlines())}


@pytest.mark.parametrize(
    ("rest", "frame", "objects"),
    [
        ("/0", 0, None),
        ("/12 \n", 12, None),
        ("?objectHash=a%2Fb", 0, ["a/b"]),
        ("/3?other=1", 3, None),
        ("/3?objectHash=", 3, None),
        ("/3#objectHash=abc", 3, None),
    ],
)
def test_addresses_as_they_are_pasted(rest: str, frame: int, objects: list[str] | None) -> None:
    """Read frame and objects with blanks around the address, and of its query only what names an object."""
    found = editor.frame_of(f" {PAGE}{rest}")
    assert (found.frame, found.object_hashes) == (frame, objects)


@pytest.mark.parametrize("more", ["0", "-x", "junk/3"])
def test_a_hash_that_is_too_long(more: str) -> None:
    """Refuse the address: it names no data unit, and not the one that it begins with."""
    with pytest.raises(PrintableError, match="not an address of the label editor"):
        editor.frame_of(f"{PAGE}{more}")


@pytest.mark.parametrize("frame", ["٣٣٣", "9" * 5_000], ids=["other digits", "too large"])
def test_numbers_that_are_no_frame(frame: str) -> None:
    """Refuse them as an address, without a traceback of the number's own."""
    with pytest.raises(PrintableError, match="not an address of the label editor"):
        editor.frame_of(f"{PAGE}/{frame}")


@pytest.mark.parametrize("words", [("custom", "http://localhost:9/agent"), ("local", "agent"), ("aws",)])
def test_no_address_of_the_editor(command: Command, words: tuple[str, ...]) -> None:
    """Quote the address and exit with 2 before anything is sent."""
    ran = command("test", *words, "https://app.encord.com/projects")
    assert (ran.code, ran.out) == (2, "")
    assert "'https://app.encord.com/projects' is not an address of the label editor" in ran.err


@pytest.mark.parametrize(("options", "tried"), [([], None), (["--test-header"], "test-header")])
def test_a_request(command: Command, agent: Agent, options: list[str], tried: str | None) -> None:
    """Send the frame as the label editor does, with the header of a test only where it is asked for."""
    assert command("test", "local", "/agent", f"{PAGE}/4", "--port", str(agent.port), *options).code == 0
    assert agent.paths == ["/agent"]
    assert json.loads(agent.bodies[0]) == {"projectHash": HASHES[0], "dataHash": HASHES[1], "frame": 4}
    assert agent.headers[0]["Content-Type"] == "application/json"
    assert agent.headers[0].get(HEADER) == tried


def test_selected_objects_are_sent(command: Command, agent: Agent) -> None:
    """Send the hashes that the address has, in its order."""
    command("test", "custom", agent.address, f"{PAGE}/4?objectHash=b&objectHash=a")
    assert json.loads(agent.bodies[0])["objectHashes"] == ["b", "a"]


@pytest.mark.parametrize(("options", "tried"), [([], None), (["--test-header"], "test-header")])
def test_an_event(command: Command, agent: Agent, options: list[str], tried: str | None) -> None:
    """Put frame and headers inside the event, and nothing but the kind of content on the request around it."""
    agent.answer = (200, '{"statusCode": 200, "body": "inside"}')
    ran = command("test", "aws", f"{PAGE}/4", "--port", str(agent.port), *options)
    event = json.loads(agent.bodies[0])
    assert (agent.paths, agent.headers[0].get(HEADER)) == ([editor.LAMBDA], None)
    assert (event["version"], event["isBase64Encoded"]) == ("2.0", False)
    assert (event["headers"]["Content-Type"], event["headers"].get(HEADER)) == ("application/json", tried)
    assert json.loads(event["body"])["frame"] == 4
    assert (ran.code, shown(ran.out)["answer"]) == (0, "inside")


@pytest.mark.parametrize("as_event", [False, True])
def test_the_curl_line_sends_the_same(command: Command, agent: Agent, as_event: bool) -> None:
    """Have a shell send the very body and headers that were sent, whatever quotes the objects' hashes have."""
    agent.answer = (200, '{"statusCode": 200}')
    where = ["aws", "--port", str(agent.port)] if as_event else ["custom", agent.address]
    ran = command("test", *where, f"{PAGE}/4?objectHash=it's", "--test-header")
    words = shlex.split(shown(ran.out)["curl"])
    given = dict(word.split(": ", 1) for before, word in itertools.pairwise(words) if before == "-H")
    assert words[:4] == ["curl", "-X", "POST", f"http://localhost:{agent.port}{agent.paths[0]}"]
    assert words[words.index("-d") + 1] == agent.bodies[0]
    assert given == {name: value for name, value in agent.headers[0].items() if name in ("Content-Type", HEADER)}


@pytest.mark.parametrize(("status", "code"), [(200, 0), (399, 0), (400, 1), (599, 1)])
def test_the_exit_code(command: Command, agent: Agent, status: int, code: int) -> None:
    """End with 1 from a status of 400 on, and show status and answer on one line each in any case."""
    agent.answer = (status, "two\nlines")
    ran = command("test", "custom", agent.address, PAGE)
    assert ran.code == code
    assert (shown(ran.out)["status"], shown(ran.out)["answer"]) == (str(status), "two lines")


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose proxy cannot be reached."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_no_proxy_for_this_machine(command: Command, agent: Agent, proxies: None, host: str) -> None:
    """A proxy of the environment cannot reach this machine's agents: neither the call nor its curl line asks it."""
    ran = command("test", "custom", f"http://{host}:{agent.port}/agent", PAGE)
    assert (ran.code, len(agent.bodies)) == (0, 1)
    assert f"--noproxy {host}" in shown(ran.out)["curl"]


def test_a_proxy_for_other_machines(command: Command, proxies: None) -> None:
    """Any other agent is called through the proxy."""
    ran = command("test", "custom", "http://agents.example/agent", PAGE)
    assert ran.code == 1
    assert "--noproxy" not in shown(ran.out)["curl"]
    assert "roxy" in ran.out + ran.err or "Nobody listens" in ran.out


def test_a_container_that_fails_itself(command: Command, agent: Agent) -> None:
    """Show the container's own status, and do not look for a function's in its page."""
    agent.answer = (502, '{"statusCode": 200, "body": "fine"}')
    ran = command("test", "aws", PAGE, "--port", str(agent.port))
    assert (ran.code, shown(ran.out)["status"]) == (1, "502")
    assert "statusCode" in shown(ran.out)["answer"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"statusCode": 201, "body": "made"}', (201, "made")),
        ('{"statusCode": "404"}', (404, "")),
        ('{"statusCode": 200, "body": null}', (200, "")),
        ('{"statusCode": 200, "body": "bWFkZQ==", "isBase64Encoded": true}', (200, "made")),
        ('{"statusCode": 200, "body": "bWFkZQ==", "isBase64Encoded": false}', (200, "bWFkZQ==")),
    ],
)
def test_answers_of_a_function(text: str, expected: tuple[int, str]) -> None:
    """Take status and body of the answer, as a gateway does."""
    assert editor._unpacked(200, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"statusCode": 1e999}',
        "",
        "no JSON",
        "[200]",
        "null",
        '{"body": "ok"}',
        '{"statusCode": null}',
        '{"statusCode": "fine"}',
        '{"statusCode": 200, "body": "no base64", "isBase64Encoded": true}',
    ],
)
def test_answers_without_a_status(text: str) -> None:
    """Count as a failure of the function, and are shown as they are."""
    assert editor._unpacked(200, text) == (502, text)


@pytest.mark.parametrize(("as_event", "advice"), [(False, "encord-agents serve"), (True, "docker run")])
def test_advice_where_nobody_listens(as_event: bool, advice: str) -> None:
    """Say how to start what is missing, also where the refusal is the cause of a cause."""
    inner = OSError("the pool")
    inner.__cause__ = ConnectionRefusedError()
    error = RuntimeError("no answer")
    error.__cause__ = inner
    told = editor._why("http://localhost:8080/x", error, as_event=as_event)
    assert told.startswith("Nobody listens at http://localhost:8080/x.")
    assert advice in told


def test_other_trouble_is_named() -> None:
    """Show the error where somebody listens, and give no advice to start anything."""
    told = editor._why("http://localhost:8080/x", TimeoutError("too late"), as_event=False)
    assert told == "No answer from http://localhost:8080/x: TimeoutError: too late"


@pytest.mark.parametrize("address", ["nonsense", "ftp://localhost/agent", "http://[::1", "http://localhost:99999/x"])
def test_no_address_of_an_agent(command: Command, address: str) -> None:
    """Quote the address, and exit with 2."""
    ran = command("test", "custom", address, PAGE)
    assert ran.code == 2
    assert f"Error: {address!r} is not an address: " in ran.err
    assert "Traceback" not in ran.err


Served = list[tuple[Any, dict[str, Any]]]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Starlette:
    """The app in a module that has another one besides."""
    agents = ModuleType("agents_of_this_test")
    found = Starlette()
    vars(agents).update(app=found, other=Starlette())
    monkeypatch.setitem(sys.modules, agents.__name__, agents)
    return found


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """The arguments that the server is started with; it takes those that uvicorn takes, and serves nobody."""
    import uvicorn

    calls: Served = []

    @functools.wraps(uvicorn.run)
    def run(app: Any, **options: Any) -> None:
        inspect.signature(run).bind(app, **options)
        calls.append((app, options))

    monkeypatch.setattr("uvicorn.run", run)
    return calls


def test_served_as_it_is(command: Command, app: Starlette, served: Served) -> None:
    """Serve the app that was found from this process, for this machine only, where nothing else is asked for."""
    assert command("serve", "agents_of_this_test").code == 0
    ((given, options),) = served
    assert given is app
    chosen = {name: options[name] for name in ("host", "port", "reload", "workers")}
    assert chosen == {"host": "127.0.0.1", "port": 8080, "reload": False, "workers": 1}


@pytest.mark.parametrize(
    ("options", "reload", "workers"),
    [(["--workers", "2"], False, 2), (["--reload"], True, None), (["--reload", "--workers", "3"], True, None)],
)
@pytest.mark.parametrize(("where", "named"), [("", ":app"), (":", ":app"), (":app", ":app"), (":other", ":other")])
def test_served_by_name(
    command: Command,
    app: Starlette,
    served: Served,
    options: list[str],
    reload: bool,
    workers: int | None,
    where: str,
    named: str,
) -> None:
    """Have other processes import the app by its full name; while files are watched, there is one of them."""
    assert command("serve", f"agents_of_this_test{where}", *options).code == 0
    ((given, chosen),) = served
    assert given == f"agents_of_this_test{named}"
    assert (chosen["reload"], chosen["workers"]) == (reload, workers)


def test_the_address_to_listen_on(command: Command, app: Starlette, served: Served) -> None:
    """Reach the server as it is given."""
    command("serve", "agents_of_this_test:app", "--host", "0.0.0.0", "--port", "0")
    ((_, options),) = served
    assert (options["host"], options["port"]) == ("0.0.0.0", 0)


def test_the_protocol_is_ours(command: Command, app: Starlette, served: Served) -> None:
    """Name the class that answers promptly in a way that the server's processes can import."""
    command("serve", "agents_of_this_test:app")
    ((_, options),) = served
    assert import_from_string(options["http"]) is PromptProtocol


def with_healthcheck(app: Any, *, timeout_worker_healthcheck: int = 5, **options: Any) -> None:
    """The arguments of newer servers."""


def without_healthcheck(app: Any, **options: Any) -> None:
    """The arguments of older servers."""


@pytest.mark.parametrize(
    ("run", "expected"), [(with_healthcheck, editor.STARTING), (without_healthcheck, None)], ids=["newer", "older"]
)
def test_time_to_load_models(
    command: Command,
    app: Starlette,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., None],
    expected: int | None,
) -> None:
    """Give processes a minute to import the app, where the server can be told so."""
    calls: Served = []

    @functools.wraps(run)
    def recorded(given: Any, **options: Any) -> None:
        calls.append((given, options))

    monkeypatch.setattr("uvicorn.run", recorded)
    assert command("serve", "agents_of_this_test:app", "--workers", "2").code == 0
    assert calls[0][1].get("timeout_worker_healthcheck") == expected


@pytest.mark.parametrize("port", ["-1", "65536"])
@pytest.mark.parametrize("words", [["serve", "agents_of_this_test:app"], ["test", "local", "agent", PAGE]])
def test_no_port(command: Command, app: Starlette, served: Served, words: list[str], port: str) -> None:
    """Refuse it, and name the option."""
    ran = command(*words, "--port", port)
    assert (ran.code, served) == (2, [])
    assert "--port" in ran.words


def test_no_worker_at_all(command: Command, app: Starlette, served: Served) -> None:
    """Refuse to serve with no process, and name the option."""
    ran = command("serve", "agents_of_this_test:app", "--workers", "0")
    assert (ran.code, served) == (2, [])
    assert "--workers" in ran.words


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["test"], ["local", "custom", "aws"]),
        (["test", "local"], ["TARGET", "EDITOR_URL", "--port", "--test-header"]),
        (["test", "aws"], ["EDITOR_URL", "--port", "--test-header"]),
        (["serve"], ["MODULE:APP", "--host", "--port", "--reload", "--workers"]),
    ],
)
def test_help(command: Command, words: list[str], named: list[str]) -> None:
    """Name every argument and option."""
    ran = command(*words, "--help")
    assert ran.code == 0
    assert [word for word in named if word.lower() not in ran.out.lower()] == []
