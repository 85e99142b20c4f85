"""The agents of a Celery app: its runners, the names of their Celery tasks, and the store of their marks."""

from __future__ import annotations

import re
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from celery import Celery

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery.at_work import AtWork, MemoryAtWork, RedisAtWork
from encord_agents.integrations.celery.marks import InFlight, MemoryInFlight, RedisInFlight
from encord_agents.integrations.celery.store import broker_trouble
from encord_agents.integrations.celery.timing import Limits, Timing
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.runner.queue_runner import QueueFunction

__all__ = ["Adapter", "Registration", "adapter_of", "visibility_timeout"]

PREFIX = "encord-agents"
VISIBILITY_TIMEOUT = 3600.0
"""Celery's own default."""


@dataclass(eq=False)
class Registration:
    """One runner on one app."""

    runner: QueueRunner
    app: Celery
    batch_size: int
    max_retries: int
    retry_delay: float
    poll_every: float | None
    functions: dict[str, QueueFunction] = field(default_factory=dict)

    @property
    def poll(self) -> str:
        """The name of the Celery task that polls."""
        return f"encord_agents.{self.runner.project_hash}.poll"

    def queue(self, function: QueueFunction) -> str:
        """Return the name of a stage's Celery task, made without asking the platform."""
        return f"encord_agents.{self.runner.project_hash}.stage.{function.stage}"

    @property
    def rows(self) -> str:
        """The name under which label rows are held, whichever stages their tasks are in."""
        return f"encord_agents.{self.runner.project_hash}.rows"

    @property
    def adapter(self) -> Adapter:
        return adapter_of(self.app)


@dataclass(eq=False)
class Adapter:
    """An app's runners, and the marks of their tasks: in Redis, if the broker or the result backend is one.

    Attributes:
        timing, limits: For tests: the numbers that they go by.
    """

    app: Celery
    registrations: list[Registration] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)

    @property
    def prefix(self) -> str:
        """The prefix of all keys in Redis."""
        return str((self.app.conf.broker_transport_options or {}).get("global_keyprefix", "")) + PREFIX

    @property
    def in_flight(self) -> InFlight:
        return self.marks[0]

    @property
    def at_work(self) -> AtWork:
        return self.marks[1]

    @property
    def is_shared(self) -> bool:
        """True if all processes see the same marks."""
        return isinstance(self.in_flight, RedisInFlight)

    def check(self) -> None:
        """Check that Celery can use the addresses of the broker and the result backend. Make no request.

        Raises:
            BrokerError: It cannot.
        """
        with broker_trouble(self.prefix):
            self.app.connection_for_write()
            _ = self.app.backend

    @cached_property
    def marks(self) -> tuple[InFlight, AtWork]:
        conf = self.app.conf
        for url, tls in (
            (conf.broker_write_url or conf.broker_url, conf.broker_use_ssl),
            (conf.result_backend, conf.redis_backend_use_ssl),
        ):
            if isinstance(url, str) and (client := self._redis_at(url, tls)) is not None:
                return RedisInFlight(client, self.prefix), RedisAtWork(client, self.prefix, self.timing)
        return MemoryInFlight(), MemoryAtWork()

    def _redis_at(self, url: str, tls: object) -> Any:
        """Return a client of the Redis at a broker's address, or ``None`` if that is no Redis, or several."""
        if not url.startswith(("redis://", "rediss://", "redis+socket://", "socket://")) or ";" in url:
            return None
        import redis

        from encord_agents.integrations.celery.retrying import Retrying

        # Celery spells these addresses in ways that redis-py does not read.
        address = url.replace("redis+socket://", "unix://", 1).replace("socket://", "unix://", 1)
        address = address.replace("?virtual_host=", "?db=").replace("&virtual_host=", "&db=")
        address = re.sub(r"(?<=ssl_cert_reqs=)CERT_(\w+)", lambda found: found[1].lower(), address)
        if tls and address.startswith("redis://"):
            address = address.replace("redis://", "rediss://", 1)
        return redis.Redis.from_url(
            address,
            decode_responses=True,
            socket_timeout=self.timing.redis,
            socket_connect_timeout=self.timing.redis,
            retry=Retrying(self.limits.redis_tries, self.prefix, self.timing.unsaid),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError],
            health_check_interval=30,
            **(tls if isinstance(tls, dict) else {}),
        )


_adapters: weakref.WeakKeyDictionary[Celery, Adapter] = weakref.WeakKeyDictionary()


def adapter_of(app: Celery, *, make: bool = False) -> Adapter:
    """Return the adapter of an app.

    Args:
        make: Make one if the app has none.

    Raises:
        PrintableError: The app has none.
    """
    adapter = _adapters.get(app)
    if adapter is None:
        if not make:
            raise PrintableError(
                f"The Celery app {app.main!r} has no agents: call "
                "encord_agents.integrations.celery.register(runner, app) in the module that makes it."
            )
        adapter = _adapters[app] = Adapter(app)
    return adapter


def visibility_timeout(app: Celery) -> float:
    """Return the seconds after which Redis redelivers a message that was not acknowledged."""
    return float((app.conf.broker_transport_options or {}).get("visibility_timeout", VISIBILITY_TIMEOUT))
