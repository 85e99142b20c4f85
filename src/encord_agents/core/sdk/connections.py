"""A connection pool (keep-alive) for clients that were prepared for it.

The SDK opens a session for every request: a TCP connection, a TLS handshake, and a TLS context with the whole trust
store. Here, its two functions that send requests find another `create_new_session` under that name, which reuses
sessions from a pool. The SDK is not patched: a prepared client is an instance of a subclass whose methods run the SDK's
own code with other globals, and all other clients stay as they are.

Read from encord 0.1.180 and 0.1.211: `ApiClient._request` and `Querier._execute` send every request of the newer and
the older protocol, and call `create_new_session(max_retries=..., backoff_factor=..., connect_retries=...)` as a context
manager; `EncordUserClient` makes an `ApiClient` for itself and a `Querier` for each project. The sender prepares its
own request and calls only the session's ``send`` (and, in 0.1.211, ``merge_environment_settings``, with which it obeys
``REQUESTS_CA_BUNDLE``), so headers and proxies are the same as with a session of the SDK's. Certificates that the
environment names are trusted with every version of the SDK, since our own errors advise naming them.
"""

from __future__ import annotations

import copy
import inspect
import os
import time
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import requests
from encord.configs import UserConfig
from encord.http import querier as querier_module
from encord.http.querier import Querier
from encord.http.v2 import api_client as api_client_module
from encord.http.v2.api_client import ApiClient
from encord.user_client import EncordUserClient

from encord_agents.core.pools import PoolingAdapter
from encord_agents.core.sdk.seam import Seam, names_in
from encord_agents.core.sessions import new_session
from encord_agents.core.sleep import seconds_asleep

__all__ = ["CONNECTIONS", "IDLE", "SENDERS", "Connections", "close_idle", "kept_client"]

IDLE = 30.0
"""Seconds after which an idle connection is closed: sooner than load balancers close theirs. Also the seconds for which
none are kept after one that was kept has failed."""

PIECE = 2**20
"""Bytes of a response that are read at once."""

OpenSession = Callable[..., AbstractContextManager[requests.Session]]

SENDERS: tuple[tuple[type, str, types.ModuleType], ...] = (
    (ApiClient, "_request", api_client_module),
    (Querier, "_execute", querier_module),
)
OPENS = "create_new_session"


OPTIONS = ("max_retries", "backoff_factor", "connect_retries")


def _differences() -> Iterator[str]:
    for sender, method, module in SENDERS:
        if OPENS not in names_in(getattr(sender, method, None)):
            yield f"{module.__name__}.{sender.__name__}.{method}() does not call {OPENS}()"
        opens = getattr(module, OPENS, None)
        if not callable(opens) or not {*OPTIONS} <= {*inspect.signature(opens).parameters}:
            yield f"{module.__name__} has no {OPENS}({', '.join(OPTIONS)})"
    if not _methods_with(EncordUserClient, "Querier"):
        yield "EncordUserClient makes no Querier"
    if "_api_client" not in names_in(EncordUserClient.__init__):
        yield "EncordUserClient has no _api_client"


CONNECTIONS = Seam(
    does="keeps connections open",
    read_from=("0.1.180", "0.1.211"),
    reads=(
        "encord.http.v2.api_client.ApiClient._request",
        "encord.http.querier.Querier._execute",
        "encord.http.querier.create_new_session",
        "encord.user_client.EncordUserClient.__init__",
        "encord.user_client.EncordUserClient.get_project",
    ),
    differences=_differences,
    otherwise="each request opens a connection of its own",
)

_all: weakref.WeakSet[Connections] = weakref.WeakSet()


def close_idle() -> None:
    """Close the idle connections of every prepared client of this process. Later requests open new ones."""
    for connections in tuple(_all):
        connections.close()


