"""The HTTP server, which runs in a thread of its own."""

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
"""Iterations of the event loop in which an accepted connection gets its protocol: three, and some to spare."""
FILES_OPEN = 0.1
"""Seconds after which a file that is being opened for an answer is surely open."""


class _Uvicorn(uvicorn.Server):
    """A Uvicorn server that signals when it is up, and shuts down at once: it aborts requests in flight."""

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
        # Connections that were accepted a moment ago are not yet in the list below. If they were missed, they would
        # stay open with no server behind them, and their clients would wait for an answer until they time out.
        for _ in range(ACCEPTING):
            await asyncio.sleep(0)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        if tasks := list(self.server_state.tasks):
            # Cancelling a task while a thread opens a file for it would leak the open file.
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
        port: 0 takes a free port.

    Raises:
        LocalPlatformError: The port is taken.
    """

    def __init__(self, port: int) -> None:
        # asyncio disables Nagle's algorithm only if the socket's protocol is given as TCP. With it, the body of an
        # answer on a keep-alive connection would wait 40 ms for the client to acknowledge the headers.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
            # Listens now, not when the server starts: with SO_REUSEADDR, two processes can bind the same port, and only
            # listen() fails for the second.
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
            # The client's address must be that of its connection, whatever headers say: `hang_up` finds it by that.
            proxy_headers=False,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            # As long as load balancers do: after uvicorn's five seconds, clients would often reuse a closed connection.
            timeout_keep_alive=75,
            # 300 ids in a query make a request line longer than the default limit.
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
