"""Retries of the SDK's transport, turned off call by call.

Read from encord 0.1.180 and 0.1.211: `ApiClient._request` and `Querier._execute` read ``max_retries`` and
``connection_retries`` of their configuration's ``requests_settings`` at every request, just before they send it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from encord.http.constants import RequestsSettings
from encord.user_client import EncordUserClient

from encord_agents.core.sdk.connections import SENDERS, Connections, kept_client
from encord_agents.core.sdk.seam import Seam, names_in

__all__ = ["ONCE", "hear_of_others", "hear_of_strangers", "sending_once", "sent_once"]


def _differences() -> Iterator[str]:
    for sender, method, module in SENDERS:
        missing = {"requests_settings", *_RETRIES} - {*names_in(getattr(sender, method, None))}
        if missing:
            yield f"{module.__name__}.{sender.__name__}.{method}() does not read {', '.join(sorted(missing))}"
    for name in _RETRIES:
        if not isinstance(getattr(RequestsSettings, name, None), int):
            yield f"RequestsSettings has no number {name}"
    if [*inspect.signature(EncordUserClient).parameters] != ["config", "querier"]:
        yield "EncordUserClient is not made of a configuration and a querier"


_RETRIES = ("max_retries", "connection_retries")

ONCE = Seam(
    does="sends what the engine asks for once, since it repeats requests by rules of its own",
    read_from=("0.1.180", "0.1.211"),
    reads=(
        "encord.http.v2.api_client.ApiClient._request",
        "encord.http.querier.Querier._execute",
        "encord.http.constants.RequestsSettings",
        "encord.user_client.EncordUserClient.__init__",
    ),
    differences=_differences,
    otherwise="the SDK repeats some requests by itself",
)


# Context variables, not thread-locals: a coroutine and the thread that sends its request share a context.
_once: ContextVar[bool] = ContextVar("encord_agents_sent_once", default=False)
_others: ContextVar[Callable[[], bool] | None] = ContextVar("encord_agents_sent_by_others", default=None)
# By owner, without a lock: each change is a single operation on a dictionary, and readers iterate over a copy.
_strangers: dict[object, Callable[[], None]] = {}


@contextmanager
def sent_once() -> Iterator[None]:
    """Turn off the transport's retries in this context, inside the ``with`` block, for clients made by `sending_once`.

    For callers that retry by rules of their own: retries beneath theirs would wait twice, and would repeat a request
    that must be sent only once (a move).
    """
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def hear_of_others(call: Callable[[], bool]) -> None:
    """Register a function to call before each request of user code in this context: each request outside `sent_once`.

    It is called in the sending thread, before a client made by `sending_once` sends the request. It returns False if
    the request may be somebody else's: threads and tasks that user code started keep a copy of the context.
    """
    _others.set(call)


def hear_of_strangers(key: object, call: Callable[[], None] | None) -> None:
    """Do the same for requests from contexts without such a function, as in threads that user code started.

    Args:
        key: The owner of the call.
        call: The function; ``None`` unregisters the owner's.
    """
    if call is None:
        _strangers.pop(key, None)
    else:
        _strangers[key] = call


def _hear() -> None:
    if (mine := _others.get()) is not None and mine():
        return
    for call in tuple(_strangers.values()):
        call()


def sending_once(client: EncordUserClient) -> EncordUserClient:
    """Return a copy of a client that, like all that is made from it, obeys `sent_once` and keeps its connections open.

    The client is not changed. Outside `sent_once` the copy behaves like the client, and follows later changes to its
    requests settings. If the SDK is not as expected, the copy keeps no connections, or it is the client itself.
    """
    if not ONCE.holds:
        return client
    user_config = copy.copy(client.user_config)
    user_config.config = copy.copy(user_config.config)
    # Each of the two protocols reads one of them, at every request.
    user_config.requests_settings = user_config.config.requests_settings = _Settings.of(user_config.requests_settings)
    return kept_client(client, user_config, Connections())


def _unless_once(name: str) -> property:
    def read(self: RequestsSettings) -> int:
        if _once.get():
            return 0
        _hear()  # the SDK reads this just before it sends a request
        value: int = self.__dict__[name]
        return value

    def write(self: RequestsSettings, value: int) -> None:
        self.__dict__[name] = value

    return property(read, write)


class _Settings(RequestsSettings):
    """A client's settings, but without retries inside `sent_once`.

    Copies report requests too, so that an agent that reads through a copy sees its own writes. Pickles are plain
    settings of the SDK, since no function is registered in another process.
    """

    max_retries = _unless_once("max_retries")
    connection_retries = _unless_once("connection_retries")

    @classmethod
    def of(cls, settings: RequestsSettings) -> _Settings:
        """Return settings that share their values with others."""
        made = cls.__new__(cls)
        # Shared, not copied: a user's changes to the client's settings during a run apply here, too.
        made.__dict__ = settings.__dict__
        return made

    def __copy__(self) -> _Settings:
        return self.__deepcopy__(None)

    def __deepcopy__(self, memo: dict[int, Any] | None) -> _Settings:
        made = _Settings.__new__(_Settings)
        made.__dict__ = dict(self.__dict__) if memo is None else copy.deepcopy(self.__dict__, memo)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return RequestsSettings, (), dict(self.__dict__)
