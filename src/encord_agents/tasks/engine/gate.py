"""The gate that every request of the engine passes: it limits concurrent requests, and waits out outages up to a limit.

The SDK retries some requests and not others (the first ``initialise_labels`` of a row never is). Here all of them are
treated alike, and the SDK's own retries are off. An *outage* is trouble with the platform or the way to it: timeouts,
dropped connections, 429 and 5xx, as HTTP statuses or inside the envelope of the older protocol. It is waited out.
Everything else is an answer.
"""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from encord.exceptions import RateLimitExceededError

from encord_agents.core.answers import refused_certificate
from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.room import ran_out
from encord_agents.core.sdk.once import sent_once
from encord_agents.core.sleep import seconds_asleep
from encord_agents.core.tracebacks import message_of
from encord_agents.exceptions import CertificateError, NoRoomError, OutageError
from encord_agents.tasks.engine.interruption import interruption
from encord_agents.tasks.engine.slots import Slots
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.engine.troubles import Troubles, split
from encord_agents.tasks.engine.verdict import END_ALL, Verdict, verdict

__all__ = ["Gate", "Reply", "SetUpError"]

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741

logger = get_logger(__name__)

LONGEST_SAID = 300
"""The maximum number of characters of a server's answer in a line of the log."""


class SetUpError(Exception):
    """Inside the engine: the set-up is wrong, not a task. ``error`` is the exception for the user."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """The result of one try of a request: a value, or an error."""

    value: T | None = None
    error: Exception | None = None

    @property
    def verdict(self) -> Verdict | None:
        return None if self.error is None else verdict(self.error)


@dataclass(slots=True)
class _Kind:
    """The recent history of one kind of request, over all threads."""

    down_since: float | None = None
    warned: bool = False
    """True once a warning about its outage was logged."""
    successes: int = 0
    """Answers of any kind, including refusals: they show that the platform is there."""
    granted: bool = False
    """True if any of them was more than a refusal."""


@dataclass
class Gate:
    """The engine's only way to the platform.

    Args:
        stop: Ends waiting.
        max_outage: Seconds without any success of a kind of request after which the run gives up.
        clock: Monotonic seconds.
        jitter: A number in [0, 1).
        slots: Slots that several gates of one process share. Default: `Limits.in_flight` of its own.
        grace: Seconds that waiting may go on once a stop is requested. Default: no limit until `give_up_at` is called.
        timing: The engine's durations, for the gate and everything that has it.
        limits: The engine's counts and sizes, likewise.
        asleep: The seconds for which the machine has slept, and the clock with it.
    """

    stop: Stop
    max_outage: float = 300.0
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    pause: Callable[[float], None] | None = None
    on_outage: Callable[[str, Exception], None] | None = None
    slots: Slots | None = None
    downloads_in_trouble: set[object] = field(default_factory=set)
    grace: float | None = None
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    asleep: Callable[[], float] = seconds_asleep
    _kinds: dict[str, _Kind] = field(default_factory=dict)
    _not_before: float = 0.0

    def __post_init__(self) -> None:
        self._slots = self.slots or Slots(self.limits.in_flight)
        self.downloads = Slots(self.limits.downloads)
        # Held for a few lines of counting at a time, never while a request is made or waited for.
        self._lock = threading.Lock()
        # Per thread: while one thread's reads are optional, other threads still write.
        self._here = threading.local()
        self._deadline: float | None = None
        self._slept, self._woke_at = self.asleep(), -math.inf

    def give_up_at(self, deadline: float) -> None:
        """Stop waiting at this time on the clock, after which no request is started. Only the first call counts."""
        if self._deadline is None:
            self._deadline = deadline

    @property
    def overdue(self) -> bool:
        """True if the deadline has passed."""
        return self._deadline is not None and self.clock() >= self._deadline

    def age(self, at: float) -> float:
        """Return the seconds since a time on the clock; infinity if the machine has slept since then.

        Outages are measured on the clock itself: one that began as the machine fell asleep has not lasted all night.
        """
        slept = self.asleep()
        if slept - self._slept >= 1.0:  # less is the time between the readings of two clocks
            self._slept, self._woke_at = slept, self.clock()
        return math.inf if at < self._woke_at else self.clock() - at

    def call(self, request: Callable[[], T], *, kind: str) -> T:
        """Make a request, waiting out outages.

        Args:
            request: Makes the request, and may be called again: it must be idempotent.
            kind: The kind of request; requests of a kind share an outage.

        Raises:
            OutageError: Nothing of this kind was answered for `max_outage` seconds.
            NoRoomError: This machine had no handle for the request for that long.
            CertificateError: The platform's certificate is not trusted here.
            Leaving: It is time to leave.
            Exception: The platform's answer, if that is a refusal; or its failure, if everything points to this one
                request as the cause.
        """
        reply = self._ask(request, Troubles(kind), divisible=False)
        if reply.error is not None:
            raise reply.error
        return reply.value  # type: ignore[return-value]

    def _ask(self, request: Callable[[], T], troubles: Troubles, *, divisible: bool) -> Reply[T]:
        """Make a request, waiting out outages.

        Args:
            divisible: Return the error after `Limits.tries` tries, so that the caller can ask for less, or for other
                things first.
        """
        while True:
            reply = self.send(request, kind=troubles.kind)
            if reply.error is None or reply.verdict not in (Verdict.OUTAGE, Verdict.RATE_LIMIT):
                return reply
            if not self.recover(troubles, reply.error):
                return reply
            if divisible and troubles.tries >= self.limits.tries and reply.verdict is Verdict.OUTAGE:
                return reply

    def each(
        self, items: Sequence[I], request: Callable[[Sequence[I]], T], *, kind: str
    ) -> Iterator[tuple[Sequence[I], Reply[T]]]:
        """Make one request for many items, and smaller ones if it is refused, until the culprits are alone.

        Args:
            items: The items to ask for; without any, no request is made.
            request: Makes the request for some of them. It must be idempotent.

        Yields:
            The items of a request with its reply. An error comes with a single item.

        Raises:
            SetUpError: The key, or the certificate, is refused; or every single item of several is forbidden, and
                nothing of this kind was ever granted.
            OutageError, NoRoomError, Leaving: See `call`.
        """
        forbidden: list[Exception] = []
        pending = [(items, Troubles(kind))] if items else []
        while pending:
            part, troubles = pending.pop(0)
            divisible = len(part) > 1 or bool(pending)
            reply = self._ask(partial(request, part), troubles, divisible=divisible)
            if (error := reply.error) is None:
                yield part, reply
                continue
            if reply.verdict in END_ALL:
                raise SetUpError(error) from error
            if len(part) > 1:
                pending[:0] = split(part, troubles)  # before the rest, so that items are answered in their order
                continue
            if reply.verdict is Verdict.OUTAGE and not troubles.hopeless:
                # The other requests will show whether this one or the platform is to blame.
                pending.append((part, troubles))
                continue
            forbidden += [error] if reply.verdict is Verdict.FORBIDDEN else []
            if len(forbidden) == len(items) > 1 and not self.has_granted(kind):
                raise SetUpError(error) from error
            yield part, reply

    def send(self, request: Callable[[], T], *, kind: str) -> Reply[T]:
        """Make a request once, as soon as a slot is free and the platform wants no pause.

        Raises:
            Leaving: It is time to leave; the request was not made.
            Exception: The request was cut off from outside, as by a time limit, and may have been carried out.
        """
        self._await_turn()
        handled = sys.exception()  # a request may be made while another exception is handled, which did not cut it off
        with self.slot(self._slots):
            try:
                with sent_once():  # the SDK's own retries would add to these, and repeat a move
                    value = request()
            except Exception as error:
                if (cut_off_by := interruption(error, handled=handled)) is not None:
                    if cut_off_by is error:
                        raise
                    raise cut_off_by from cut_off_by.__cause__
                if (refused := refused_certificate(error)) is not None:
                    return Reply(error=CertificateError(f"The platform cannot be trusted: {refused}"))
                if verdict(error) not in (Verdict.OUTAGE, Verdict.RATE_LIMIT):
                    self.answered(kind, granted=False)  # a refusal too shows that the platform is there
                return Reply(error=error)
        self.answered(kind)
        return Reply(value=value)

    def recover(self, troubles: Troubles, error: Exception, *, at_least: float = 0.0) -> bool:
        """Wait before the next try of a request that failed with ``error``. Return False if it is not worth one.

        Args:
            at_least: Seconds that the other side asked to wait.

        Raises:
            OutageError: There was no success of this kind for too long; or the platform asks for a wait that would
                exceed that limit.
            NoRoomError: This machine has had no handle for it for that long.
            Leaving: It is time to leave.
        """
        now = self.clock()
        asked = float(error.retry_after or 0) if isinstance(error, RateLimitExceededError) else 0.0
        with self._lock:
            kind = self._kinds.setdefault(troubles.kind, _Kind())
            # By kind, over all threads: eight requests that fail for ten seconds each are one outage of ten seconds.
            if kind.down_since is None:
                kind.down_since = now
            if troubles.since is None:  # from now on, others' successes say more about this request than about the kind
                troubles.since, troubles.successes_before = now, kind.successes
            troubles.tries += 1
            down_for = now - kind.down_since
            others_succeed = kind.successes > troubles.successes_before
            # Under the lock, so that only one of all waiting threads logs it.
            is_news = not kind.warned and down_for >= self.timing.long_wait and not asked
            kind.warned |= is_news
        limited = isinstance(error, RateLimitExceededError)
        if troubles.tries == 1:
            logger.info(
                "The platform did not answer a %s request (%s); waiting and asking again.",
                troubles.kind,
                _said(error),
            )
        if is_news:
            logger.warning(
                "The platform has not answered a %s request for %.0f s (%s); it is asked for up to %g s.",
                troubles.kind,
                down_for,
                _said(error),
                self.max_outage,
            )
        if self.on_outage is not None:
            self.on_outage(troubles.kind, error)
        if (lack := ran_out(error)) is not None:
            # Requests that already have a connection still succeed, which says nothing against this one.
            if now - troubles.since >= self.max_outage:
                raise NoRoomError(f"A {troubles.kind} request cannot be made", lack)
        elif others_succeed and not limited and troubles.tries >= self.limits.tries:
            if now - troubles.since >= min(self.timing.own_trouble_after, self.max_outage):
                troubles.hopeless = True
                return False
        elif down_for >= self.max_outage:
            raise OutageError(down_for, error) from error
        if asked and down_for + asked > self.max_outage:
            raise OutageError(down_for, error, asked=asked) from error

        timing = self.timing
        # Exponential backoff with full jitter: threads that failed together must not retry together.
        ceiling = min(timing.first_backoff * 2.0 ** min(troubles.tries - 1, 10), timing.longest_backoff)
        wait = max(ceiling * self.jitter(), min(at_least, max(0.0, self.max_outage - down_for)))
        if asked:
            self._keep_still(troubles.kind, now, asked)
        else:
            self._pause(wait)
        return True

    def _keep_still(self, kind: str, now: float, seconds: float) -> None:
        """Make every thread wait for as long as the platform asks, not only the one that received the answer."""
        with self._lock:
            is_news = seconds >= self.timing.long_wait and now + seconds >= self._not_before + self.timing.long_wait
            self._not_before = max(self._not_before, now + seconds)
        if is_news:
            logger.warning("The platform asks to wait %.0f s, in its answer to a %s request; waiting.", seconds, kind)

    def has_granted(self, kind: str) -> bool:
        """Return True if a request of this kind has ever succeeded: then a 403 is about its item."""
        with self._lock:
            return kind in self._kinds and self._kinds[kind].granted

    @contextmanager
    def optional(self) -> Iterator[None]:
        """Mark this thread's requests as optional: when the run is stopping, they are not waited for."""
        before = self._is_optional
        self._here.optional = True
        try:
            yield
        finally:
            self._here.optional = before

    @property
    def _is_optional(self) -> bool:
        return getattr(self._here, "optional", False)

    @contextmanager
    def slot(self, slots: Slots) -> Iterator[None]:
        """Take one of some slots inside the block, waiting for it as long as there is time.

        Raises:
            Leaving: There was no slot in time.
        """
        while not slots.take(self.timing.tick):  # in short waits: a thread that has a slot may hang past the deadline
            self._check_time()
        try:
            yield
        finally:
            slots.give_back()

    def _await_turn(self) -> None:
        self._check_time()
        while (wait := self._not_before - self.clock()) > 0:  # another thread may have extended the wait meanwhile
            self._pause(wait)
        self._check_time()

    def _check_time(self) -> None:
        if self.grace is not None and self.stop.requested:
            self.give_up_at(self.clock() + self.grace)
        if self.stop.leaving or self.overdue or (self.stop.requested and self._is_optional):
            raise Leaving

    def _pause(self, seconds: float) -> None:
        """Wait, but not past the deadline, even if that is set meanwhile."""
        until = self.clock() + seconds
        self._check_time()
        while (left := until - self.clock()) > 1e-6:
            if self._deadline is not None:
                left = min(left, self._deadline - self.clock())
            if self.pause is not None:
                self.pause(left)
            else:
                self.stop.pause(min(left, self.timing.tick))
            self._check_time()

    def answered(self, kind: str, *, granted: bool = True) -> None:
        """Note that a request of this kind was answered, so that there is no outage of the kind."""
        with self._lock:
            state = self._kinds.setdefault(kind, _Kind())
            state.down_since = None
            state.warned = False
            state.successes += 1
            state.granted = state.granted or granted


def _said(error: Exception) -> str:
    """Return a server's answer, which may be a whole page, shortened for a line of the log."""
    return on_a_line(message_of(error), LONGEST_SAID)
