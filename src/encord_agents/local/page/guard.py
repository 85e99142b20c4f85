"""Protects the page from other sites' pages: they may not act through it, read from it, or show it in a frame."""

from __future__ import annotations

import hmac

from starlette.requests import Request

from encord_agents.local.origins import stranger
from encord_agents.local.trouble import Refusal

LARGEST_FORM = 256 * 1024
"""Bytes. The uuids of a page of tasks fit many times over."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; media-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Not no-referrer: with that, browsers send forms with the origin `null`.
    "Referrer-Policy": "same-origin",
}


def refusal(request: Request, *, document: bool) -> Refusal | None:
    """Return the refusal of a request, or ``None``. Other sites may link to documents, and do nothing more.

    Args:
        document: True for a page, which people may open from anywhere; files are for our own pages only.
    """
    if (strange := stranger(request)) is not None:
        return strange
    # Browsers send this with every request. `same-site` is another port of this machine: another program's page.
    if request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return None
    opened = request.headers.get("sec-fetch-mode") == "navigate" and request.headers.get("sec-fetch-dest") == "document"
    if document and opened and request.method in ("GET", "HEAD"):
        return None
    return Refusal(403, "The page of the local platform answers no page of another origin.")


def token(secret: bytes) -> str:
    """Return the token that each of our forms contains, and that no other page can know."""
    return hmac.digest(secret, b"the forms of the page", "sha256").hex()


def check_token(secret: bytes, given: str) -> None:
    """Check that a form is ours.

    Raises:
        Refusal: 403, its token is not valid.
    """
    if not hmac.compare_digest(token(secret).encode(), given.encode("utf-8", "replace")):
        raise Refusal(403, "The form is not of this page, or of another data directory: load the page again.")
