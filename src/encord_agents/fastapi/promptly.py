"""The protocol with which `encord-agents serve` has uvicorn speak: answers leave at once."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from uvicorn.protocols.http.auto import AutoHTTPProtocol

__all__ = ["PromptProtocol"]


class PromptProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Sends the body of an answer without waiting for the caller to confirm its head.

    asyncio sees to that for sockets that it has made, but not for those that uvicorn makes for several workers or for
    ``--reload``: there the body would come 40 ms later (Nagle's algorithm, against delayed acknowledgements).
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a new connection."""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            with suppress(OSError):  # the caller has left
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
