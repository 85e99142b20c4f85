"""A Redis, and holders of tasks that end with their test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.unit.integrations.celery.holders import let_go

if TYPE_CHECKING:
    import redis
    from tests.brokers import Broker


@pytest.fixture
def client(redis_server: Broker) -> Iterator[redis.Redis]:
    """An empty Redis."""
    redis_server.clear()
    import redis

    with redis.Redis.from_url(redis_server.url, decode_responses=True) as found:
        yield found


@pytest.fixture(autouse=True)
def hearts_stand_still() -> Iterator[None]:
    """Have no holder of a test say for ever that it is at work."""
    yield
    let_go()
