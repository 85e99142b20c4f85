"""The reason why a request failed, inferred from its exception: certificate, proxy, DNS, TLS, timeout, connection.

The SDK chains the exceptions of `requests`. If none is found in the chain, nothing is inferred.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests.exceptions

from encord_agents.core.legible import literally
from encord_agents.core.tracebacks import chain
from encord_agents.core.trust import TrustError

__all__ = ["NOBODY", "is_loopback", "reasons", "refused_certificate", "unreachable"]

CERTIFICATE_REMEDY = (
    "If a proxy of your organisation signs certificates, point REQUESTS_CA_BUNDLE at a file with its root certificate."
)
STRICT = range(80, 94)
"""OpenSSL's error codes for certificates that violate RFC 5280, which Python checks from 3.13 on."""
STRICT_REMEDY = (
    "From Python 3.13 on, certificates must comply with RFC 5280: the issuer of this one, or of a proxy's root "
    "certificate, has to reissue it. Until then, use Python 3.12."
)

NOBODY = "no server listens there (the connection was refused)"


def refused_certificate(error: BaseException) -> str | None:
    """Return the reason why the server's certificate was rejected, with the remedy, or ``None`` if it was not.

    No certificate is accepted while those to trust cannot be read.
    """
    for reason in reasons(error):
        if isinstance(reason, TrustError):
            return str(reason)
        if isinstance(reason, ssl.SSLCertVerificationError):
            why = reason.verify_message or "it was not accepted"
            remedy = STRICT_REMEDY if reason.verify_code in STRICT else _remedy()
            return f"its certificate was refused: {literally(why)}. {remedy}"
    return None


def _remedy() -> str:
    from encord_agents.core.settings import authorities, named_authorities  # pydantic-settings takes a while to import

    bundle = authorities()
    if bundle is None:
        return CERTIFICATE_REMEDY
    hashed = " In a directory, only files that `openssl rehash` has named count." if os.path.isdir(bundle) else ""
    return f"{CERTIFICATE_REMEDY} At present, {named_authorities(bundle)}.{hashed}"


def unreachable(error: BaseException) -> str | None:
    """Return the reason why the server could not be reached, or ``None`` if it could, or if the reason is unknown."""
    causes = list(reasons(error))
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
        if any(isinstance(reason, kind) for reason in causes):
            return words
    return None


def is_loopback(address: str) -> bool:
    """Return True if the host of a URL is this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reasons(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, the exceptions that led to it, and those that urllib3 and `requests` carry as arguments."""
    pending, seen = [error], set[int]()
    while pending:
        for one in chain(pending.pop()):
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            carried = (getattr(one, "reason", None), *one.args)
            pending += [part for part in carried if isinstance(part, BaseException) and id(part) not in seen]
