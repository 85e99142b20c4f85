"""Addresses that are notified when tasks are waiting in agent stages: registers them, and lists their notifications."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import Field

from encord_agents.local import notifications
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.notifications import Notification
from encord_agents.local.service import Service
from encord_agents.local.trouble import LocalPlatformError
from encord_agents.local.written import Options, Seconds

BATCH_SIZE = 100
MAX_WAIT = 1.0
MOST = 20
"""The most registered addresses: each move of a task is counted for every one of them."""
LONGEST = 2_000
"""The most characters of an address or a secret."""


@dataclass(frozen=True)
class Receiver:
    """An address that is notified.

    Attributes:
        secret: The secret that its notifications are signed with.
        project: The hash of the only project that it is notified of; ``None``: all projects.
        stage: The uuid of the only stage that it is notified of; ``None``: all agent stages.
        batch_size: The number of arrived tasks after which it is notified at once.
        max_wait: Seconds after which it is notified of fewer tasks.
    """

    id: int
    address: str
    secret: str
    project: str | None
    stage: str | None
    batch_size: int
    max_wait: float
    created_at: float


class _Bounds(Options):
    batch_size: int = Field(ge=1, le=1_000_000)
    max_wait: Seconds


class Receivers:
    """The addresses that a platform notifies; available as ``LocalPlatform.receivers``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._database = service.database

    def add(
        self,
        address: str,
        *,
        secret: str | None = None,
        project: str | None = None,
        stage: str | None = None,
        batch_size: int = BATCH_SIZE,
        max_wait: float = MAX_WAIT,
    ) -> Receiver:
        """Notify an address from now on, also of tasks that are waiting already.

        An address that is registered for the same project and stage gets the new secret, batch size and wait.

        Args:
            address: The URL to POST to, for instance ``http://127.0.0.1:8000/notifications``.
            secret: Signs the notifications; the receiver's ``ENCORD_WEBHOOK_SECRET``. Default: a new one.
            project: Only notify of this project, by its hash.
            stage: Only notify of this agent stage of the project, by title or uuid.
            batch_size: Notify as soon as this many tasks have arrived in a stage.
            max_wait: Seconds after which fewer tasks are enough.

        Raises:
            LocalPlatformError: An argument is not valid, or there are too many addresses.
        """
        address = _checked(address)
        _Bounds(batch_size=batch_size, max_wait=max_wait)
        if secret is not None and not (0 < len(secret) <= LONGEST and secret.isprintable()):
            raise LocalPlatformError(f"A secret has 1 to {LONGEST} printable characters.")
        record = self._project(project) if project is not None else None
        uuid = _stage(record, stage) if stage is not None else None
        key = (address, record.id if record else None, uuid)
        with self._database.write() as connection:
            known = connection.execute(
                "SELECT id, secret FROM receivers WHERE address = ? AND project IS ? AND stage IS ?", key
            ).fetchone()
            if known is None and connection.execute("SELECT count(*) FROM receivers").fetchone()[0] >= MOST:
                raise LocalPlatformError(f"{MOST} addresses are registered, and that is all there can be.")
            secret = secret or (known["secret"] if known else secrets.token_hex(32))
            if known is None:
                id = connection.execute(
                    "INSERT INTO receivers (address, project, stage, secret, batch_size, max_wait, created_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*key, secret, batch_size, max_wait, time.time()),
                ).lastrowid
                assert id is not None
            else:
                id = known["id"]
                connection.execute(
                    "UPDATE receivers SET secret = ?, batch_size = ?, max_wait = ? WHERE id = ?",
                    (secret, batch_size, max_wait, id),
                )
            notifications.tell_of_all(connection, id)
            return _receiver(connection.execute(f"{_SELECT} WHERE r.id = ?", (id,)).fetchone())

    def registered(self, address: str, *, project: str | None = None, stage: str | None = None) -> list[Receiver]:
        """Return the registrations of an address, with or without a slash at its end.

        Args:
            project: Only registrations for this project, by its hash.
            stage: Only registrations for this agent stage of the project, by title or uuid.

        Raises:
            LocalPlatformError: An argument is not valid.
        """
        address = _checked(address).rstrip("/")
        record = self._project(project) if project is not None else None
        uuid = _stage(record, stage) if stage is not None else None
        return [
            one
            for one in self
            if one.address.rstrip("/") == address
            and (record is None or one.project == record.hash)
            and (uuid is None or one.stage == uuid)
        ]

    def remove(self, receiver: Receiver | int) -> None:
        """Stop notifying an address, and drop its undelivered notifications.

        Raises:
            LocalPlatformError: It is not registered.
        """
        with self._named(receiver) as (connection, id):
            connection.execute("DELETE FROM receivers WHERE id = ?", (id,))
            connection.execute("DELETE FROM arrivals WHERE receiver = ?", (id,))
            connection.execute("DELETE FROM notifications WHERE receiver = ?", (id,))

    def tell(self, receiver: Receiver | int) -> None:
        """Notify an address at once of every agent stage with tasks, and retry its undelivered notifications.

        Raises:
            LocalPlatformError: It is not registered.
        """
        with self._named(receiver) as (connection, id):
            notifications.tell_of_all(connection, id)

    def sent(self, limit: int = notifications.KEPT) -> list[Notification]:
        """Return the latest notifications, latest first."""
        return notifications.latest(self._database, limit)

    def __iter__(self) -> Iterator[Receiver]:
        with self._database.read() as connection:
            rows = connection.execute(f"{_SELECT} ORDER BY r.id").fetchall()
        return map(_receiver, rows)

    def __len__(self) -> int:
        with self._database.read() as connection:
            return int(connection.execute("SELECT count(*) FROM receivers").fetchone()[0])

    @contextmanager
    def _named(self, receiver: Receiver | int) -> Iterator[tuple[sqlite3.Connection, int]]:
        id = receiver.id if isinstance(receiver, Receiver) else receiver
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM receivers WHERE id = ?", (id,)).fetchone() is None:
                raise LocalPlatformError("No such address is registered.")
            yield connection, id

    def _project(self, hash: str) -> ProjectRecord:
        found = self._service.catalogue.project(str(hash).lower())
        if found is None:
            raise LocalPlatformError(f"There is no project {hash}.")
        return found


