"""Requests to Redis are sent again while it cannot be reached, and a wait that somebody may notice is logged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from encord_agents.core.logs import get_logger
from encord_agents.integrations.celery.store import Seldom, told

__all__ = ["Retrying"]

logger = get_logger(__name__)

_seldom = Seldom()


class Retrying(Retry):
    """Says what it waits for, and how long. Raises at once what lasts until somebody changes something.

    Args:
        tries: How often a request is sent again.
        prefix: The prefix of all keys.
        unsaid: Seconds of waiting without a word, since a connection that was idle for long is often closed.
    """

    def __init__(self, tries: int, prefix: str, unsaid: float) -> None:
        backoff = ExponentialBackoff(cap=5, base=0.2)
        super().__init__(backoff, tries)
        self._pauses = [backoff.compute(failures) for failures in range(1, tries + 1)]
        self._prefix = prefix
        self._unsaid = unsaid

    def call_with_retry(self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Do the same as redis-py, whose versions differ in further arguments."""
        began = tried = time.monotonic()
        tries = self._retries
        left = self._pauses[:tries]

        def attempt() -> Any:
            nonlocal tried
            tried = time.monotonic()
            # A request may connect, and connecting may ask: only the outermost is sent again, or tries would multiply.
            # No other thread is concerned, since each connection has its own copy of this object.
            self._retries = 0
            try:
                return do()
            finally:
                self._retries = tries

        def failed(error: Exception, *count: int) -> Any:
            now = time.monotonic()
            result = fail(error, *count)
            trouble = told(error, self._prefix)
            if trouble.lasts:
                raise error
            if left and now - began >= self._unsaid and _seldom(f"{trouble}"):
                seconds = sum(left) + len(left) * (now - tried)
                logger.warning("%s\nTrying again, for about %.0f s.", trouble, seconds)
            del left[:1]
            return result

        return super().call_with_retry(attempt, failed, *args, **options)
