"""A client for each request, over connections that the requests of the process share."""

from __future__ import annotations

from typing import Final

from encord.user_client import EncordUserClient

from encord_agents.core.client import get_user_client
from encord_agents.core.sdk.connections import Connections, kept_client

__all__ = ["client_for"]

_CONNECTIONS: Final = Connections()


def client_for(trace_id: str | None) -> EncordUserClient:
    """Return an authenticated client that sends a request's trace id, and no other's.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
    """
    client = get_user_client(trace_id=trace_id)
    return kept_client(client, client.user_config, _CONNECTIONS)
