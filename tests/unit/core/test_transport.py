"""How files are asked for: over connections that stay open, by the ways that the environment names."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from tests.proxies import forward_proxy, use_proxy
from tests.servers import answering, private_authority, tls_before
from tests.waiting import until

from encord_agents.core import transport
from encord_agents.core.transport import TransportError, hang_up, open_url

TIMEOUT = (5.0, 5.0)


@dataclass
class Host:
    """A storage host that notes what it is asked, and over how many connections."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    clients: set[tuple[str, int]] = field(default_factory=set)

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host.asked.append(self.path)
            host.headers.append(dict(self.headers))
            host.clients.add(self.client_address)
            body = b"the file"
            asks_for_cookie = "cookie" in self.path and "Cookie" not in self.headers
            self.send_response(307 if "elsewhere" in self.path or asks_for_cookie else 200)
            if asks_for_cookie:
                self.send_header("Set-Cookie", "seen=1; Path=/")
                away = f"http://localhost:{server.server_port}/there"
                self.send_header("Location", away if "away" in self.path else self.path)
            if "elsewhere" in self.path:
                there = self.path.removesuffix("elsewhere") if "loop" not in self.path else "#"
                there = "/bücher".encode().decode("latin-1") if "letters" in self.path else there
                self.send_header("Location", there)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield host
    server.shutdown()
    server.server_close()
    thread.join()


def body_of(url: str) -> bytes:
    with open_url(url, TIMEOUT) as response:
        assert response.status == 200
        return b"".join(response.stream(1024))


