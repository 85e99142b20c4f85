"""Connection pools of `urllib3` that use less CPU time, on both sides. The bytes sent are the same.

According to the source of CPython 3.11 to 3.13, `http.client` sends the headers and the body of a request separately,
in two packets, and reads the headers of a response with the parser for e-mail.
"""

from __future__ import annotations

import http.client
import re
import types
from functools import cache
from typing import Any

from requests import PreparedRequest
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

from encord_agents.core.trust import TrustingAdapter

__all__ = ["Answer", "LeanConnection", "PoolingAdapter"]

SMALL = 64 * 1024
"""The largest body, in bytes, that is copied after the headers. A larger one is sent separately, in pieces of this
size: a timeout applies to each of them, and not to all of a large row's labels."""
SENDING = 60.0
"""Seconds that a piece of a body may take, if the connect timeout is shorter: `urllib3` sends under that one."""

_PLAIN = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n){1,90}\r\n")
"""Plain headers: ASCII lines of a name and a value, none of them folded, and the empty line after them."""


def _parse_headers(fp: Any, *args: Any, **options: Any) -> Any:
    """Parse headers as `http.client.parse_headers` does, and by calling it if they are incomplete or not plain."""
    plain = _PLAIN.match(fp.peek()) if hasattr(fp, "peek") else None
    if plain is None:
        return http.client.parse_headers(fp, *args, **options)
    message = http.client.HTTPMessage()
    for line in fp.read(plain.end()).decode("ascii").split("\r\n")[:-2]:
        name, _, value = line.partition(":")
        message[name] = value.lstrip(" \t")
    message.set_payload("")
    return message


class Answer(http.client.HTTPResponse):
    """A response whose headers are parsed at less cost, if they are plain, as nearly all are."""

    # `begin` looks up `parse_headers` in its globals, so this copy of it with other globals calls ours.
    if "parse_headers" in http.client.HTTPResponse.begin.__code__.co_names:
        begin = types.FunctionType(
            http.client.HTTPResponse.begin.__code__, {**vars(http.client), "parse_headers": _parse_headers}, "begin"
        )


class LeanConnection(HTTPConnection):
    """Sends a small request in one piece: one system call, one packet, and one read for the server.

    A large one may take as long as it needs, while its pieces get through.
    """

    response_class = Answer
    _held: list[bytes] | None = None

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()  # within the connect timeout
        if self.timeout is not None:
            self.timeout = max(self.timeout, SENDING)  # until the pool sets the read timeout
        if not isinstance(body, bytes | str) or len(body) > SMALL:
            super().request(method, url, body, *args, **options)
            return
        held: list[bytes] = []
        self._held = held
        try:
            super().request(method, url, body, *args, **options)
        finally:
            self._held = None
        super().send(b"".join(held))

    def send(self, data: Any) -> None:
        if self._held is not None:
            self._held.append(data)
        elif isinstance(data, bytes) and len(data) > SMALL:
            for start in range(0, len(data), SMALL):
                super().send(memoryview(data)[start : start + SMALL])
        else:
            super().send(data)


@cache
def _with(connection: type[HTTPConnection], pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Return a pool class of `urllib3` whose connections are also of a class. A user's pool class stays as it is."""
    if not pool.__module__.startswith("urllib3."):
        return pool
    usual = pool.ConnectionCls
    return type(pool.__name__, (pool,), {"ConnectionCls": type(usual.__name__, (connection, usual), {})})


class PoolingAdapter(TrustingAdapter):
    """Connects through pools in place of `urllib3`'s own, also through proxies, SOCKS ones included.

    Pools that a user registers are kept.
    """

    connection: type[HTTPConnection] = LeanConnection
    """The class that all connections are of, besides the class that `urllib3` has for their protocol."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self._latest: tuple[Any, Any] = None, None  # the origin and trust of the latest request, and its pool
        self._use_pools(self.poolmanager)

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool for a request. The latest is cached, since `requests` calls this for every request."""
        if proxies or cert is not None:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        wanted = (request.url or "").split("/", 3)[:3], verify
        known, pool = self._latest  # read and replaced in one step: other threads use this adapter too
        if known != wanted:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._latest = wanted, pool
        return pool

    def close(self) -> None:
        self._latest = None, None  # a pool closes its connections once nothing refers to it
        super().close()

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **more)
        self._use_pools(manager)
        return manager

    def _use_pools(self, manager: PoolManager) -> None:
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: _with(self.connection, pool) for scheme, pool in pools.items()}  # type: ignore[arg-type]
