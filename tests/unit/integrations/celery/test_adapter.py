"""The store of an app's marks: the Redis that Celery uses, however its address is written, or memory."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from celery import Celery

from encord_agents.integrations.celery.adapter import Adapter, visibility_timeout
from encord_agents.integrations.celery.marks import RedisInFlight


def adapter(broker: str, **settings: Any) -> Adapter:
    app = Celery("adapter", broker=broker, set_as_current=False)
    app.conf.update(settings)
    return Adapter(app)


def connection(found: Adapter) -> Any:
    """A connection as it would be made. Making it asks nobody."""
    marks = found.in_flight
    assert isinstance(marks, RedisInFlight)
    return marks._client.connection_pool.make_connection()


@pytest.mark.parametrize(
    ("broker", "settings", "expected"),
    [
        ("redis://:secret@127.0.0.1:7000/3", {}, {"host": "127.0.0.1", "port": 7000, "db": 3, "password": "secret"}),
        ("redis+socket:///run/redis.sock?virtual_host=2", {}, {"path": "/run/redis.sock", "db": 2}),
        ("rediss://127.0.0.1/0?ssl_cert_reqs=CERT_NONE", {}, {"cert_reqs": ssl.CERT_NONE}),
        ("rediss://127.0.0.1/0?ssl_cert_reqs=required", {}, {"cert_reqs": ssl.CERT_REQUIRED}),
        ("redis://127.0.0.1", {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE}}, {"cert_reqs": ssl.CERT_NONE}),
        ("redis://127.0.0.1", {"broker_use_ssl": True}, {"cert_reqs": ssl.CERT_REQUIRED}),
        ("amqp://127.0.0.1", {"result_backend": "redis://127.0.0.1:7001/1"}, {"port": 7001, "db": 1}),
        ("amqp://127.0.0.1", {"result_backend": "socket:///run/redis.sock"}, {"path": "/run/redis.sock"}),
        ("amqp://127.0.0.1", {"broker_write_url": "redis://127.0.0.1:7002"}, {"port": 7002}),
    ],
)
def test_in_redis(broker: str, settings: dict[str, Any], expected: dict[str, Any]) -> None:
    """The broker's, or else the result backend's."""
    found = adapter(broker, **settings)
    assert found.is_shared
    made = connection(found)
    assert {name: getattr(made, name) for name in expected} == expected


@pytest.mark.parametrize(
    "broker",
    ["memory://", "amqp://127.0.0.1", "sentinel://127.0.0.1:1;sentinel://127.0.0.1:2", "redis://127.0.0.1;redis://b"],
)
def test_in_memory(broker: str) -> None:
    """Without a Redis, or with several, marks are kept in memory."""
    assert not adapter(broker).is_shared
    assert not adapter(broker, result_backend="rpc://").is_shared


def test_keys_have_the_prefix_of_the_broker() -> None:
    """Apps that share a Redis by prefixes keep to their own."""
    found = adapter("redis://127.0.0.1", broker_transport_options={"global_keyprefix": "team-a:"})
    assert isinstance(found.in_flight, RedisInFlight)
    assert found.in_flight._key("stage", "in-flight") == "team-a:encord-agents:stage:in-flight"


def test_the_visibility_timeout() -> None:
    """It is the app's setting, or Celery's own default."""
    assert visibility_timeout(adapter("redis://").app) == 3600
    assert visibility_timeout(adapter("redis://", broker_transport_options={"visibility_timeout": 60}).app) == 60
