"""The reason why a request failed, inferred from its exception: certificate, proxy, DNS, TLS, timeout, connection.

The SDK chains the exceptions of `requests`. If none is found in the chain, nothing is inferred.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

import requests.exceptions
import urllib3.exceptions
from requests.utils import get_environ_proxies, select_proxy

from encord_agents.core.legible import literally, on_one_line
from encord_agents.core.tracebacks import chain
from encord_agents.core.trust import TrustError

__all__ = [
    "NOBODY",
    "PASSING",
    "has_proxy",
    "is_loopback",
    "is_of_proxy",
    "proxy_refuses",
    "reasons",
    "refused_by_proxy",
    "refused_certificate",
    "unreachable",
]

CERTIFICATE_REMEDY = (
    "If a proxy of your organisation signs certificates, point REQUESTS_CA_BUNDLE at a file with its root certificate."
)
STRICT = range(80, 94)
"""OpenSSL's error codes for certificates that violate RFC 5280, which Python checks from 3.13 on."""
STRICT_REMEDY = (
    "From Python 3.13 on, certificates must comply with RFC 5280: the issuer of this one, or of a proxy's root "
    "certificate, has to reissue it. Until then, use Python 3.12."
)

PASSING = frozenset({408, 425, 429})
"""The statuses below 500 that another try may not get: a timeout, too early, too many requests."""
TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
"""The message of `http.client` if a proxy does not connect, with the status that the proxy sent."""

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
    if is_of_proxy(error):
        return "the proxy did not let the request through (see HTTPS_PROXY, NO_PROXY)"
    for kind, words in (
        (ConnectionRefusedError, NOBODY),
        (socket.gaierror, "there is no host of that name"),
        (ssl.SSLError, "it does not speak TLS there (is it http:// in place of https://?)"),
        (requests.exceptions.Timeout, "it did not answer in time"),
        (requests.exceptions.ConnectionError, "the connection failed"),
    ):
        if any(isinstance(reason, kind) for reason in causes):
            return words
    return None


def is_of_proxy(error: BaseException) -> bool:
    """Return True if a proxy could not be reached, or did not connect."""
    kinds = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
    return any(isinstance(reason, kinds) or type(reason).__module__ == "socks" for reason in reasons(error))


def has_proxy(url: str) -> bool:
    """Return True if requests to a URL go through a proxy."""
    return select_proxy(url, get_environ_proxies(url)) is not None


def refused_by_proxy(error: BaseException, url: str) -> str | None:
    """Return a mistake about the proxy for a URL, which another try would not mend, with the remedy, or ``None``.

    The proxy's address is not quoted: it may contain a password.
    """
    for reason in reasons(error):
        if (found := TUNNEL.search(str(reason))) is not None:
            status = int(found[1])
            return proxy_refuses(status, url) if status < 500 and status not in PASSING else None
        if type(reason).__name__ == "SOCKS5AuthError":
            return proxy_refuses(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, url)
        if isinstance(reason, requests.exceptions.InvalidSchema) and "SOCKS" in str(reason):
            return f"{_named(url)} names a SOCKS proxy, for which a package is missing: pip install 'requests[socks]'"
        # Without a request, it is the URL itself that is invalid.
        of_proxy = isinstance(reason, requests.exceptions.InvalidProxyURL) or getattr(reason, "request", None)
        if isinstance(reason, requests.exceptions.InvalidURL) and of_proxy and has_proxy(url):
            return (
                f"{_named(url)} is not the address of a proxy. Write it as http://HOST:PORT; a name and a password go "
                "before HOST, as NAME:PASSWORD@, with their special characters as %XX, such as %23 for #"
            )
    return None


def proxy_refuses(status: int, url: str) -> str:
    """Return the words for a proxy that answers with a status instead of connecting to a URL, with the remedy."""
    name, host = _named(url), on_one_line(urlsplit(url).hostname or "")
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return (
            f"a proxy on the way to {host} asks for a name and a password (HTTP status 407). Put the right ones into "
            f"{name}, as NAME:PASSWORD@ before the proxy's host, or name {host} in NO_PROXY"
        )
    return (
        f"a proxy on the way to {host} does not connect to it (HTTP status {status}). Have it allow that host, correct "
        f"{name}, or name {host} in NO_PROXY"
    )


def _named(url: str) -> str:
    """Return the environment variable for the proxy of a URL."""
    return f"{urlsplit(url).scheme.upper()}_PROXY"


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