def test_connections_stay_open(host: Host) -> None:
    """One connection serves one request after the other, from whatever thread."""
    for _ in range(5):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(body_of, host.url("/a?signature=s")).result() == b"the file"
    assert len(host.asked) == 5
    assert len(host.clients) == 1
    assert all(headers["Accept-Encoding"] == "identity" for headers in host.headers)
    assert all(headers["User-Agent"].startswith("encord-agents/") for headers in host.headers)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_opens_its_own(host: Host) -> None:
    """A forked process does not talk on its parent's connections."""
    body_of(host.url("/parent"))
    child = os.fork()
    if child == 0:
        os._exit(0 if body_of(host.url("/child")) == b"the file" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert body_of(host.url("/parent")) == b"the file"
    assert len(host.clients) == 2


def test_redirects(host: Host) -> None:
    """A redirect is followed; one that leads nowhere ends."""
    assert body_of(host.url("/a/elsewhere")) == b"the file"
    assert host.asked == ["/a/elsewhere", "/a/"]
    with pytest.raises(TransportError, match="redirected 10 times") as error:
        body_of(host.url("/loop/elsewhere"))
    assert not error.value.may_pass


def test_cookies_of_redirects(host: Host) -> None:
    """A gateway that redirects to the same address with a cookie gets it back. No other file's request has it."""
    assert body_of(host.url("/cookie/a")) == b"the file"
    assert [headers.get("Cookie") for headers in host.headers] == [None, "seen=1"]
    assert body_of(host.url("/b")) == b"the file"
    assert body_of(host.url("/cookie/a")) == b"the file"
    assert [headers.get("Cookie") for headers in host.headers[2:]] == [None, None, "seen=1"]


def test_cookies_stay_with_their_host(host: Host) -> None:
    """A host that is redirected to does not get the cookie of another."""
    assert body_of(host.url("/cookie/away")) == b"the file"
    assert host.asked == ["/cookie/away", "/there"]
    assert "Cookie" not in host.headers[1]


def test_redirects_keep_connections(host: Host) -> None:
    """What a redirect says is read, so that the next request, and the next file's, need no new connection."""
    for _ in range(3):
        assert body_of(host.url("/a/elsewhere")) == b"the file"
    assert len(host.asked) == 6
    assert len(host.clients) == 1


def test_a_redirect_to_letters_of_all_kinds(host: Host) -> None:
    """They are sent as UTF-8, as they came."""
    assert body_of(host.url("/letters/elsewhere")) == b"the file"
    assert host.asked[-1] == "/b%C3%BCcher"


def test_a_proxy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of the environment is asked, without its scheme too, unless the host is an exception."""
    monkeypatch.setenv("http_proxy", host.address)
    monkeypatch.setenv("no_proxy", "")
    assert body_of("http://storage.example/a?signature=s") == b"the file"
    assert host.asked == ["http://storage.example/a?signature=s"]
    monkeypatch.setenv("http_proxy", "127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert body_of(host.url("/direct")) == b"the file"


@pytest.fixture
def trusted_by_nobody(host: Host, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A storage host behind TLS, whose certificate a private authority signed; and the authority's certificate."""
    context, authority = private_authority(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if "down" in self.path else 200)
            if "down" in self.path:
                self.send_header("Location", host.url("/plain"))
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"the file")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://localhost:{server.server_port}", authority
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: connections know the certificates that were trusted when they were made."""
    monkeypatch.setattr(transport, "_sessions", {})
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_session")
def test_a_certificate_that_is_not_trusted(trusted_by_nobody: tuple[str, Path]) -> None:
    """It does not pass with time, and the message names what to do."""
    url, _ = trusted_by_nobody
    with pytest.raises(TransportError, match="REQUESTS_CA_BUNDLE") as error:
        open_url(f"{url}/secret", TIMEOUT)
    assert error.value.certificate
    assert not error.value.may_pass
    assert "secret" not in str(error.value)


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("how", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "adapter", "no verification"])
def test_trust_as_the_sdk_has_it(
    how: str, trusted_by_nobody: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever makes `requests` trust a host, and so the SDK, makes its files trusted, too."""
    url, authority = trusted_by_nobody
    if how == "adapter":  # as packages do that have `requests` use the system's certificates
        init = HTTPAdapter.init_poolmanager
        context = ssl.create_default_context(cafile=str(authority))

        def with_context(self: HTTPAdapter, *args: Any, **options: Any) -> None:
            init(self, *args, **options, ssl_context=context)

        monkeypatch.setattr(HTTPAdapter, "init_poolmanager", with_context)
    elif how == "no verification":
        merge = requests.Session.merge_environment_settings

        def unverified(self: requests.Session, *args: Any) -> Any:
            return {**merge(self, *args), "verify": False}

        monkeypatch.setattr(requests.Session, "merge_environment_settings", unverified)
    else:
        monkeypatch.setenv(how, str(authority))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of urllib3, about what is not verified
        assert body_of(f"{url}/a?signature=s") == b"the file"


