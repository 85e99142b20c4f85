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
    """Return True if the request comes from a page of the agent's own server, such as FastAPI's ``/docs``.

    By DNS rebinding, anybody's domain can lead to this machine, and the browser then sends it as the host, too. So only
    hosts that cannot be rebound are trusted: HTTPS, which needs a certificate, IP addresses, and localhost.
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
    """The origins of the editor, or those that fully match a regular expression.

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
