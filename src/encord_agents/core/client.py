"""The authenticated client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from encord.http.constants import RequestsSettings
from encord.user_client import EncordUserClient

from encord_agents import __version__

if TYPE_CHECKING:
    from encord_agents.core.settings import Settings

__all__ = ["get_user_client", "lets_requests_be_sent_once", "sent_once"]

CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = WRITE_TIMEOUT = 60  # seconds


class Sent:
    """What was sent meanwhile.

    Attributes:
        any: Whether there was a request at all: the SDK may know the answer already.
    """

    any = False


_once: ContextVar[Sent | None] = ContextVar("encord_agents_sent_once", default=None)


@contextmanager
def sent_once() -> Iterator[Sent]:
    """While inside, in this thread, the transport of a prepared client repeats nothing by itself.

    For callers who wait and repeat by rules of their own: what is repeated beneath them is waited for twice, and what
    may not be done twice (a move) would be.
    """
    sent = Sent()
    token = _once.set(sent)
    try:
        yield sent
    finally:
        _once.reset(token)


def lets_requests_be_sent_once(client: EncordUserClient) -> EncordUserClient:
    """Prepare a client, and all that is made from it, for `sent_once`. Everywhere else it retries as before."""
    settings = client.user_config.requests_settings
    if not isinstance(settings, _Settings):
        settings = _Settings(settings)  # type: ignore[assignment]
        # The two protocols look at one each, at every request.
        client.user_config.requests_settings = client.user_config.config.requests_settings = settings
    return client


class _Settings:
    """A client's settings, but without retries where requests are to be sent once."""

    def __init__(self, settings: RequestsSettings) -> None:
        self._settings = settings

    @property
    def max_retries(self) -> int:
        return 0 if self._once() else self._settings.max_retries

    @property
    def connection_retries(self) -> int:
        return 0 if self._once() else self._settings.connection_retries

    @staticmethod
    def _once() -> bool:
        if (sent := _once.get()) is None:
            return False
        sent.any = True  # who asks is about to send
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, name)


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
        requests_settings.trace_id_provider = lambda: header
    if not retries:
        requests_settings.max_retries = 0
        requests_settings.connection_retries = 0
    return EncordUserClient.create_with_ssh_private_key(
        settings.ssh_key,
        requests_settings=requests_settings,
        domain=settings.domain,
        user_agent_suffix=f"encord-agents/{__version__}",
    )
