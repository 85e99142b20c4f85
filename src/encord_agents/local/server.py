"""The HTTP server, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
from threading import Event, Thread

import uvicorn
from starlette.types import ASGIApp, Scope

from encord_agents.local.trouble import LocalPlatformError

HOST = "127.0.0.1"
BACKLOG = 2048
ACCEPTING = 5
"""Turns of the event loop in which an accepted connection gets its protocol: three, and some to spare."""
FILES_OPEN = 0.1
"""Seconds in which a file that is being opened for an answer surely is open."""


class _Uvicorn(uvicorn.Server):
    """Uvicorn that says when it is up, and leaves at once: stalled requests are cut off, not waited for."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = Event()
        self._leave: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        await self.on_tick(0)
        self.up.set()
        await self._leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        # Connections that were accepted a moment ago are not among those below yet. Left alone, they would stay open
        # with nobody there, and their clients would wait for an answer until they lose patience.
        for _ in range(ACCEPTING):
            await asyncio.sleep(0)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        if tasks := list(self.server_state.tasks):
            # To be cancelled while a thread opens a file would leave it open, with nobody to close it.
            await asyncio.wait(tasks, timeout=FILES_OPEN)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)

    def leave(self) -> None:
        if self._loop is not None and self._leave is not None:
            self._loop.call_soon_threadsafe(self._leave.set)


class Server:
    """Serves an application on the loopback interface.

    Args:
        port: 0 takes a free one.

    Raises:
        LocalPlatformError: The port is taken.
    """

    def __init__(self, port: int) -> None:
        # asyncio turns Nagle's algorithm off only where the protocol is said to be TCP. With it, the body of an answer
        # on a kept connection waits 40 ms for the client to acknowledge the headers.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
            # Now and not when it serves: two who are bound would only find out about each other then.
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            raise LocalPlatformError(
                f"Port {port} of {HOST} cannot be used ({error.strerror}). Is another local platform running? "
                "Choose another port with --port (port=...)."
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._server: _Uvicorn | None = None
        self._thread: Thread | None = None

    def start(self, application: ASGIApp) -> None:
        config = uvicorn.Config(
            application,
            # Whoever asks is whoever is connected, whatever they say: that connection is the one to hang up.
            proxy_headers=False,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            # As load balancers do; with uvicorn's five seconds, clients that keep connections would find many closed.
            timeout_keep_alive=75,
            # 300 ids in a query make a request line that is longer than the default allows.
            h11_max_incomplete_event_size=2**20,
        )
        self._server = server = _Uvicorn(config)
        self._thread = Thread(target=server.run, args=([self._socket],), name="local-platform", daemon=True)
        self._thread.start()
        if not server.up.wait(10):
            raise LocalPlatformError("The local platform did not start within 10 s.")

    def hang_up(self, scope: Scope) -> None:
        """Close the connection that a request came on."""
        assert self._server is not None
        for connection in list(self._server.server_state.connections):
            if getattr(connection, "client", None) == tuple(scope["client"]) and connection.transport is not None:
                connection.transport.close()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.leave()
            self._thread.join(5)
        self._socket.close()
