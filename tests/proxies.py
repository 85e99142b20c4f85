"""Forward proxies, as organisations have them."""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import pytest
from tests.servers import PAGE, serving

__all__ = ["forward_proxy", "use_proxy"]


@contextmanager
def forward_proxy(*, refusal: int | None = None, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A proxy that makes tunnels, and answers all other requests with a page of its own.

    Args:
        refusal: The status that it refuses everything with.
        context: Makes it speak TLS itself.
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            method, target, _ = self.rfile.readline().decode().split(" ")
            while self.rfile.readline().strip():
                pass
            if method != "CONNECT" or refusal is not None:
                status = HTTPStatus(refusal or 403)
                head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: {len(PAGE)}\r\n\r\n"
                self.wfile.write(head.encode() + PAGE)
                return
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pass_on, args=(there, self.connection))
                back.start()
                pass_on(self.connection, there)
                back.join()

    def pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                socket.socket.shutdown(end, socket.SHUT_RDWR)

    proxy = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    proxy.daemon_threads = True
    proxy.block_on_close = False
    proxy.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
    with serving(proxy):
        yield f"{'https' if context else 'http'}://localhost:{proxy.server_address[1]}"


def use_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """Have the environment name this proxy for everything, and no other, as of the machine that the tests run on."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
