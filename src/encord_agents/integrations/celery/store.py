"""Errors of the broker, or of the Redis that holds the marks: as readable messages, logged once a minute at most."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator

from celery.exceptions import ImproperlyConfigured

from encord_agents.core.legible import on_a_line
from encord_agents.core.tracebacks import chain, described, message_of
from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery.timing import Limits, Timing
from encord_agents.redaction import without_secrets

__all__ = ["COMMANDS", "BrokerError", "Seldom", "broker_trouble", "told"]

COMMANDS = (
    "EVALSHA EXEC HDEL HGET HGETALL HINCRBY HMGET HSET MULTI PING SCRIPT|LOAD SELECT TIME "
    "ZADD ZMSCORE ZRANGEBYSCORE ZREM ZREMRANGEBYSCORE"
)
"""The Redis commands that marks and holds use, not counting Celery's own."""

NOT_ALLOWED = """\
Its user lacks permissions that agents need: keys `{prefix}:*`, and for them the commands {commands}. As an admin:
  ACL SETUSER <user> '~{prefix}:*' {allowed}"""

ADVICE = {
    "ReadOnlyError": ("It is a read-only replica: name the Redis that accepts writes, or promote this one.", True),
    "OutOfMemoryError": ("Its memory is full: raise its `maxmemory`, or remove data that nobody needs.", True),
    "AuthenticationError": ("The user or password in its address is refused: correct the address.", True),
    "MISCONF": ("It cannot save to its disk: make room there, or correct its `dir`. Its log says why.", True),
    "WRONGTYPE": ("Another program wrote to a key that begins with `{prefix}:`: delete that key.", True),
    "unknown command": ("It must be Redis 6.2 or newer.", True),
    "AskError": ("It is part of a cluster, which Celery cannot use: name a single Redis.", True),
    "CERTIFICATE_VERIFY_FAILED": ("Its certificate is not trusted: name its authority in `ssl_ca_certs`.", True),
    "WRONG_VERSION_NUMBER": ("It does not speak TLS: its address begins with redis://, not rediss://.", True),
    "BusyLoadingError": ("It is loading its data, as after a start: wait.", False),
    "MasterDownError": ("It is a replica that has lost its master: wait, or name the master.", False),
    "ClusterDownError": ("It is part of a cluster that is not complete. Celery needs a single Redis.", False),
    "max number of clients": ("Raise its `maxclients`, or end clients that nobody needs.", False),
    "closed by server": ("If it speaks TLS only, its address must begin with rediss://.", False),
    "reset by peer": ("If it speaks TLS only, its address must begin with rediss://.", False),
    "Timeout connecting": ("If its address begins with rediss://, it must speak TLS.", False),
}
"""The remedy for an error, and whether the error lasts until somebody applies it: by the name of redis-py's exception,
or by words of the answer. The first that fits counts."""

LIBRARIES = ("kombu.", "redis.", "amqp.", "celery.backends.", "celery.app.backends")
"""The modules that read addresses and options, by the beginnings of their names."""

UNUSABLE = """\
Celery cannot use the broker or the result backend: {answer} (in {module})
Correct `broker_url`, `result_backend` or their options. If a library is missing, install it: for sqs://, as
`celery[sqs]`."""

UNREADABLE = """\
Celery cannot read the address of the broker or of the result backend. Its port must be a number, and in a password the
characters # / @ : [ ] ? % are written as %23 %2F %40 %3A %5B %5D %3F %25."""


class BrokerError(PrintableError):
    """The broker, or the Redis that holds the marks, refuses a request or cannot be reached.

    Attributes:
        lasts: True if it lasts until somebody changes something: a refusal, as opposed to an outage.
    """

    def __init__(self, message: str, *, lasts: bool) -> None:
        super().__init__(message)
        self.lasts = lasts


def told(error: BaseException, prefix: str) -> BrokerError:
    """Return a broker's error as a message for a person: its answer, and the remedy.

    Args:
        prefix: The prefix of all keys.
    """
    if isinstance(error, BrokerError):
        return error
    if (message := _unusable(error)) is not None:
        return BrokerError(message, lasts=True)
    causes = list(chain(error))
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__ if kind.__module__.startswith("redis")}
    texts = " ".join(message_of(cause) for cause in causes).lower()
    answer = on_a_line(without_secrets(described(error)), Limits().shown)
    fitting = (found for mark, found in ADVICE.items() if mark in kinds or (kinds and mark.lower() in texts))
    advice, lasts = next(fitting, (None, "ResponseError" in kinds))
    if "NoPermissionError" in kinds:
        allowed = " ".join(f"+{command.lower()}" for command in COMMANDS.split())
        advice = NOT_ALLOWED.format(prefix=prefix, commands=COMMANDS.replace(" ", ", "), allowed=allowed)
    elif advice is not None:
        advice = advice.format(prefix=prefix)
    trouble = "refuses" if lasts else "cannot be reached"
    return BrokerError("\n".join([f"The broker {trouble}: {answer}", *([advice] if advice else [])]), lasts=lasts)


def _unusable(error: BaseException) -> str | None:
    """Return a message if Celery's libraries refused an address or an option before they spoke to anybody."""
    if not isinstance(error, (LookupError, ImportError, ValueError, TypeError, ImproperlyConfigured)):
        return None
    names = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    theirs = [name for name in names if name.startswith(LIBRARIES)]
    if not theirs:
        return None
    if not {"urllib.parse", "ipaddress"}.isdisjoint(names):  # their messages quote parts of the address
        return UNREADABLE
    return UNUSABLE.format(answer=on_a_line(without_secrets(described(error)), Limits().shown), module=theirs[-1])


@contextlib.contextmanager
def broker_trouble(prefix: str) -> Iterator[None]:
    """Raise the broker's errors as a `BrokerError`; other exceptions pass."""
    try:
        yield
    except Exception as error:
        foreign = any(type(cause).__module__.partition(".")[0] in ("redis", "kombu", "amqp") for cause in chain(error))
        if foreign or isinstance(error, OSError) or _unusable(error) is not None:
            raise told(error, prefix) from error
        raise


class Seldom:
    """Decides whether to log a line: the same one at most once a minute, wherever it comes from."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, said_for: float = Timing().said) -> None:
        self._clock = clock
        self._said_for = said_for
        self._said: dict[str, float] = {}

    def __call__(self, line: str) -> bool:
        now = self._clock()
        # Without a lock: threads that race here log a line twice at worst.
        self._said = {text: at for text, at in self._said.items() if now < at + self._said_for}
        if line in self._said:
            return False
        self._said[line] = now
        return True