class Connections:
    """A pool of sessions, each used by one caller at a time, and therefore with one connection per host.

    There are at most as many sessions as there were requests in flight at the same time. A session that was idle for
    30 s is never used again, and is closed at the next request; a run that ends, or that waits for as long, closes its
    idle sessions (`close_idle`). No thread does so, since it would not survive a fork by user code.

    Some servers and proxies close connections without saying so. A request on such a connection fails: it may have been
    carried out, so it is not sent again here. But the next ones must not fail likewise, so that each gets a connection
    of its own for a while, as with the SDK: for 30 s after the first such failure, and for twice as long after each
    further one. That is 16 minutes at most, so that a process that polls for weeks forgets its first outages.

    Thread-safe, without a lock that might be held when a signal handler runs or the process forks.

    Args:
        clock: Monotonic seconds that go on while this machine sleeps, when servers close its connections.
    """

    def __init__(self, clock: Callable[[], float] = lambda: time.monotonic() + seconds_asleep()) -> None:
        self._clock = clock
        self._pid = os.getpid()
        self._idle: deque[tuple[float, requests.Session]] = deque()  # the most recently used is at the right
        self._policies: dict[object, Any] = {}
        self._variants: dict[type, type] = {}
        self._wary_until, self._wary_for = float("-inf"), IDLE
        _all.add(self)

    def variant(self, base: type, make: Callable[[], type]) -> type:
        """Return the subclass of one of the SDK's classes whose requests go over these connections, made once."""
        found = self._variants.get(base)
        if found is None:
            found = self._variants[base] = make()
        return found

    def session(self, opens: OpenSession) -> OpenSession:
        """Return a replacement for ``opens``, the SDK's function that opens a session."""

        @contextmanager
        def session(*args: Any, **kwargs: Any) -> Iterator[requests.Session]:
            key = (args, tuple(kwargs.items()))
            policy = self._policies.get(key)
            if policy is None:
                with opens(*args, **kwargs) as made:  # for its retry policy
                    policy = self._policies[key] = made.get_adapter("https://").max_retries  # type: ignore[attr-defined]
            kept, was_used = self._take()
            for adapter in kept.adapters.values():
                adapter.max_retries = policy  # type: ignore[attr-defined]
            try:
                yield kept
            except Exception:
                self._end(kept, was_used)
                raise
            except BaseException:
                kept.close()  # an interrupt: there may be unread bytes on the connection
                raise
            self._end(kept, was_used)

        return session

    def close(self) -> None:
        """Close idle sessions. Sessions in use go back to the pool afterwards."""
        idle, self._idle = self._idle, deque()
        if self._pid == os.getpid():
            for _, session in idle:
                session.close()

    @property
    def idle(self) -> int:
        """The number of idle sessions."""
        return len(self._idle)

    def _take(self) -> tuple[requests.Session, bool]:
        """Return a session, and whether it was used before."""
        if self._pid != os.getpid():  # a child process must not use its parent's connections
            self._pid, self._idle = os.getpid(), deque()
        self._drop_old()
        try:
            return self._idle.pop()[1], True
        except IndexError:
            return _new_session(), False

    def _end(self, session: requests.Session, was_used: bool) -> None:
        """Keep a session for the next request, unless it failed, or none are kept at present."""
        now = self._clock()
        failed = any(adapter.is_asking for adapter in session.adapters.values())  # type: ignore[attr-defined]
        if failed and was_used and now >= self._wary_until:
            self._wary_until, self._wary_for = now + self._wary_for, min(2 * self._wary_for, 32 * IDLE)
            self.close()  # their connections may be as dead
        if failed or now < self._wary_until:
            session.close()
        elif self._pid == os.getpid():
            self._idle.append((now, session))
            self._drop_old()

    def _drop_old(self) -> None:
        while True:
            try:
                # Inspected in its place: if it were taken out, another thread might open one more.
                since, _ = oldest = self._idle[0]
                if self._clock() - since < IDLE:
                    return
                self._idle.remove(oldest)
            except (IndexError, ValueError):  # another thread was faster
                return
            oldest[1].close()


class _Adapter(PoolingAdapter):
    """Trusts the certificates that the environment names, with every version of the SDK: older ones do not ask
    `requests` for them. Its connections cost less CPU time (`pools`).

    Attributes:
        is_asking: True from the beginning of a request until its whole answer is here.
    """

    is_asking = False

    def send(self, request: requests.PreparedRequest, stream: bool = False, *args: Any, **options: Any) -> Any:
        """Send a request. `requests` passes the options by name."""
        from encord_agents.core.settings import authorities  # pydantic-settings takes a while to import

        if options.get("verify") is True:
            options["verify"] = authorities() or True
        self.is_asking = True
        answer: Any = super().send(request, stream, *args, **options)
        if not stream and answer.raw is not None and answer._content is False:
            answer._content = b"".join(answer.iter_content(PIECE))  # `requests` does the same, in small pieces
        self.is_asking = False
        return answer


def _new_session() -> requests.Session:
    # `new_session` keeps no cookies, just as the SDK's sessions, which live for one request, never send one back.
    return new_session(lambda: _Adapter(pool_connections=1, pool_maxsize=1))


def kept_client(client: EncordUserClient, user_config: UserConfig, connections: Connections) -> EncordUserClient:
    """Return a copy of a client, with another configuration, whose requests go over pooled connections.

    So do the requests of everything made from it: projects, label rows, storage items.
    """
    made = copy.copy(client)
    if not CONNECTIONS.holds:
        EncordUserClient.__init__(made, user_config, Querier(user_config))
        return made
    senders = {
        sender: connections.variant(
            sender,
            lambda sender=sender, module=module: _variant(  # type: ignore[misc]
                sender, {OPENS: connections.session(getattr(module, OPENS))}
            ),
        )
        for sender, _, module in SENDERS
    }
    made.__class__ = connections.variant(
        type(client), lambda: _variant(type(client), {"Querier": senders[Querier]}, methods_of=EncordUserClient)
    )
    EncordUserClient.__init__(made, user_config, senders[Querier](user_config))
    made._api_client = senders[ApiClient](user_config.config)
    return made


def _variant(base: type, names: dict[str, Any], methods_of: type | None = None) -> type:
    """Return a subclass whose methods run the base's own code, with other values for some of their globals.

    Args:
        methods_of: The class of the SDK whose methods are meant, if ``base`` is a user's subclass of it.

    Copies and pickles of an instance are of the base class: other processes, and code that keeps an object for longer
    than the run, get plain objects of the SDK.
    """
    members: dict[str, Any] = {
        name: types.FunctionType(
            method.__code__,
            {**method.__globals__, **names},
            method.__name__,
            method.__defaults__,
            method.__closure__,
        )
        for name, method in _methods_with(methods_of or base, *names).items()
        if getattr(base, name) is method  # not if it was overridden
    }
    for name, method in members.items():
        original = getattr(base, name)
        method.__kwdefaults__, method.__doc__ = original.__kwdefaults__, original.__doc__

    def reduce(self: Any, protocol: Any) -> tuple[Any, ...]:
        return _blank, (base,), dict(self.__dict__)

    return type(base.__name__, (base,), {**members, "__reduce_ex__": reduce, "__module__": base.__module__})


def _blank(kind: type) -> Any:
    return object.__new__(kind)


def _methods_with(base: type, *names: str) -> dict[str, types.FunctionType]:
    return {
        name: method
        for name, method in base.__dict__.items()
        if isinstance(method, types.FunctionType) and any(wanted in method.__code__.co_names for wanted in names)
    }
