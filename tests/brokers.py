"""Message brokers that tests start: processes of their own, on free ports of the loopback interface."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port
from tests.waiting import PATIENCE, until

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass
class Broker:
    """A message broker's process, on a port of its own on the loopback interface."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    kind = ""

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def start(self) -> None:
        with open(self.folder / "broker.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert until(lambda: answers(self.port)), (self.folder / "broker.log").read_text()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(PATIENCE)

    def clear(self) -> None:
        """No message, no mark."""


class Redis(Broker):
    kind = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        # It saves when it is stopped, as Debian's does.
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "3600 1", "appendonly": "no"}
        return ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", str(value)))]

    def clear(self) -> None:
        import redis

        with redis.Redis(port=self.port) as client:
            client.flushall()


class RabbitMQ(Broker):
    kind = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._mapper, self._nodes = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        return [str(RABBITMQ)]

    def environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._nodes),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def stop(self) -> None:
        super().stop()
        subprocess.run(["epmd", "-kill"], env={**os.environ, **self.environment()}, capture_output=True, check=False)

    def clear(self) -> None:
        from celery import Celery

        app = Celery(broker=self.url)
        with app.connection_for_write() as connection, contextlib.suppress(Exception):
            connection.default_channel.queue_purge("celery")


@contextlib.contextmanager
def refusing_redis(answer: str) -> Iterator[str]:
    """The address of a Redis that gives every command the same answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                while commands := client.recv(65536):
                    number = commands.count(b"\r\n*") + commands.startswith(b"*")
                    client.sendall(f"-{answer}\r\n".encode() * number)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)


def running(kind: type[Broker], folder: Path) -> Iterator[Broker]:
    """A broker, until it is not needed any more."""
    broker = kind(folder)
    broker.start()
    yield broker
    with contextlib.suppress(Exception):
        broker.stop()
