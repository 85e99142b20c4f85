"""GET requests to storage hosts, over keep-alive connections that all threads share.

They go through `requests`, as the SDK's do: if proxies, certificates, or an organisation's own hooks into `requests`
work for the platform, they work for files too.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urljoin, urlsplit

import requests
from requests import exceptions as from_requests
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar
from urllib3 import exceptions
from urllib3.connection import HTTPConnection

from encord_agents import __version__
from encord_agents.core.answers import is_of_proxy, refused_by_proxy, refused_certificate
from encord_agents.core.pools import Answer, PoolingAdapter
from encord_agents.core.room import ran_out
from encord_agents.core.sessions import new_session

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

__all__ = ["TransportError", "abort", "hang_up", "in_words", "open_url", "renew"]

CONNECTIONS: Final = 16  # kept open to each host
REDIRECTS: Final = 10
SHORT: Final = 16 * 1024  # bytes
LONGEST_READ: Final = 120.0
"""Seconds that the headers of a response, or one read of its body, may take. The read timeout limits only silence, and
a host that sends a byte now and then is never silent for long."""
# The received size is compared with the stored one, hence no compression. No credentials either: the URL itself
# grants access, and storage hosts reject requests with two kinds of credentials.
HEADERS: Final = {"User-Agent": f"encord-agents/{__version__}", "Accept-Encoding": "identity", "Accept": "*/*"}

# By process id: a forked child must not use its parent's connections. There is no lock, since a fork might copy it
# while it is held; if two threads create a session at once, one of the two is dropped, which does no harm.
_sessions: dict[int, requests.Session] = {}


class TransportError(Exception):
    """No response arrived. The message never contains the URL, whose signature grants access to the file.

    Attributes:
        may_pass: True if another attempt may succeed.
        certificate: True if the host's certificate was rejected, so that none of its files can be fetched.
        ran_out: The system's error, if there is no connection because this machine ran out of a resource.
    """

    def __init__(
        self, reason: str, *, may_pass: bool = True, certificate: bool = False, ran_out: OSError | None = None
    ) -> None:
        self.may_pass = may_pass
        self.certificate = certificate
        self.ran_out = ran_out
        super().__init__(reason)


def open_url(
    url: str,
    timeout: tuple[float, float],
    *,
    begun: Callable[[socket.socket], None] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HTTPResponse:
    """Send a GET request and return the response, its body unread. Close it; if fully read, its connection is reused.

    Cookies that come with a redirect are sent where it leads, if they are for that host, and forgotten afterwards.

    Args:
        url: The address. Redirects are followed, but not from https to http. A user and password in it are not sent.
        timeout: The connect and read timeouts, in seconds.
        begun: Called with the socket of each request once it is sent, see `hang_up`.
        headers: Additional headers.

    Raises:
        TransportError: No response arrived.
    """
    session = _session()
    try:
        with _asking(begun):
            cookies = None
            for _ in range(REDIRECTS):
                parts = urlsplit(url)
                if parts.scheme not in {"http", "https"} or not parts.hostname:
                    raise ValueError("not an address")
                request = requests.PreparedRequest()
                request.prepare("GET", url, {**HEADERS, **(headers or {})}, cookies=cookies, auth=_no_credentials)
                settings = session.merge_environment_settings(url, {}, True, None, None)
                answer = session.send(request, timeout=timeout, allow_redirects=False, **settings)
                response = cast("HTTPResponse", answer.raw)
                location = response.get_redirect_location()
                if not location:
                    return response
                if "Set-Cookie" in response.headers:  # as of a gateway that lets requests with its cookie through
                    cookies = RequestsCookieJar() if cookies is None else cookies
                    extract_cookies_to_jar(cookies, request, response)  # type: ignore[no-untyped-call]
                _put_away(response)
                there = urljoin(url, _as_sent(location))
                if parts.scheme == "https" and urlsplit(there).scheme == "http":
                    problem = TransportError("the storage host redirected from https to http", may_pass=False)
                    break
                url = there
            else:
                problem = TransportError(f"the storage host redirected {REDIRECTS} times", may_pass=False)
    except ValueError as error:  # all errors of `requests` about URLs are ValueErrors, about those of proxies too
        words = refused_by_proxy(error, url) or "the platform returned an invalid URL"
        problem = TransportError(words, may_pass=False)
    except (from_requests.RequestException, exceptions.HTTPError, OSError) as error:
        refused, mistake = refused_certificate(error), refused_by_proxy(error, url)
        problem = TransportError(
            mistake or in_words(error, answering=False),
            may_pass=not (refused or mistake),
            certificate=bool(refused),
            ran_out=ran_out(error),
        )
    raise problem  # outside the `except`: errors of `requests` quote the URL, and must not become its context


def hang_up(sock: socket.socket) -> None:
    """Shut down a connection, so that another thread waiting for its response gets an error."""
    # AttributeError: TLS of an unknown make. Otherwise its download would end the run, instead of itself later on.
    with contextlib.suppress(OSError, AttributeError):
        while not isinstance(sock, socket.socket):  # TLS inside TLS: the proxy itself speaks it
            sock = sock.socket
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # that of TLS would change the state under the other thread


def abort(response: HTTPResponse) -> None:
    """Shut down the response's connection, so that a thread waiting for the body gets an error."""
    connection = getattr(response, "_connection", None)
    sock = getattr(connection, "sock", None)
    if sock is not None:
        hang_up(sock)


