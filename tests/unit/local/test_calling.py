"""A call of an editor agent: what it is sent, and a sentence for each way in which there is no good answer."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from encord_agents.local import calling
from encord_agents.local.editor_agents import EditorAgent

TRACE = "0123456789abcdef0123456789abcdef"


def call(address: str, *, elsewhere: bool = False, timeout: float = 60, **others: Any) -> calling.Outcome:
    given: dict[str, Any] = {"project": "p", "data": "d", "frame": 3, "objects": (), "trace_id": TRACE} | others
    return calling.call(EditorAgent("box", address, elsewhere), timeout=timeout, **given)


@contextmanager
def agent(
    status: int = 200, content: bytes = b"", headers: dict[str, str] | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """A server that keeps what it is sent, and gives one answer."""
    seen: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers.items()), body))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/box", seen
        server.shutdown()
        thread.join()


@contextmanager
def bare(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of bytes: one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            connected, _ = listening.accept()
            with connected:
                connected.recv(65536)
                serve(connected)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/box"
        thread.join()


def test_the_request_is_the_editors() -> None:
    """Path and query of the address, the fields under the editor's names, its origin, and a trace id."""
    with agent() as (address, seen):
        assert call(f"{address}?code=a%20b").is_good
        assert call(address, objects=["abc", "def"]).is_good
        assert call(address, is_test=True).is_good
    (path, headers, body), (_, _, selected), (_, tried, _) = seen
    assert path == "/box?code=a%20b"
    assert json.loads(body) == {"projectHash": "p", "dataHash": "d", "frame": 3}
    assert json.loads(selected)["objectHashes"] == ["abc", "def"]
    assert headers["Content-Type"] == "application/json"
    assert headers["Origin"] == "https://app.encord.com"
    assert headers["Host"] == address.split("/")[2]
    assert headers["X-Cloud-Trace-Context"].startswith(f"{TRACE}/")
    assert "X-Encord-Editor-Agent" not in headers
    assert tried["X-Encord-Editor-Agent"]


@pytest.mark.parametrize(
    ("content", "message", "decision", "told"),
    [
        (b"", "", None, ""),
        (b"null", "", None, ""),
        (b"{}", "", None, ""),
        ('{"message": " grün <b> ", "decision": "skip"}'.encode(), "grün <b>", "skip", ""),
        (b'{"message": null, "decision": " "}', "", None, ""),
        (b"OK", "", None, "not JSON"),
        (b"\xff", "", None, "not JSON"),
        (b"[" * 100_000, "", None, "not JSON"),
        (b"[1]", "", None, "not a JSON object"),
        (b'{"message": 1}', "", None, "not text"),
        (b'{"message": "a", "decision": {}}', "a", None, "not text"),
    ],
)
def test_answers(content: bytes, message: str, decision: str | None, told: str) -> None:
    """Labels may have changed whatever the answer says: it counts as good, and what is odd is told."""
    with agent(content=content) as (address, _):
        outcome = call(address)
    assert (outcome.is_good, outcome.status, outcome.message, outcome.decision) == (True, 200, message, decision)
    assert told in outcome.trouble
    assert bool(told) == bool(outcome.trouble)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (302, "register that address"),
        (400, "do what its message says"),
        (401, "credentials"),
        (403, "ENCORD_DOMAIN"),
        (404, "Correct the address"),
        (405, "POST"),
        (409, "Try again"),
        (413, "fewer"),
        (418, "See its log"),
        (422, "FrameData"),
        (429, "Try again"),
        (500, "in its log"),
        (503, "Try again"),
        (504, "do less"),
    ],
)
def test_each_status_is_told_with_what_to_do(status: int, told: str) -> None:
    """The agent's own message is kept where it has one."""
    with agent(status) as (address, _):
        outcome = call(address)
    assert not outcome.is_good
    assert str(status) in outcome.trouble
    assert told in outcome.trouble
    with agent(status, b'{"message": "Why."}') as (address, _):
        assert call(address).message == "Why."


def test_redirects_are_not_followed() -> None:
    """Only the address that was registered is asked."""
    with agent() as (other, seen), agent(307, headers={"Location": other}) as (address, _):
        outcome = call(address)
    assert seen == []
    assert other in outcome.trouble


def test_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent of this machine is asked directly, whatever the environment says."""
    with agent() as (proxy, seen), agent() as (address, _):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert call(address).is_good
    assert seen == []


def test_nobody_listens() -> None:
    """The sentence says how to start an agent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = call(f"http://127.0.0.1:{port}/box")
    assert outcome.status is None
    assert "encord-agents serve" in outcome.trouble


def test_a_name_that_leads_nowhere() -> None:
    """The sentence names the host."""
    assert "no host nothing.invalid" in call("http://nothing.invalid/box", elsewhere=True).trouble


def test_a_name_that_leads_to_another_machine_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that was registered as this machine may be given another meaning later, by those who answer for it."""
    with agent() as (address, seen):
        monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("192.0.2.7", 80))
        outcome = call(address)
        assert "192.0.2.7" in outcome.trouble
        assert seen == []
        assert call(address, elsewhere=True).is_good


def test_what_is_not_http() -> None:
    """Neither plain bytes, nor an end without an answer, nor TLS where there is none."""
    with bare(lambda connected: connected.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as address:
        assert "HTTP" in call(address).trouble
    with bare(lambda connected: None) as address:
        assert "HTTP" in call(address).trouble
    with bare(lambda connected: connected.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")) as address:
        assert "http address" in call(address.replace("http:", "https:")).trouble
    with bare(lambda connected: connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")) as address:
        assert call(address).trouble


def test_a_huge_answer_is_not_kept() -> None:
    """It is read up to a bound."""
    with agent(content=b'"' + b"x" * calling.LARGEST_ANSWER + b'"') as (address, _):
        assert "bytes" in call(address).trouble


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n{"])
def test_the_time_is_that_of_the_whole_answer(begin: bytes) -> None:
    """An answer that drips is late, too, wherever it is."""
    over = threading.Event()

    def drip(connected: socket.socket) -> None:
        connected.sendall(begin)
        while not over.wait(0.01):
            try:
                connected.sendall(b"x")
            except OSError:
                return

    with bare(drip) as address:
        outcome = call(address, timeout=0.2)
        over.set()
    assert "has not answered within 0.2 s" in outcome.trouble
