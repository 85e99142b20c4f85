"""The origins from which the label editor calls."""

from __future__ import annotations

import ipaddress
import re

from encord_agents.core.constants import ENCORD_DOMAIN_REGEX
from encord_agents.editor.wire import ALLOWED_HEADERS

__all__ = ["Origins", "is_own"]

MAX_AGE = 3600
"""Seconds for which browsers may keep the answer to a preflight."""


def is_own(origin: str | None, host: str | None) -> bool:
    """Return True if a page that the agent's own server has sent makes the request, as FastAPI's ``/docs`` does.

    Anybody's domain can be made to lead to this machine, and is then the host that the browser names, too. So only
    hosts that cannot be made to are believed: those with a certificate, addresses, and this machine itself.
    """
    scheme, _, rest = (origin or "").lower().partition("://")
    if not rest or rest != (host or "").lower():
        return False
    name = re.sub(r":\d*$", "", rest).strip("[]")
    if scheme == "https" or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Origins:
    """The origins of the editor, or others that a regular expression matches as a whole.

    Args:
        regex: The expression. Default: the editor's origins.
    """

    def __init__(self, regex: str | None = None) -> None:
        self._regex = re.compile(regex or ENCORD_DOMAIN_REGEX)

    def allow(self, origin: str | None) -> bool:
        return origin is not None and self._regex.fullmatch(origin) is not None

    def headers_of_preflight(self, origin: str) -> dict[str, str]:
        return {
            **self.headers(origin),
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": ", ".join(ALLOWED_HEADERS),
            "Access-Control-Max-Age": str(MAX_AGE),
        }

    @staticmethod
    def headers(origin: str) -> dict[str, str]:
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
