"""Pools whose connections cost less: what is sent and what is read is the same."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from tests.servers import answering
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

from encord_agents.core.pools import SENDING, SMALL, Answer, PoolingAdapter

HEADERS = {"Host": "127.0.0.1", "Content-Type": "application/json", "Accept-Encoding": "gzip"}
POOLS = PoolingAdapter().poolmanager.pool_classes_by_scheme
CONNECTIONS: list[Any] = [POOLS["http"].ConnectionCls, POOLS["https"].ConnectionCls]


class Sent(list[bytes]):
    """A socket that keeps what it is given, call by call, and the latest timeout."""

    timeout: float | None = None

    def sendall(self, data: bytes) -> None:
        self.append(bytes(data))

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def close(self) -> None:
        """Be silent, too."""


def sent(connection: HTTPConnection, body: Any, headers: dict[str, str] | None = None) -> list[bytes]:
    connection.sock = Sent()  # type: ignore[assignment]
    connection.request("POST", "/path?query", body=body, headers=headers or HEADERS)
    calls = list(connection.sock)  # type: ignore[call-overload]
    connection.close()
    return calls


@pytest.mark.parametrize("kind", CONNECTIONS)
@pytest.mark.parametrize("body", [b"{}", "text", b"", "", b"x" * SMALL])
def test_small_requests_go_in_one_piece(kind: type[HTTPConnection], body: Any) -> None:
    """A head and a small body are one call of the system, with the bytes that `urllib3` sends."""
    usual = sent(HTTPConnection("127.0.0.1"), body)
    assert sent(kind("127.0.0.1"), body) == [b"".join(usual)]


@pytest.mark.parametrize("body", [None, io.BytesIO(b"file"), iter([b"a", b"b"])])
def test_other_requests_go_as_ever(body: Any) -> None:
    """Files and parts are sent as they come."""
    again = iter([b"a", b"b"]) if body is not None and not isinstance(body, bytes | io.BytesIO) else body
    usual = sent(HTTPConnection("127.0.0.1"), again)
    if isinstance(body, io.BytesIO):
        body.seek(0)
    assert sent(CONNECTIONS[0]("127.0.0.1"), body) == usual


@pytest.mark.parametrize("kind", CONNECTIONS)
@pytest.mark.parametrize("body", [b"x" * (SMALL + 1), "ü" * 2 * SMALL])
def test_large_bodies_go_in_pieces(kind: type[HTTPConnection], body: Any) -> None:
    """They are not copied, and a timeout applies to each piece: what is sent is what `urllib3` sends."""
    pieces = sent(kind("127.0.0.1"), body)
    assert b"".join(pieces) == b"".join(sent(HTTPConnection("127.0.0.1"), body))
    assert max(map(len, pieces)) == SMALL


@pytest.mark.parametrize("kind", CONNECTIONS)
@pytest.mark.parametrize(("given", "used"), [(1.0, SENDING), (180.0, 180.0), (None, None)])
def test_a_connect_timeout_is_for_connecting(
    kind: type[HTTPConnection], given: float | None, used: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is sent under a longer one, if it is short, on a new connection as on a kept one."""
    timeouts: list[float | None] = []

    def connect(self: HTTPConnection) -> None:
        timeouts.append(self.timeout)
        self.sock = Sent()  # type: ignore[assignment]

    monkeypatch.setattr(kind, "connect", connect, raising=False)
    connection = kind("127.0.0.1", timeout=given)
    for _ in range(2):
        connection.timeout = given  # as the pool does before each request
        connection.request("POST", "/", body=b"{}", headers=HEADERS)
        timeouts.append(connection.sock.timeout)  # type: ignore[union-attr]
        connection._HTTPConnection__state = "Idle"  # type: ignore[attr-defined]
    assert timeouts == [given, used, used]


def test_a_slow_way_up() -> None:
    """A body larger than the system's buffers is sent, though it takes longer than the connect timeout."""

    def read_late(connection: socket.socket) -> None:
        time.sleep(1)
        while not connection.recv(65536).endswith(b"."):
            pass
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with answering(read_late) as url, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", PoolingAdapter())
        assert session.post(url, data=b"x" * 2**25 + b".", timeout=(0.5, 60)).status_code == 204


