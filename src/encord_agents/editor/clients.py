"""A client for each request, with connections, a key and cached answers shared by the requests of the process."""

from __future__ import annotations

import copy
from typing import Final

from encord.configs import UserConfig
from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.client import get_user_client, trace_by
from encord_agents.core.sdk.connections import Connections, kept_client
from encord_agents.core.sdk.remembered import Remembered
from encord_agents.core.settings import Settings, settings_of_environment

__all__ = ["client_for", "open_project"]

FRESH: Final = 2.0
"""Seconds for which a project and its ontology are cached: under load this saves half of all requests, and a person who
has changed the ontology does not come back to the editor sooner."""

_CONNECTIONS: Final = Connections()
_PROJECTS: Final = Remembered(FRESH)
_known: tuple[Settings, EncordUserClient] | None = None


def client_for(trace_id: str | None) -> EncordUserClient:
    """Return an authenticated client that sends a request's trace id, and no other's.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
    """
    shared = _shared_client()
    config = copy.copy(shared.user_config.config)
    config.requests_settings = trace_by(config.requests_settings, trace_id)
    return kept_client(shared, UserConfig(config), _CONNECTIONS)


def open_project(client: EncordUserClient, project_hash: str) -> Project:
    """Return a project of a client, as it was at most two seconds ago."""
    config = client.user_config.config
    return _PROJECTS.open(client, project_hash, (config.domain, getattr(config, "public_key_hex", id(config))))


def _shared_client() -> EncordUserClient:
    """Return a client for the environment's key; a new one if the environment has changed."""
    global _known
    settings = settings_of_environment()
    known = _known  # read once: other threads may replace it
    if known is None or known[0] is not settings:
        known = _known = settings, get_user_client(settings)
    return known[1]
