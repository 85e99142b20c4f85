"""Pools of `urllib3` whose connections cost less processor time, on both sides. What is sent is the same, byte by byte.

Read from CPython 3.11 to 3.13: `http.client` sends the head of a request and its body apart, in two packets, and reads
the head of an answer with the parser for e-mail.
"""

from __future__ import annotations

import http.client
import re
import types
from collections.abc import Mapping
from typing import Any

from requests import PreparedRequest
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from encord_agents.core.trust import TrustingAdapter

__all__ = ["Answer", "LeanPool", "LeanSecurePool", "PoolingAdapter"]

SMALL = 64 * 1024
"""Bytes of a body that is copied behind the head: to send a larger one by itself costs less than the copy."""

_PLAIN = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n){1,90}\r\n")
"""Lines of a name and a value, none of them folded, in ASCII, and the empty one behind them."""


def _parse_headers(fp: Any, *args: Any, **options: Any) -> Any:
    """Do what `http.client.parse_headers` does. A head that has not come as a whole, or is not plain, is left to it."""
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
    """An answer whose head is read at less cost, if it is as nearly all are."""

    if "parse_headers" in http.client.HTTPResponse.begin.__code__.co_names:
        begin = types.FunctionType(
            http.client.HTTPResponse.begin.__code__, {**vars(http.client), "parse_headers": _parse_headers}, "begin"
        )


class _OnePiece(HTTPConnection):
    """Sends a small request in one piece: one call of the system, one packet, and one thing to read for the server."""

    response_class = Answer
    _held: list[bytes] | None = None

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:
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
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _Connection(_OnePiece):
    pass


class _SecureConnection(_OnePiece, HTTPSConnection):
    pass


class LeanPool(HTTPConnectionPool):
    """A pool of connections over which small requests go in one piece."""

    ConnectionCls = _Connection


class LeanSecurePool(HTTPSConnectionPool):
    """The same, with TLS."""

    ConnectionCls = _SecureConnection


class PoolingAdapter(TrustingAdapter):
    """Connects by pools of these classes where it would by `urllib3`'s own, also through proxies. Those that a user
    registers stay."""

    plain: type[HTTPConnectionPool] = LeanPool
    secure: type[HTTPSConnectionPool] = LeanSecurePool

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self._latest: tuple[Any, Any] = None, None  # a pool, and what it is for
        self._use_pools(self.poolmanager)

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool for a request. Called by `requests`, which works it out anew each time."""
        if proxies or cert is not None:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        wanted = (request.url or "").split("/", 3)[:3], verify
        known, pool = self._latest  # one step, and so is the change: other threads use this adapter too
        if known != wanted:
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._latest = wanted, pool
        return pool

    def close(self) -> None:
        self._latest = None, None  # a pool's connections are closed when nobody has it any more
        super().close()

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **more)
        self._use_pools(manager)
        return manager

    def _use_pools(self, manager: PoolManager) -> None:
        ours: Mapping[type, type] = {HTTPConnectionPool: self.plain, HTTPSConnectionPool: self.secure}
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: ours.get(pool, pool) for scheme, pool in pools.items()}