def test_of_a_request_that_cannot_be_written_nothing_is_sent() -> None:
    """A header that is refused leaves the connection as it was: the next request goes through."""
    connection = CONNECTIONS[0]("127.0.0.1")
    connection.sock = Sent()
    with pytest.raises(ValueError, match="Invalid header"):
        connection.request("POST", "/", body=b"{}", headers={"A": "b\nc: d"})
    assert not connection.sock
    connection.close()
    assert len(sent(connection, b"{}")) == 1


class _Socket:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._content))  # type: ignore[arg-type]


def read(kind: type[http.client.HTTPResponse], content: bytes) -> Any:
    answer = kind(_Socket(content))  # type: ignore[arg-type]
    try:
        answer.begin()
    except Exception as error:
        return type(error), str(error)
    message = answer.msg
    assert message is not None
    facts = answer.status, answer.length, answer.chunked, answer.will_close
    return facts, message.items(), message.get_payload(), repr(message.defects), answer.read(), type(message)


HEADS = [
    b"",
    b"Content-Length: 2\r\n",
    b"content-length:2\r\nX:  spaces around \r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"X: folded\r\n line\r\nContent-Length: 1\r\n",
    b"No colon\r\nContent-Length: 1\r\n",
    b": no name\r\n",
    b"X : space before the colon\r\n",
    b"X: caf\xc3\xa9\r\n",
    b"X: only a newline\nContent-Length: 1\r\n",
    b"X: a\rContent-Length: 1\r\n",
    b"X: a\x0bContent-Length: 1\r\n",
    b"X: a\x00\r\n",
    b"".join(b"X-%d: 1\r\n" % number for number in range(95)),
    b"".join(b"X-%d: 1\r\n" % number for number in range(105)),
    b"X: " + b"y" * 20_000 + b"\r\nContent-Length: 1\r\n",
    b"From me\r\n",
]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"100 Continue\r\n\r\nHTTP/1.1 200 OK"])
def test_heads_are_read_as_they_are_by_http_client(status: bytes, head: bytes) -> None:
    """Whatever a server sends: the same headers, the same body, the same errors."""
    content = b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n2\r\nab\r\n0\r\n\r\n"
    assert read(Answer, content) == read(http.client.HTTPResponse, content)
    for end in (len(content) - 3, len(status) + 15, 3):  # an answer that breaks off
        assert read(Answer, content[:end]) == read(http.client.HTTPResponse, content[:end])


@given(st.binary(max_size=200) | st.text(alphabet="aX-: \t\r\n,;=1", max_size=200).map(str.encode))
@example(b"a:\t b \t\r\n\r\n")
def test_any_head_is_read_as_it_is_by_http_client(head: bytes) -> None:
    """The same, for anything."""
    content = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nbody"
    assert read(Answer, content) == read(http.client.HTTPResponse, content)


def test_pools_of_the_user_stay() -> None:
    """Only `urllib3`'s own pools are replaced, by the same ones each time."""

    class Own(HTTPSConnectionPool):
        pass

    manager = PoolManager()
    manager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": Own}
    for _ in range(2):
        PoolingAdapter()._use_pools(manager)
        assert manager.pool_classes_by_scheme == {"http": POOLS["http"], "https": Own}


def test_pools_of_socks_proxies() -> None:
    """Their connections are made as `urllib3` makes them for SOCKS, and are of our class besides."""

    class Connection(HTTPConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    Pool.__module__ = "urllib3.contrib.socks"
    manager = PoolManager()
    manager.pool_classes_by_scheme = {"http": Pool}
    PoolingAdapter()._use_pools(manager)
    kind = manager.pool_classes_by_scheme["http"]
    assert issubclass(kind, Pool)
    assert issubclass(kind.ConnectionCls, Connection)
    assert kind.ConnectionCls.response_class is Answer