@pytest.mark.usefixtures("no_session")
def test_no_way_down_from_https(
    host: Host, trusted_by_nobody: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect from https to http is not followed: what is labelled could be read and changed on the way."""
    url, authority = trusted_by_nobody
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    with pytest.raises(TransportError, match="from https to http") as error:
        open_url(f"{url}/down", TIMEOUT)
    assert not error.value.may_pass
    assert host.asked == []


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("secure", [False, True])
def test_given_up_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    """A download through a tunnel is left at once, also if the proxy itself speaks TLS, so that there is TLS in TLS."""
    context, authority = private_authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    asked = threading.Event()
    sockets: list[Any] = []

    def silence(connection: socket.socket) -> None:
        asked.set()
        connection.recv(1)  # until the client ends it

    with (
        forward_proxy(context=context if secure else None) as proxy,
        answering(silence) as host,
        tls_before(host.partition("/file")[0], context) as url,
        ThreadPoolExecutor(1) as pool,
    ):
        use_proxy(monkeypatch, proxy)
        download = pool.submit(open_url, f"{url}/file", (60.0, 60.0), begun=sockets.append)
        # The first answer is that of the proxy to the request for a tunnel.
        assert until(lambda: download.done() or (asked.is_set() and len(sockets) == 2))
        hang_up(sockets[1])
        assert "in time" not in str(download.exception())
        assert isinstance(download.exception(), TransportError)


def test_given_up_whatever_the_socket_is() -> None:
    """A socket that cannot be shut down is left alone: its download ends later, and nothing else fails."""
    hang_up(object())  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize(
    ("proxy", "words", "may_pass"),
    [
        (407, r"asks for a name and a password \(HTTP status 407\).*HTTPS_PROXY", False),
        (403, r"does not connect to it \(HTTP status 403\).*storage\.example in NO_PROXY", False),
        (429, "the proxy did not let the request through", True),
        (503, "the proxy did not let the request through", True),
        ("http://127.0.0.1:9", "the proxy did not let the request through", True),
        ("http://me:hidden@s:s/#w@127.0.0.1:9", "HTTPS_PROXY is not the address of a proxy.*%XX", False),
        ("127.0.0.1:hidden", "HTTPS_PROXY is not the address of a proxy", False),
        ("http://:9", "HTTPS_PROXY is not the address of a proxy", False),
        ("socks5h://127.0.0.1:9", r"SOCKS proxy.*requests\[socks\]", False),
    ],
)
def test_a_proxy_at_fault(monkeypatch: pytest.MonkeyPatch, proxy: int | str, words: str, may_pass: bool) -> None:
    """Its mistake is not blamed on the platform or the storage host, and its remedy is named; no address is."""
    with forward_proxy(refusal=proxy if isinstance(proxy, int) else None) as address:
        use_proxy(monkeypatch, address if isinstance(proxy, int) else proxy)
        with pytest.raises(TransportError, match=words) as error:
            open_url("https://storage.example/a?signature=secret", TIMEOUT)
    assert error.value.may_pass is may_pass
    assert error.value.__context__ is None
    assert "secret" not in str(error.value)
    assert "hidden" not in str(error.value)


def test_a_url_that_is_none_beside_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not blamed on the proxy."""
    use_proxy(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(TransportError, match="the platform returned an invalid URL"):
        open_url("http://*.storage.example/a", TIMEOUT)


def test_no_secret_in_any_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody logs the query of a signed URL, at any level, also where it is redirected."""
    caplog.set_level(logging.DEBUG)
    body_of(host.url("/a?signature=secret"))
    body_of(host.url("/b?signature=secret&elsewhere"))
    assert "/a?..." in caplog.text
    assert "secret" not in caplog.text


def test_credentials_of_a_netrc_stay(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a user in the URL nor one in .netrc is sent to the storage host."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    body_of(host.url("/a"))
    body_of(f"http://me:secret@{host.address}/a")
    assert not any("Authorization" in headers for headers in host.headers)


@pytest.mark.parametrize(
    ("url", "words", "may_pass"),
    [
        ("ftp://storage.example/secret", "an invalid URL", False),
        ("https:///secret", "an invalid URL", False),
        ("http://[secret", "an invalid URL", False),
        ("http://127.0.0.1:9/secret", "no connection to the storage host", True),
    ],
)
def test_no_answer(url: str, words: str, may_pass: bool) -> None:
    """What went wrong is said without the URL, and whether it may pass."""
    with pytest.raises(TransportError, match=words) as error:
        open_url(url, TIMEOUT)
    assert error.value.may_pass is may_pass
    assert "secret" not in str(error.value)
    assert error.value.__context__ is None


@pytest.mark.usefixtures("no_session")
def test_no_handle_for_a_connection(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told from a host that does not answer: it is this machine that has none left."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("urllib3.util.connection.socket.socket", refuse)
    with pytest.raises(TransportError) as error:
        open_url(host.url("/a?secret"), TIMEOUT)
    assert error.value.ran_out is not None
    assert error.value.ran_out.errno == errno.EMFILE
    assert "secret" not in str(error.value)
