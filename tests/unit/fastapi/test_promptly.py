"""The protocol of `encord-agents serve`: answers leave at once, whoever has made the socket."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from encord_agents.fastapi.promptly import PromptProtocol


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("protocol", [0, socket.IPPROTO_TCP], ids=["as for workers", "as asyncio makes them"])
def test_nobody_waits_for_an_acknowledgement(protocol: int) -> None:
    """Bodies of answers do not wait for their heads to be confirmed, which callers put off for 40 ms."""
    seen: list[int] = []

    class Noted(PromptProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def call() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as sock:
            sock.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(_app, http=Noted, lifespan="off", log_level="error"))
            serving = asyncio.ensure_future(server.serve(sockets=[sock]))
            while not server.started:
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            server.should_exit = True
            await serving
            return answer

    assert asyncio.run(call()).endswith(b"\r\n\r\nok")
    assert [value != 0 for value in seen] == [True]
