"""The HTTP protocol that `encord-agents serve` gives to uvicorn: answers are sent without delay."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from uvicorn.protocols.http.auto import AutoHTTPProtocol

__all__ = ["PromptProtocol"]


class PromptProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Sends the body of an answer without waiting for the client to acknowledge its headers.

    asyncio does this for sockets that it has created, but not for those that uvicorn creates for several workers or
    ``--reload``: there the body would come 40 ms later (Nagle's algorithm and delayed acknowledgements).
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a new connection."""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            with suppress(OSError):  # the client has disconnected
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
