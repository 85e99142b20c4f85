"""Tools for the request handlers of both protocols."""

from __future__ import annotations

import builtins
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import Field

from encord_agents.local import filters
from encord_agents.local.assets import AssetStore, Clock, Signer
from encord_agents.local.calls import Calls
from encord_agents.local.catalogue import Catalogue, ProjectRecord
from encord_agents.local.database import Database
from encord_agents.local.trouble import forbidden, malformed
from encord_agents.local.users import OWNER
from encord_agents.local.written import Options, Seconds

T = TypeVar("T")


class Settings(Options):
    """The settings that a test may change while the platform runs, in seconds and counts; see ``LocalPlatform``."""

    page_size: int = Field(default=100, ge=1)
    page_tokens: Literal["keyset", "offset"] = "keyset"
    shuffle: bool = False
    latency: Seconds = 0.0
    latency_per_item: Seconds = 0.0
    asset_latency: Seconds | None = None
    body_limit: int = Field(default=256 * 2**20, ge=1)
    upload_limit: int = Field(default=16 * 2**30, ge=1)
    agent_timeout: Seconds = 60.0


@dataclass
class Service:
    """The platform's state, and the settings and helpers that handlers answer requests with."""

    database: Database
    catalogue: Catalogue
    assets: AssetStore
    signer: Signer
    settings: Settings
    clock: Clock = field(default_factory=Clock)
    calls: Calls = field(default_factory=Calls)
    domain: str = ""
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def link(self, item: str, name: str) -> str:
        return self.signer.url(self.domain, item, name)

    def arranged(self, things: list[T]) -> list[T]:
        """Shuffle a list if the settings ask for it: the real platform does not guarantee the order of most lists."""
        if self.settings.shuffle and len(things) > 1:
            first = things[0]
            self.random.shuffle(things)
            if things[0] is first:  # so that the order never stays the same by chance
                things.append(things.pop(0))
        return things

    def setting(self, name: str) -> Any:
        """Return the value that is stored under a name, or ``None``."""
        with self.database.read() as connection:
            row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else orjson.loads(row["value"])

    def set_setting(self, name: str, value: Any) -> None:
        with self.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, orjson.dumps(value).decode()))

    def change_setting(self, name: str, change: Callable[[Any], Any]) -> None:
        """Replace a value by one computed from it, in one transaction: of two concurrent changes, neither is lost."""
        with self.database.write():
            self.set_setting(name, change(self.setting(name)))

    def project(self, hash: str) -> ProjectRecord:
        record = self.catalogue.project(hash)
        if record is None:
            raise forbidden(f"No access to the project {hash}.")
        return record


@dataclass(frozen=True)
class Call:
    """A parsed request. v1 only uses the body, v2 also path and query. ``user`` is the email of the key's user."""

    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: Any
    user: str = OWNER

    @property
    def given(self) -> Given:
        """The body, which must be an object."""
        return Given(self.body)

    @property
    def payload(self) -> Given:
        """The payload of a v1 request, empty if there is none."""
        return Given(self.body["payload"] or {}, "payload")

    @property
    def uids(self) -> list[str]:
        """The ids that a v1 request is about: it has one, or a list."""
        found = self.body["uid"]
        return uuids([found] if isinstance(found, str) else found, "uid")


@dataclass(frozen=True)
class Answer:
    """The content of an answer, and the number of rows, tasks or items that the request was about."""

    content: Any
    items: int = 0

    @classmethod
    def listing(cls, results: Sequence[Any]) -> Answer:
        """Return an answer with a list on a single page."""
        return cls({"results": results, "nextPageToken": None}, len(results))


@dataclass(frozen=True)
class Operation:
    """A request that the platform supports.

    Attributes:
        needs: The permission that the user must have in its project (see ``users.MAY``).
        slow: True if it reads files; it then runs in a thread, so that other requests do not wait.
        query: The parameters of the query, in snake case. Others are refused.
        off: Parameters that are allowed if they ask for nothing.
    """

    kind: str
    handle: Callable[[Service, Call], Answer]
    needs: str | None = None
    slow: bool = False
    query: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


def uuids(value: Any, what: str) -> list[str]:
    """Return a list of ids in canonical form.

    Raises:
        Refusal: 400, it is not a list of ids.
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
"""The greatest depth of a body. It is serialised again as a part of answers, and JSON serialisers have a limit."""


def shallow(value: Any) -> Any:
    """Return a value, if it is not nested too deeply.

    Raises:
        Refusal: 400, it is nested too deeply.
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


_DIGITS = bytes(ord("0") if byte in b"0123456789" else byte if byte in b"." else ord(" ") for byte in range(256))
"""A translation that leaves digits and points of numbers, so that long ones are found faster than by a pattern."""
_LONG = b" " + b"0" * 19
_NOT_JSON = re.compile(r"-?(?:NaN|Infinity)")


def parsed(body: bytes | str, what: str = "The body") -> Any:
    """Return the content of JSON.

    Raises:
        Refusal: 400, it is not JSON, or has a number or a character that could not be kept.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise malformed(f"{what} is not JSON{_why(error)}.") from None
    if _LONG in (body.encode() if isinstance(body, str) else body).translate(_DIGITS):
        # orjson makes floats of longer numbers, which rounds them.
        shallow(content)
        json.loads(body, parse_int=partial(_whole, what))
    return content


def _whole(what: str, digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise malformed(f"{what} has the whole number {digits[:50]}, which is beyond 64 bits: send it as text.")
    return int(digits)


def _why(error: orjson.JSONDecodeError) -> str:
    place = f"after {error.doc[max(0, error.pos - 40) : error.pos]!r}"
    if found := _NOT_JSON.match(error.doc, error.pos):
        return f": it has {found[0]}, which is not a number in JSON, {place}"
    if "surrogate in string" in error.msg:
        return f": it has half a character, such as half an emoji, {place}"
    return f" ({error})"


def optional(value: Any, kind: type[T], what: str) -> T | None:
    """Return a value that may be missing.

    Raises:
        Refusal: 400, it is of another type.
    """
    if value is not None and not isinstance(value, kind):
        raise malformed(f"{what} must be {kind.__name__}.")
    return value


class Given:
    """A JSON object in a request. Its fields, named here in snake case, may be in snake or camel case.

    Raises:
        Refusal: 400, it is not an object; from the methods, a field is of another type.
    """

    def __init__(self, value: Any, what: str = "The body") -> None:
        self.fields = mapping(value, what)
        self._what = what

    def get(self, name: str) -> Any:
        """Return a field of any type."""
        camel = filters.camel(name)
        return self.fields[camel] if camel in self.fields else self.fields.get(name)

    def text(self, name: str) -> str | None:
        return optional(self.get(name), str, filters.camel(name))

    def needed(self, name: str) -> str:
        """Return a text that must not be empty."""
        if not (found := self.text(name)):
            raise malformed(f"{self._what} needs a {filters.camel(name)}.")
        return found

    def flag(self, name: str) -> bool | None:
        return optional(self.get(name), bool, filters.camel(name))

    def list(self, name: str) -> list[Any] | None:
        return optional(self.get(name), list, filters.camel(name))

    def part(self, name: str) -> Given:
        """Return a nested object; an empty one if there is none."""
        return Given(self.get(name) or {}, filters.camel(name))

    def id(self, name: str) -> str:
        return uuid(self.get(name), filters.camel(name))

    def ids(self, name: str) -> builtins.list[str]:
        return uuids(self.get(name), filters.camel(name))
