"""What the handlers of both protocols work with."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import UUID

import orjson

from encord_agents.local.assets import AssetStore, Clock, Signer
from encord_agents.local.catalogue import Catalogue, ProjectRecord
from encord_agents.local.database import Database
from encord_agents.local.trouble import LocalPlatformError, forbidden, malformed
from encord_agents.local.users import OWNER

T = TypeVar("T")


def count(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """An option that is a whole number.

    Raises:
        LocalPlatformError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise LocalPlatformError(f"{name} is a whole number {bounds}, not {value!r}.")
    return value


def seconds(name: str, value: Any, *, least: float | None = None) -> float:
    """An option that is a time.

    Raises:
        LocalPlatformError: It is something else.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or (least is not None and value < least):
        bounds = "" if least is None else f" of at least {least:g}"
        raise LocalPlatformError(f"{name} is a number of seconds{bounds}, not {value!r}.")
    return float(value)


@dataclass
class Settings:
    """What a test may switch, also while the platform runs. Seconds and counts; see ``LocalPlatform``.

    Raises:
        LocalPlatformError: A value that makes no sense, also when it is set later.
    """

    page_size: int = 100
    page_tokens: Literal["keyset", "offset"] = "keyset"
    shuffle: bool = False
    latency: float = 0.0
    latency_per_item: float = 0.0
    asset_latency: float | None = None
    body_limit: int = 256 * 2**20
    upload_limit: int = 16 * 2**30

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("page_size", "body_limit", "upload_limit"):
            count(name, value, least=1)
        elif name == "page_tokens" and value not in ("keyset", "offset"):
            raise LocalPlatformError(f"page_tokens is 'keyset' or 'offset', not {value!r}.")
        elif name.startswith(("latency", "asset_latency")) and not (name == "asset_latency" and value is None):
            seconds(name, value, least=0)
        object.__setattr__(self, name, value)


@dataclass
class Service:
    """The state, and how to answer about it."""

    database: Database
    catalogue: Catalogue
    assets: AssetStore
    signer: Signer
    settings: Settings
    clock: Clock = field(default_factory=Clock)
    domain: str = ""
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def link(self, item: str, name: str) -> str:
        return self.signer.url(self.domain, item, name)

    def arranged(self, things: list[T]) -> list[T]:
        """The answer's order: the platform promises none for most lists, and a test can insist on that."""
        if self.settings.shuffle and len(things) > 1:
            first = things[0]
            self.random.shuffle(things)
            if things[0] is first:  # never by chance the order that was asked for
                things.append(things.pop(0))
        return things

    def setting(self, name: str) -> Any:
        """A value that is kept under a name, or ``None``."""
        with self.database.read() as connection:
            row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else orjson.loads(row["value"])

    def set_setting(self, name: str, value: Any) -> None:
        with self.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, orjson.dumps(value).decode()))

    def project(self, hash: str) -> ProjectRecord:
        record = self.catalogue.project(hash)
        if record is None:
            raise forbidden(f"No access to the project {hash}.")
        return record


@dataclass(frozen=True)
class Call:
    """A request, read: what v1 has in its body, v2 has in path and query, too. ``user`` is the email of its key."""

    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: Any
    user: str = OWNER


@dataclass(frozen=True)
class Answer:
    """What to answer, and how many things the request was about."""

    content: Any
    items: int = 0


@dataclass(frozen=True)
class Operation:
    """A request the platform knows.

    Attributes:
        needs: What a user must be allowed in the project that it is about (see ``users.MAY``).
        slow: It reads files, and must keep no other request waiting.
    """

    kind: str
    handle: Callable[[Service, Call], Answer]
    needs: str | None = None
    slow: bool = False


def uuids(value: Any, what: str) -> list[str]:
    """A list of ids in their canonical form.

    Raises:
        Refusal: 400, it is something else.
    """
    if not isinstance(value, (list, tuple)):
        raise malformed(f"{what} must be a list of ids.")
    return [uuid(entry, what) for entry in value]


def uuid(value: Any, what: str) -> str:
    try:
        return str(UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise malformed(f"{what} must be an id, and is not.") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise malformed(f"{what} must be an object.")
    return value


MAX_DEPTH = 100
"""How deep a body may be nested. It is written again as a part of answers, and writers of JSON have a limit."""


def shallow(value: Any) -> Any:
    """The value, if it is not nested too deeply.

    Raises:
        Refusal: 400, it is.
    """
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for found in level
            for inner in (found.values() if isinstance(found, dict) else found)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return value
    raise malformed(f"The body is nested more than {MAX_DEPTH} levels deep.")


def optional(value: Any, kind: type[T], what: str) -> T | None:
    """A value that may be left out.

    Raises:
        Refusal: 400, it is of another type.
    """
    if value is not None and not isinstance(value, kind):
        raise malformed(f"{what} must be {kind.__name__}.")
    return value


def either(call: Mapping[str, Any], camel: str, snake: str) -> Any:
    """A field under the name of either case."""
    return call[camel] if camel in call else call.get(snake)
