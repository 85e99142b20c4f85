"""Who answered, read from what the SDK really raises over real connections."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from encord import EncordUserClient
from encord.exceptions import EncordException
from encord.http.constants import RequestsSettings
from tests.brokers import free_port

from encord_agents.core.answers import foreign_answer, is_loopback, refused_certificate, unreachable
from encord_agents.local.keys import new_key

Answer = tuple[int, bytes]
PAGE = b"<!DOCTYPE html><html><head><title>App</title></head><body>" + b"<p>shell</p>" * 20_000 + b"</body></html>"


@contextmanager
def server(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that gives everybody the same answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer
            self.send_response(status)
            if status == 302 and self.path != "/login":
                self.send_header("Location", "/login")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://localhost:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def raised(domain: str) -> EncordException:
    """What the SDK raises when a project is opened there."""
    client = EncordUserClient.create_with_ssh_private_key(
        new_key(), domain=domain, requests_settings=RequestsSettings(max_retries=0, connection_retries=0)
    )
    with pytest.raises(EncordException) as caught:
        client.get_project("3f2504e0-4f89-11d3-9a0c-0305e82c3301")
    return caught.value


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, PAGE), "an HTML page"),
        ((401, PAGE), "an HTML page"),
        ((403, PAGE), "an HTML page"),
        ((404, PAGE), "an HTML page"),
        ((200, b""), "nothing"),
        ((200, b" \n"), "nothing"),
        ((404, b"Not \x1b[31mFound" + b"!" * 100), "text that is not JSON (Not \\x1b[31mFound" + "!" * 43 + "...)"),
        ((200, b'{"hello": "world"}'), "JSON that is not the API's"),
        ((200, b"[1]"), "JSON that is not the API's"),
        ((403, b'{"message": "no"}'), None),
        ((404, b'{"message": "no such project"}'), None),
    ],
)
def test_foreign_answers(answer: Answer, words: str | None) -> None:
    """A page, nothing, text and foreign JSON are told from the API's own refusals."""
    with server(answer) as domain:
        error = raised(domain)
    assert foreign_answer(error) == words
    assert unreachable(error) is None


def test_nobody_there() -> None:
    """A refused connection and a host that does not exist say so."""
    assert unreachable(raised(f"http://127.0.0.1:{free_port()}")) == "nobody listens there (the connection was refused)"
    assert unreachable(raised("http://no-such-host.invalid")) == "there is no host of that name"
    with server((200, b"")) as domain:
        assert "does not speak TLS" in (unreachable(raised(domain.replace("http:", "https:"))) or "")


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[], ssl.SSLContext]:
    """A context of a server with a certificate that nobody has signed."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def make() -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        signed = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        pem = tmp_path / "server.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    return make


def test_certificates(certificate: Callable[[], ssl.SSLContext]) -> None:
    """A certificate that is not accepted is told from an outage, with the variable that mends it."""
    with server((200, b""), certificate()) as domain:
        error = raised(domain)
    assert "self-signed certificate" in (refused_certificate(error) or "")
    assert "REQUESTS_CA_BUNDLE" in (unreachable(error) or "")
    assert refused_certificate(ValueError("something else")) is None


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:8765", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("https://api.encord.com", False),
        ("http://10.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_loopback(address: str, here: bool) -> None:
    """This machine is told from others."""
    assert is_loopback(address) is here
