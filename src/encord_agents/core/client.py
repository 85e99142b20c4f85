"""The authenticated client."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from encord.http.constants import RequestsSettings
from encord.user_client import EncordUserClient

from encord_agents import __version__
from encord_agents.core.sdk import Connections, kept_client

if TYPE_CHECKING:
    from encord_agents.core.settings import Settings

__all__ = ["Sent", "get_user_client", "note_others", "sending_once", "sent_once"]

CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = WRITE_TIMEOUT = 60  # seconds


class Sent:
    """What was sent meanwhile.

    Attributes:
        any: Whether there was a request at all: the SDK may know the answer already.
    """

    any = False


_once: ContextVar[Sent | None] = ContextVar("encord_agents_sent_once", default=None)
_others: ContextVar[Sent | None] = ContextVar("encord_agents_sent_by_others", default=None)


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


def note_others(sent: Sent) -> None:
    """From now on, in this context, note whether anything is sent that is not within `sent_once`: by user code."""
    _others.set(sent)


def sending_once(client: EncordUserClient) -> EncordUserClient:
    """Return a copy of a client which, with all that is made from it, obeys `sent_once`. The client stays as it is.

    Outside of `sent_once` the copy behaves as the client does, and follows later changes of its requests settings.
    """
    user_config = copy.copy(client.user_config)
    user_config.config = copy.copy(user_config.config)
    # The two protocols look at one each, at every request.
    user_config.requests_settings = user_config.config.requests_settings = _Settings.of(user_config.requests_settings)
    return kept_client(client, user_config, Connections())


def _unless_once(name: str) -> property:
    def read(self: RequestsSettings) -> int:
        value: int = self.__dict__[name]
        if (sent := _once.get()) is None:
            if (others := _others.get()) is not None:
                others.any = True
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


def get_user_client(
    settings: Settings | None = None, *, trace_id: str | None = None, retries: bool = True
) -> EncordUserClient:
    """A client that signs in with the key of ``settings``. Makes no request.

    Args:
        settings: Key and domain. Default: those of the environment.
        trace_id: Sent with every request, so that all of them can be found under one id in the platform's logs
            (32 hexadecimal digits). Default: a new one for each request.
        retries: Whether the client's transport repeats some requests by itself, with the SDK's defaults. ``False``
            suits a caller who waits and repeats by rules of its own.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
    """
    if settings is None:
        from encord_agents.core.settings import Settings  # pydantic-settings takes a while to import

        settings = Settings()
    requests_settings = RequestsSettings(
        connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, write_timeout=WRITE_TIMEOUT
    )
    if trace_id is not None:
        header = trace_id if "/" in trace_id else f"{trace_id}/1;o=1"
        requests_settings.trace_id_provider = partial(str, header)  # it can be pickled
    if not retries:
        requests_settings.max_retries = 0
        requests_settings.connection_retries = 0
    return EncordUserClient.create_with_ssh_private_key(
        settings.ssh_key,
        requests_settings=requests_settings,
        domain=settings.domain,
        user_agent_suffix=f"encord-agents/{__version__}",
    )
