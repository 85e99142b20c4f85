"""Processes that are at work on tasks, as a Redis sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encord_agents.integrations.celery.at_work import RedisAtWork

if TYPE_CHECKING:
    import redis

_made: list[RedisAtWork] = []


def holder(client: redis.Redis) -> RedisAtWork:
    """Return one that can hold tasks, until the end of the test."""
    _made.append(RedisAtWork(client, "test"))
    return _made[-1]


def let_go() -> None:
    """Have the holders hold nothing, without asking a Redis. Else their heartbeats would outlive it."""
    for one in _made:
        with one._lock:
            one._held.clear()
            one._ended.clear()
    _made.clear()
