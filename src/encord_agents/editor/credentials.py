"""A check of the credentials before the first request."""

from __future__ import annotations

from datetime import datetime, timedelta

from encord_agents.core.client import get_user_client
from encord_agents.core.tracebacks import described
from encord_agents.exceptions import CredentialsError, PrintableError

__all__ = ["verify_auth"]


def verify_auth() -> None:
    """Check that there is a key and that the platform accepts it, so that a server without one does not start.

    Raises:
        CredentialsError: There is no key, it cannot be used, or the platform does not accept it.
    """
    client = get_user_client()
    try:
        lately = client.list_projects(created_after=datetime.now() - timedelta(days=1))
        next(iter(lately), None)  # the list is lazy: this sends the first request
    except PrintableError:
        raise
    except Exception as error:
        raise CredentialsError(
            f"The key can be read, but the platform did not list its projects with it: {described(error)}"
        ) from error
