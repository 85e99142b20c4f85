"""A network between client and platform, in a process of its own: distance, then TLS, then the platform.

Bytes take half a round trip in each direction, and a connection a whole one before anything can be sent on it, as its
handshake does. What needs a round trip of its own (TLS, a request) pays for it by itself. Bandwidth has no limit.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import certifi
from tests.servers import private_authority

__all__ = ["Network"]


class Network:
    """The way to a platform.

    Args:
        domain: The platform's, on the loopback interface.
        round_trip: Seconds.

    Attributes:
        domain: Where the platform is from the other side of it.
        trust: A file of certificates to trust: those that `requests` brings, and one more that has signed this one's.
            So a client has as much to load as with a public platform.
    """

    def __init__(self, domain: str, round_trip: float) -> None:
        self._directory = tempfile.TemporaryDirectory()
        settings = {"port": int(domain.rpartition(":")[2]), "round_trip": round_trip, "directory": self._directory.name}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.network", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            ready = self._answer()
        except BaseException:
            self.close()
            raise
        self.domain = f"https://localhost:{ready['port']}"
        self.trust = Path(ready["trust"])

    def connections(self) -> tuple[int, int]:
        """Return the numbers of connections that arrived at the far end so far: the platform's, and its files'."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        platform, files = self._answer()
        return int(platform), int(files)

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()  # which ends it
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The network's process has ended; see what it said above.")
        return json.loads(line)


class Direction:
    """Bytes on their way: each arrives half a round trip after it was sent, and in order."""

    def __init__(self, deliver: Callable[[bytes], None], delay: float, not_before: float = 0.0) -> None:
        self._deliver = deliver
        self._delay = delay
        self._not_before = not_before
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()

    def send(self, data: bytes) -> None:
        """Send bytes; none is the end."""
        arrives = max(self._loop.time() + self._delay, self._not_before)
        self._under_way.append((arrives, data))
        if len(self._under_way) == 1:
            self._loop.call_at(arrives, self._arrive)

    def _arrive(self) -> None:
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now + 0.0005:  # so exact is a loop's timer
            self._deliver(self._under_way.popleft()[1])
        if self._under_way:
            self._loop.call_at(self._under_way[0][0], self._arrive)


class Near(asyncio.Protocol):
    """The client's end."""

    def __init__(self, far_port: int, round_trip: float) -> None:
        self._far_port = far_port
        self._round_trip = round_trip
        self._early: list[bytes] = []
        self._out: Direction | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        # The client may send at once here, where it would have waited for the other side's word: so it pays now.
        self._set_up = loop.time() + self._round_trip
        back = Direction(lambda data: deliver(transport, data), self._round_trip / 2)
        self._opening = loop.create_task(self._open(back))

    async def _open(self, back: Direction) -> None:
        loop = asyncio.get_running_loop()
        far, _ = await loop.create_connection(lambda: Far(back), "127.0.0.1", self._far_port)
        half = self._round_trip / 2
        self._out = Direction(lambda data: deliver(far, data), half, self._set_up + half)
        for data in self._early:
            self._out.send(data)

    def data_received(self, data: bytes) -> None:
        if self._out is None:
            self._early.append(data)
        else:
            self._out.send(data)

    def eof_received(self) -> bool:
        self.data_received(b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.data_received(b"")


class Far(asyncio.Protocol):
    """The platform's end, before TLS."""

    def __init__(self, back: Direction) -> None:
        self._back = back

    def data_received(self, data: bytes) -> None:
        self._back.send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._back.send(b"")


def deliver(transport: asyncio.Transport, data: bytes) -> None:
    if data:
        transport.write(data)
    else:
        transport.close()


async def serve(settings: dict[str, Any]) -> None:
    """Serve; answer each line on stdin with the numbers of connections, until it is closed."""
    context, authority = private_authority(Path(settings["directory"]))
    trust = Path(settings["directory"]) / "trust.pem"
    trust.write_text(Path(certifi.where()).read_text() + authority.read_text())
    connections = [0, 0]

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65536)  # GET /assets/... HTTP/1.1
        connections[b" /assets/" in first.partition(b"\r")[0]] += 1
        inside, outside = await asyncio.open_connection("127.0.0.1", settings["port"])
        outside.write(first)
        await asyncio.gather(pass_on(reader, outside), pass_on(inside, writer))

    front = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context, backlog=1000)
    port = front.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    near = await loop.create_server(lambda: Near(port, settings["round_trip"]), "127.0.0.1", 0, backlog=1000)
    answer: Any = {"port": near.sockets[0].getsockname()[1], "trust": str(trust)}
    while True:
        print(json.dumps(answer), flush=True)
        if not await asyncio.to_thread(sys.stdin.readline):
            return
        answer = connections


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
