"""The authenticated client."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from encord.http.constants import RequestsSettings
from encord.user_client import EncordUserClient

from encord_agents import __version__

if TYPE_CHECKING:
    from encord_agents.core.settings import Settings

__all__ = ["get_user_client", "trace_by", "traced"]

CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = WRITE_TIMEOUT = 60  # seconds


def get_user_client(
    settings: Settings | None = None, *, trace_id: str | None = None, retries: bool = True
) -> EncordUserClient:
    """Return a client that signs in with the key of ``settings``. Makes no request.

    Args:
        settings: Key and domain. Default: those of the environment.
        trace_id: Sent with every request, so that all of them can be found under one id in the platform's logs
            (32 hexadecimal digits). Default: a new one for each request.
        retries: Whether the client's transport retries some requests, with the SDK's defaults. Pass ``False`` if the
            caller has its own retries and backoff.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
    """
    if settings is None:
        from encord_agents.core.settings import Settings  # pydantic-settings takes a while to import

        settings = Settings()
    requests_settings = RequestsSettings(
        connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, write_timeout=WRITE_TIMEOUT
    )
    requests_settings = trace_by(requests_settings, trace_id)
    if not retries:
        requests_settings.max_retries = 0
        requests_settings.connection_retries = 0
    return EncordUserClient.create_with_ssh_private_key(
        settings.ssh_key,
        requests_settings=requests_settings,
        domain=settings.domain,
        user_agent_suffix=f"encord-agents/{__version__}",
    )


def trace_by(settings: RequestsSettings, trace_id: str | None) -> RequestsSettings:
    """Return a copy of a client's settings that gives every request this trace id, or each a new one if ``None``."""
    provider = None if trace_id is None else partial(str, traced(trace_id))  # can be pickled, unlike a lambda
    return replace(settings, trace_id_provider=provider)


def traced(trace_id: str) -> str:
    """Return the value of the header that gives a request its trace id."""
    return trace_id if "/" in trace_id else f"{trace_id}/1;o=1"
