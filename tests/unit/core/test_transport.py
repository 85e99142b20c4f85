"""How files are asked for: over connections that stay open, by the ways that the environment names."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from encord_agents.core import transport
from encord_agents.core.transport import TransportError, open_url

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
            self.send_response(307 if "elsewhere" in self.path else 200)
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


def test_certificates_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authorities are those of `REQUESTS_CA_BUNDLE`, a file or a directory, else those that `requests` brings."""

    def settings() -> dict[str, Any]:
        return transport._make_manager("https://storage.example/").connection_pool_kw

    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    assert settings()["ca_certs"] == transport.DEFAULT_CA_BUNDLE_PATH
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    assert settings()["ca_certs"] == str(tmp_path / "bundle.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert settings()["ca_cert_dir"] == str(tmp_path)


@pytest.mark.parametrize(
    ("url", "words", "may_pass"),
    [
        ("ftp://storage.example/secret", "an address that is none", False),
        ("https:///secret", "an address that is none", False),
        ("http://[secret", "an address that is none", False),
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