def renew(response: HTTPResponse) -> None:
    """Restart the time limit before the next read of a body."""
    raw = getattr(getattr(getattr(response, "_fp", None), "fp", None), "raw", None)
    if isinstance(raw, _Paced):
        raw.until = time.monotonic() + LONGEST_READ


def _session() -> requests.Session:
    session = _sessions.get(os.getpid())
    if session is None:
        # A session shared by threads must not change, so it keeps no cookie of a storage host.
        session = new_session(lambda: _Adapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS))
        session = _sessions.setdefault(os.getpid(), session)
    return session


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return the request unchanged, to keep `requests` from taking a user from the URL or from ``.netrc``."""
    return request


def _put_away(response: HTTPResponse) -> None:
    """Discard a response. Its connection is reused, unless the body is longer than that of a usual redirect."""
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and len(length) < 10 and int(length) <= SHORT:
        response.drain_conn()
        response.release_conn()
    else:
        response.close()


def _as_sent(location: str) -> str:
    """Decode a URL from a header. `http.client` reads its bytes as Latin-1, but they are UTF-8."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeError:
        return location


def in_words(error: BaseException, *, answering: bool = True) -> str:
    """Describe an error of a request, without the URL.

    Args:
        answering: True if the response had begun.
    """
    if (refused := refused_certificate(error)) is not None:
        return f"the storage host cannot be trusted: {refused}"
    kinds = [error, *(part for part in error.args if isinstance(part, BaseException))]
    kinds += [reason for one in kinds if isinstance(reason := getattr(one, "reason", None), BaseException)]
    # In old versions of `urllib3`, NewConnectionError is a subclass of TimeoutError.
    never_there = any(isinstance(kind, exceptions.NewConnectionError) for kind in kinds)
    timeouts = (exceptions.TimeoutError, TimeoutError, from_requests.Timeout)
    if any(isinstance(kind, timeouts) for kind in kinds) and not never_there:
        return "the storage host did not answer in time"
    if any(isinstance(kind, exceptions.SSLError | ssl.SSLError) for kind in kinds):
        return "the storage host does not speak TLS"
    if is_of_proxy(error):
        return "the proxy did not let the request through (see HTTPS_PROXY, NO_PROXY)"
    if answering and isinstance(error, exceptions.ProtocolError):
        return "the connection broke before all of the file had arrived"
    return f"no connection to the storage host ({type(kinds[-1]).__name__})"


# At DEBUG, `urllib3` logs each request's path and query. Here the query grants access to the file.

_QUERY = re.compile(r"\?[^\s'\")]*")
_ours = threading.local()


@contextlib.contextmanager
def _asking(begun: Callable[[socket.socket], None] | None) -> Iterator[None]:
    """Make `urllib3` log URLs without their queries, and report sockets, inside the context, in this thread."""
    _ours.asking, _ours.begun = True, begun
    try:
        yield
    finally:
        _ours.asking, _ours.begun = False, None


def _shorten(record: logging.LogRecord) -> bool:
    if getattr(_ours, "asking", False) and isinstance(record.args, tuple):
        record.args = tuple(_QUERY.sub("?...", str(a)) if "?" in str(a) else a for a in record.args)
    return True


for _name in ("urllib3.connectionpool", "urllib3.poolmanager", "urllib3.util.retry", "urllib3.connection"):
    logging.getLogger(_name).addFilter(_shorten)


# Responses whose reads take no longer than `LONGEST_READ`. Everything else is as in `requests` and `urllib3`.


class _Paced(io.RawIOBase):
    """The stream of a socket, readable until a deadline."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self.until = time.monotonic() + LONGEST_READ

    def readinto(self, buffer: Any, /) -> int | None:
        if time.monotonic() > self.until:
            raise TimeoutError("it takes too long to send a few bytes")
        read: int | None = self._raw.readinto(buffer)
        return read

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(Answer):
    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        if isinstance(self.fp, io.BufferedReader):
            self.fp = io.BufferedReader(_Paced(self.fp.detach()))
        if (begun := getattr(_ours, "begun", None)) is not None:
            begun(sock)


class _Connection(HTTPConnection):
    response_class = _Answer


class _Adapter(PoolingAdapter):
    connection = _Connection
