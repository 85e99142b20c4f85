"""What an exception of the SDK says about who answered: the platform, something else, or nobody.

The SDK keeps neither the status nor the kind of an answer that is not the API's, but it chains the exception it met: of
the JSON decoder, of pydantic, of `requests`. Read from encord 0.1.180 and 0.1.211. Where nothing of that is found,
nothing is claimed.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests.exceptions
from encord.exceptions import EncordException

from encord_agents.core.legible import literally
from encord_agents.core.tracebacks import chain

__all__ = ["NOBODY", "foreign_answer", "is_loopback", "refused_certificate", "unreachable"]

CERTIFICATE_REMEDY = (
    "If a proxy of your organisation signs certificates, point REQUESTS_CA_BUNDLE at a file with its root certificate."
)

NOBODY = "nobody listens there (the connection was refused)"


def foreign_answer(error: EncordException) -> str | None:
    """Return what was answered in place of the API's JSON, in words, or ``None`` where nothing says that it was."""
    for found in (error.__cause__, error.__context__):
        body = getattr(found, "doc", None)
        if isinstance(found, ValueError) and isinstance(body, str):
            return _in_words(body)
        if type(found).__name__ == "ValidationError" and hasattr(found, "errors"):
            return "JSON that is not the API's"
        if isinstance(found, AttributeError):  # the SDK has looked for a message in JSON that is no object
            return "JSON that is not the API's"
        if isinstance(found, requests.exceptions.TooManyRedirects):
            return "redirects without end"
    return None


def _in_words(body: str) -> str:
    start = body.lstrip()[:1000].lower()
    if not start:
        return "nothing"
    if start.startswith(("<!doctype html", "<html")) or "<html" in start:
        return "an HTML page"
    first_line = literally(body.strip().splitlines()[0])
    return f"text that is not JSON ({first_line[:60]}{'...' if len(first_line) > 60 else ''})"


def refused_certificate(error: BaseException) -> str | None:
    """Return why the certificate of the other side was not accepted, and what to do, or ``None``."""
    for reason in _reasons(error):
        if isinstance(reason, ssl.SSLCertVerificationError):
            why = reason.verify_message or "it was not accepted"
            return f"its certificate was refused: {literally(why)}. {CERTIFICATE_REMEDY}"
    return None


def unreachable(error: BaseException) -> str | None:
    """Return why nobody could be asked, in words, or ``None`` where somebody could, or it is not known."""
    reasons = list(_reasons(error))
    if (certificate := refused_certificate(error)) is not None:
        return certificate
    for kind, words in (
        (requests.exceptions.ProxyError, "the proxy did not let the request through (see HTTPS_PROXY, NO_PROXY)"),
        (ConnectionRefusedError, NOBODY),
        (socket.gaierror, "there is no host of that name"),
        (ssl.SSLError, "it does not speak TLS there (is it http:// in place of https://?)"),
        (requests.exceptions.Timeout, "it did not answer in time"),
        (requests.exceptions.ConnectionError, "the connection failed"),
    ):
        if any(isinstance(reason, kind) for reason in reasons):
            return words
    return None


def is_loopback(address: str) -> bool:
    """Return True if the host of an address is this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, what led to it, and what urllib3 and `requests` carry in arguments."""
    pending, seen = [error], set[int]()
    while pending:
        for one in chain(pending.pop()):
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            carried = (getattr(one, "reason", None), *one.args)
            pending += [part for part in carried if isinstance(part, BaseException) and id(part) not in seen]
