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

__all__ = ["ONCE", "Sent", "hear_of_others", "hear_of_strangers", "sending_once", "sent_once"]


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


class Sent:
    """What was sent meanwhile.

    Attributes:
        any: Whether there was a request at all: the SDK may know the answer already.
    """

    any = False


_once: ContextVar[Sent | None] = ContextVar("encord_agents_sent_once", default=None)
_others: ContextVar[Callable[[], None] | None] = ContextVar("encord_agents_sent_by_others", default=None)
_strangers: dict[object, Callable[[], None]] = {}


@contextmanager
def sent_once() -> Iterator[Sent]:
    """While inside, in this thread, the transport of a client made by `sending_once` repeats nothing by itself.

    For callers who wait and repeat by rules of their own: what is repeated beneath them is waited for twice, and what
    may not be done twice (a move) would be.
    """
    sent = Sent()
    token = _once.set(sent)
    try:
        yield sent
    finally:
        _once.reset(token)


def hear_of_others(call: Callable[[], None]) -> None:
    """From now on, in this context, call something before each request that is not within `sent_once`: of user code.

    It is called before a client made by `sending_once` sends, in the thread that is about to.
    """
    _others.set(call)


def hear_of_strangers(key: object, call: Callable[[], None] | None) -> None:
    """Likewise before requests that come from a context where nobody hears of them: of threads that user code started.

    Args:
        key: Whose call it is. ``None`` as its call: it is not to be called any more.
    """
    if call is None:
        _strangers.pop(key, None)
    else:
        _strangers[key] = call


def _hear() -> None:
    if (call := _others.get()) is not None:
        call()
        return
    for call in tuple(_strangers.values()):
        call()


def sending_once(client: EncordUserClient) -> EncordUserClient:
    """Return a copy of a client which, with all that is made from it, obeys `sent_once` and keeps its connections.

    The client stays as it is. Outside of `sent_once` the copy behaves as the client does, and follows later changes of
    its requests settings. Where the SDK is not as expected, the copy is no more than the client, or the client itself.
    """
    if not ONCE.holds:
        return client
    user_config = copy.copy(client.user_config)
    user_config.config = copy.copy(user_config.config)
    # The two protocols look at one each, at every request.
    user_config.requests_settings = user_config.config.requests_settings = _Settings.of(user_config.requests_settings)
    return kept_client(client, user_config, Connections())


def _unless_once(name: str) -> property:
    def read(self: RequestsSettings) -> int:
        value: int = self.__dict__[name]
        if (sent := _once.get()) is None:
            _hear()
            return value
        sent.any = True  # who asks is about to send
        return 0

    def write(self: RequestsSettings, value: int) -> None:
        self.__dict__[name] = value

    return property(read, write)


class _Settings(RequestsSettings):
    """A client's settings, but without retries where requests are to be sent once.

    Copies and pickles of it are the SDK's plain settings, and so are those of label rows and projects.
    """

    max_retries = _unless_once("max_retries")
    connection_retries = _unless_once("connection_retries")

    @classmethod
    def of(cls, settings: RequestsSettings) -> _Settings:
        """Settings that share their values with others."""
        made = cls.__new__(cls)
        made.__dict__ = settings.__dict__
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return RequestsSettings, (), dict(self.__dict__)
