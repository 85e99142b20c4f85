"""Servers that are not the platform, and ways to the platform that are not trusted."""

from __future__ import annotations

import datetime
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["PAGE", "Answer", "answering", "private_authority", "server", "serving", "tls_before"]

Answer = tuple[int, bytes]
PAGE = b"<!DOCTYPE html><html><head><title>App</title></head><body>" + b"<p>shell</p>" * 20_000 + b"</body></html>"


@contextmanager
def server(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that gives everybody the same answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer
            self.send_response(status)
            if status == 302:
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
    with serving(httpd):
        yield f"{'https' if context else 'http'}://localhost:{httpd.server_port}"


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread meanwhile."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def tls_before(domain: str, context: ssl.SSLContext) -> Iterator[str]:
    """A front that speaks TLS and hands everything on to a server that does not."""
    port = int(domain.rpartition(":")[2])

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection(("127.0.0.1", port)) as inside,
            ):
                back = threading.Thread(target=pass_on, args=(inside, outside))
                back.start()
                pass_on(outside, inside)
                back.join()

    def pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    front = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    front.daemon_threads = True
    front.block_on_close = False
    with serving(front):
        yield f"https://localhost:{front.server_address[1]}"


def usage(*, signs: bool) -> x509.KeyUsage:
    """The uses of the key of an authority, or of a server."""
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    unused = dict.fromkeys((*others, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, **unused)


def private_authority(directory: Path, *, strict: bool = True) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the certificate of the authority that signed the server's.

    Args:
        strict: With all that RFC 5280 asks for, as certificates need it from Python 3.13 on.
    """
    day, now = datetime.timedelta(days=1), datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", "localhost")]
    signed = []
    for key, name in zip(keys, names, strict=True):
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(names[0]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - day)
        builder = builder.not_valid_after(now + day)
        builder = builder.add_extension(x509.BasicConstraints(name is names[0], None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        if strict:
            for extension in (
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()),
            ):
                builder = builder.add_extension(extension, critical=False)
            builder = builder.add_extension(usage(signs=name is names[0]), critical=True)
        signed.append(builder.sign(keys[0], hashes.SHA256()))
    authority, server = directory / "authority.pem", directory / "server.pem"
    authority.write_bytes(signed[0].public_bytes(serialization.Encoding.PEM))
    server.write_bytes(
        signed[1].public_bytes(serialization.Encoding.PEM)
        + keys[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    return context, authority


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A host that answers each connection by hand."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    try:
                        answer(connection)
                    except OSError:  # the client has gone
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/file?signature=s"
        finally:
            server.shutdown(socket.SHUT_RDWR)
    thread.join()