_SELECT = "SELECT r.*, p.hash AS hash FROM receivers r LEFT JOIN projects p ON p.id = r.project"


def _receiver(row: sqlite3.Row) -> Receiver:
    return Receiver(
        row["id"], row["address"], row["secret"], row["hash"], row["stage"], row["batch_size"], row["max_wait"],
        row["created_at"],
    )  # fmt: skip


def _checked(address: str) -> str:
    """Normalise an address.

    Raises:
        LocalPlatformError: It is not an address that can be notified.
    """
    address = address.strip()
    wrong = f"{address[:100]!r} is not an address to notify: give one like http://127.0.0.1:8000/notifications."
    if len(address) > LONGEST or not address.isascii() or not address.isprintable() or " " in address:
        raise LocalPlatformError(wrong)
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise LocalPlatformError(wrong)
    if parts.username is not None or parts.password is not None:
        raise LocalPlatformError("There is a user or a password in the address: leave them out, the secret signs.")
    return parts._replace(path=parts.path or "/", fragment="").geturl()


def _stage(record: ProjectRecord | None, stage: str) -> str:
    if record is None:
        raise LocalPlatformError("A stage is one of a project: say which project, too.")
    found = [one for one in record.stages.values() if stage in (one.title, one.uuid)]
    if len(found) != 1 or found[0].type != "agent":
        there = ", ".join(repr(one.title) for one in record.stages.values() if one.type == "agent")
        raise LocalPlatformError(f"{stage!r} is not an agent stage of this project; there are {there or 'none'}.")
    return found[0].uuid
