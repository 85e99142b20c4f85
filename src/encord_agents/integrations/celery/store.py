"""Errors of the broker, or of the Redis that holds the marks: as readable messages, seldom logged, with pauses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from encord_agents.core.legible import cut, on_one_line
from encord_agents.core.tracebacks import chain, described, message_of
from encord_agents.exceptions import PrintableError
from encord_agents.redaction import without_secrets

__all__ = ["COMMANDS", "LONGEST_PAUSE", "BrokerError", "Seldom", "broker_trouble", "pause_after", "told"]

COMMANDS = (
    "EVALSHA EXEC HDEL HGET HGETALL HINCRBY HMGET HSET MULTI PING SCRIPT|LOAD SELECT TIME "
    "ZADD ZMSCORE ZRANGEBYSCORE ZREM ZREMRANGEBYSCORE"
)
"""The Redis commands that marks and holds use, not counting Celery's own."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries, at most. A waiting message occupies a worker that could be doing other work; and a broker
that has been repaired should be noticed soon."""

SAID_FOR = 60.0
"""Seconds for which the same line is not logged again."""

LONGEST_SHOWN = 400

NOT_ALLOWED = """\
Its user lacks permissions that agents need: keys `{prefix}:*`, and for them the commands {commands}. As an admin:
  ACL SETUSER <user> '~{prefix}:*' {allowed}"""

ADVICE = {
    "ReadOnlyError": "It is a read-only replica: name the Redis that accepts writes, or promote this one.",
    "OutOfMemoryError": "Its memory is full: raise its `maxmemory`, or remove data that nobody needs.",
    "AuthenticationError": "The user or password in its address is refused: correct the address.",
}
"""The remedy for a refusal, by the name of redis-py's exception."""


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
    causes = list(chain(error))
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__ if kind.__module__.startswith("redis")}
    texts = " ".join(message_of(cause) for cause in causes)
    answer = cut(on_one_line(without_secrets(described(error))), LONGEST_SHOWN)
    advice = next((text for name, text in ADVICE.items() if name in kinds), None)
    if "NoPermissionError" in kinds:
        allowed = " ".join(f"+{command.lower()}" for command in COMMANDS.split())
        advice = NOT_ALLOWED.format(prefix=prefix, commands=COMMANDS.replace(" ", ", "), allowed=allowed)
    elif "WRONGTYPE" in texts:
        advice = f"Another program wrote to a key that begins with `{prefix}:`: delete that key."
    elif "unknown command" in texts.lower():
        advice = "It must be Redis 6.2 or newer."
    if advice is None and not ("ResponseError" in kinds and "BusyLoadingError" not in kinds):
        return BrokerError(f"The broker cannot be reached: {answer}", lasts=False)
    return BrokerError("\n".join(["The broker refuses: " + answer, *([advice] if advice else [])]), lasts=True)


@contextlib.contextmanager
def broker_trouble(prefix: str) -> Iterator[None]:
    """Raise the broker's errors as a `BrokerError`; other exceptions pass."""
    try:
        yield
    except Exception as error:
        foreign = any(type(cause).__module__.partition(".")[0] in ("redis", "kombu", "amqp") for cause in chain(error))
        if foreign or isinstance(error, OSError):
            raise told(error, prefix) from error
        raise


def pause_after(refused: int) -> float:
    """Return the seconds to wait after that many refusals in a row: 1, 2, 4, and so on, up to a minute."""
    return min(2.0 ** min(refused, 10), LONGEST_PAUSE)


class Seldom:
    """Return True for a line that is to be logged: the same one at most once a minute, whatever logs it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}

    def __call__(self, line: str) -> bool:
        now = self._clock()
        # Without a lock: threads that race here log a line twice at worst.
        self._said = {text: at for text, at in self._said.items() if now < at + SAID_FOR}
        if line in self._said:
            return False
        self._said[line] = now
        return True
