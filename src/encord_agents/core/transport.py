"""GET requests to storage hosts, over connections that stay open and that all threads share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from urllib3 import exceptions

from encord_agents import __version__

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

__all__ = ["TransportError", "in_words", "open_url"]

CONNECTIONS: Final = 16  # kept open to each host
REDIRECTS: Final = 10
SHORT: Final = 16 * 1024  # bytes
# Sizes are compared with what arrived, so it must arrive as it is stored. No credentials: the URL itself is the
# permission, and storage hosts refuse a second one.
HEADERS: Final = {"User-Agent": f"encord-agents/{__version__}", "Accept-Encoding": "identity"}

# By process: a forked one must not talk on its parent's connections. No lock, which a fork might find taken: that two
# threads make the same does no harm.
_managers: dict[tuple[int, str | None, str], urllib3.PoolManager] = {}
_managers_of_hosts: dict[tuple[int, str, str], urllib3.PoolManager] = {}


class TransportError(Exception):
    """There is no answer. The text never holds the URL: its signature is a permission.

    Attributes:
        may_pass: Whether another try may have more luck.
    """

    def __init__(self, reason: str, *, may_pass: bool = True) -> None:
        self.may_pass = may_pass
        super().__init__(reason)


def open_url(url: str, timeout: tuple[float, float]) -> BaseHTTPResponse:
    """The answer to a GET, its body still to be read. Close it; read to the end, its connection is used again.

    Proxies and certificates are those that `requests`, and so the SDK, takes from the environment. Directly over
    `urllib3`, because `requests` takes twice the processor time for a small file.

    Args:
        url: Redirects are followed. What it has of a user and a password is not sent.
        timeout: Seconds to connect, and seconds to wait for the next bytes.

    Raises:
        TransportError: There was none.
    """
    waits = urllib3.Timeout(connect=timeout[0], read=timeout[1])
    try:
        for _ in range(REDIRECTS):
            response = _manager_for(url).urlopen(
                "GET", url, headers=HEADERS, timeout=waits, retries=False, redirect=False, preload_content=False
            )
            location = response.get_redirect_location()
            if not location:
                return response
            _put_away(response)
            url = urljoin(url, _as_sent(location))
    except ValueError:  # as all that `urllib3` says of addresses
        problem = TransportError("the platform gave an address that is none", may_pass=False)
    except (exceptions.HTTPError, OSError) as error:
        problem = TransportError(in_words(error, answering=False))
    else:
        problem = TransportError(f"the storage host redirected {REDIRECTS} times", may_pass=False)
    raise problem  # outside the `except`: what `urllib3` raises quotes the URL, and must not be its context


def _put_away(response: BaseHTTPResponse) -> None:
    """Have done with an answer. Its connection is used again, unless more is to be read than a redirect's few words."""
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) <= SHORT:
        response.drain_conn()
        response.release_conn()
    else:
        response.close()


def _as_sent(location: str) -> str:
    """An address from a header. `http.client` takes its bytes for Latin-1; they are UTF-8."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeError:
        return location


def in_words(error: Exception, *, answering: bool = True) -> str:
    """What happened, in words without the URL.

    Args:
        answering: Whether the answer had begun.
    """
    # In old versions of `urllib3` the first is one of the second.
    never_there = isinstance(error, exceptions.NewConnectionError)
    if isinstance(error, exceptions.TimeoutError | TimeoutError) and not never_there:
        return "the storage host did not answer in time"
    if isinstance(error, exceptions.SSLError):
        return "the storage host's certificate was not accepted"
    if answering and isinstance(error, exceptions.ProtocolError):
        return "the connection broke before all of the file had arrived"
    if isinstance(error, exceptions.DecodeError):
        return "the file could not be decompressed"
    return f"no connection to the storage host ({type(error).__name__})"


def _manager_for(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no address")
    host = os.getpid(), parts.scheme, parts.netloc
    manager = _managers_of_hosts.get(host)
    if manager is None:
        manager = _managers_of_hosts[host] = _make_manager(url)
    return manager


def _make_manager(url: str) -> urllib3.PoolManager:
    with requests.Session() as session:
        environment = session.merge_environment_settings(url, {}, None, None, None)
    proxy = select_proxy(url, environment["proxies"])
    authorities = environment["verify"] if isinstance(environment["verify"], str) else DEFAULT_CA_BUNDLE_PATH
    key = os.getpid(), proxy, authorities
    if (known := _managers.get(key)) is not None:
        return known
    tls = {"ca_cert_dir" if os.path.isdir(authorities) else "ca_certs": authorities}
    manager: urllib3.PoolManager
    if proxy is None:
        manager = urllib3.PoolManager(maxsize=CONNECTIONS, **tls)  # type: ignore[arg-type]
    else:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        manager = HTTPAdapter(pool_maxsize=CONNECTIONS).proxy_manager_for(proxy, **tls)
    return _managers.setdefault(key, manager)
