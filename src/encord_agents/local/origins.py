"""Protection from other origins: requests from other sites' pages are refused, and files never act as pages."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult

from starlette.requests import Request

from encord_agents.local.trouble import Refusal

OURS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Host names that requests may use. A DNS rebinding attack is recognised by the attacker's host name."""
ACTIVE = ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "application/pdf")
"""Media types that a browser would run, or show as a document of this origin."""


def stranger(request: Request) -> Refusal | None:
    """Return the refusal of a request that a browser sends for another site's page, or ``None``."""
    host = request.headers.get("host", "")
    if _name_of(host) not in OURS:
        return Refusal(403, f"The local platform is not called {host[:100]!a}: ask for 127.0.0.1 or localhost.")
    origin = request.headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return Refusal(403, "The local platform answers no page of another origin.")
    return None


def is_here(address: SplitResult) -> bool:
    """Return True if the host of an address is this machine. What a name resolves to is not looked up."""
    host = (address.hostname or "").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _name_of(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def file_headers(media_type: str) -> dict[str, str]:
    """Return headers that let a file be shown as a picture, but never act as a page."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        # An SVG may use its own styles and embedded pictures, so that it looks right; it can run and load nothing.
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    kind = media_type.partition(";")[0].strip().lower()
    if kind in ACTIVE or kind.endswith("+xml"):
        headers["Content-Disposition"] = "attachment"
    return headers
