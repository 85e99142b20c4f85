"""Sends notifications in background threads, so that no request to the platform ever waits for a receiver."""

from __future__ import annotations

import hashlib
import hmac
import io
import logging
import socket
import sqlite3
import time
from http import HTTPStatus
from http.client import HTTPResponse
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from encord_agents.local import notifications
from encord_agents.local.notifications import Sending
from encord_agents.local.origins import is_here
from encord_agents.local.service import Service
from encord_agents.local.trouble import LocalPlatformError

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.2
"""Seconds between two polls: another process on the same directory may move tasks and register addresses."""
SECONDS_TO_CONNECT = 5.0
SECONDS_TO_ANSWER = 10.0
MOST_AT_ONCE = 8
"""The most requests in flight, at most one per receiver."""
SIGNATURE, TIMESTAMP = "X-Encord-Signature", "X-Encord-Timestamp"


class Notifier:
    """Polls for due notifications, and sends each until it is answered with 200, as the real platform does.

    A notification is delivered at least once: if the platform ends before it has recorded the answer, it is sent again,
    with the same uid.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopped = Event()
        self._thread = Thread(target=self._work, name="local-platform-notifier", daemon=True)
        self._busy: set[int] = set()
        self._lock = Lock()

    def start(self) -> None:
        notifications.try_all_again(self._service.database)
        self._thread.start()

    def stop(self) -> None:
        """Stop sending. Requests in flight are not waited for."""
        self._stopped.set()
        self._thread.join(5)

    def _work(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            try:
                self._look()
            except (LocalPlatformError, sqlite3.Error) as error:
                if not self._stopped.is_set():
                    logger.error("Notifications wait: %s", error)
                    self._stopped.wait(SECONDS_TO_ANSWER)

    def _look(self) -> None:
        database, now = self._service.database, time.time()
        notifications.collect(database, self._service.catalogue, now)
        for sending in notifications.due(database, now):
            with self._lock:
                if sending.receiver in self._busy or len(self._busy) >= MOST_AT_ONCE:
                    continue
                self._busy.add(sending.receiver)
            try:
                Thread(target=self._send, args=(sending,), name="local-platform-notification", daemon=True).start()
            except RuntimeError:  # the system has no thread to spare: it is due at the next look, too
                self._no_longer_busy(sending.receiver)
                return

    def _send(self, sending: Sending) -> None:
        try:
            at, start = time.time(), time.monotonic()
            accepted, answer = post(sending.address, sending.body, sending.secret)
            taken = time.monotonic() - start
            notifications.answered(
                self._service.database, sending.uid, answer, accepted=accepted, at=at, seconds=taken, now=time.time()
            )
        except (LocalPlatformError, sqlite3.Error) as error:  # closed meanwhile, or no space: it is sent again later
            if not self._stopped.is_set():
                logger.error("A notification cannot be recorded: %s", error)
        finally:
            self._no_longer_busy(sending.receiver)

    def _no_longer_busy(self, receiver: int) -> None:
        with self._lock:
            self._busy.discard(receiver)


def signature(body: bytes, timestamp: str, secret: str) -> str:
    """Return the signature that `encord_agents.core.webhooks` verifies."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(address: str, body: bytes, secret: str) -> tuple[bool, str]:
    """Send a body. Return whether it was accepted, and the answer's status or the reason why there was none."""
    import requests

    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "encord-agents-local-platform",
        SIGNATURE: signature(body, timestamp, secret),
        TIMESTAMP: timestamp,
    }
    with _session() as session:
        # A proxy from the environment cannot reach this machine's own receivers.
        session.trust_env = not is_here(urlsplit(address))
        try:
            # The answer's body is never read, however long it is.
            with session.post(
                address, data=body, headers=headers, timeout=(SECONDS_TO_CONNECT, SECONDS_TO_ANSWER),
                allow_redirects=False, stream=True,
            ) as answer:  # fmt: skip
                return answer.status_code == HTTPStatus.OK, _status(answer.status_code)
        except (requests.RequestException, OSError, ValueError) as error:
            return False, _reason(error)


class _Timed(io.RawIOBase):
    """Reads a socket until its timeout has passed once, however slowly bytes arrive."""

    def __init__(self, raw: io.RawIOBase, connected: socket.socket) -> None:
        self._raw, self._socket = raw, connected
        self._until = time.monotonic() + (connected.gettimeout() or SECONDS_TO_ANSWER)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if (left := self._until - time.monotonic()) <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), sock))


def _session() -> requests.Session:
    """Return a session whose timeout is for an answer as a whole, not for each of its bytes."""
    import requests
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **more: Any) -> Any:
            pool: Any = super().get_connection_with_tls_context(*args, **more)
            pool.ConnectionCls = type("Connection", (pool.ConnectionCls,), {"response_class": _Answer})
            return pool

    session = requests.Session()
    session.mount("http://", Adapter())
    session.mount("https://", Adapter())
    return session


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _reason(error: BaseException) -> str:
    """Explain in a few words why there was no answer."""
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {SECONDS_TO_CONNECT:g} s"
    if isinstance(error, requests.Timeout):
        return f"no answer within {SECONDS_TO_ANSWER:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    seen: Any = error
    for _ in range(10):  # the operating system's own message is the innermost
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        inner = [getattr(seen, "reason", None), *getattr(seen, "args", ()), getattr(seen, "__context__", None)]
        seen = next((found for found in inner if isinstance(found, BaseException)), None)
    return "the connection was closed" if isinstance(error, requests.ConnectionError) else type(error).__name__
