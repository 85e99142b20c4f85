"""A process's connection, which its queue functions share from the first use until it is closed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.logs import get_logger
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.observers import LogObserver
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.slots import Slots
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.base import RegisteredAgent, RunnerBase
from encord_agents.tasks.runner.teardown import tear_down

__all__ = ["Connection"]

logger = get_logger(__name__)


@dataclass(eq=False)
class Connection:
    """The project, client, event loop and run-scoped dependencies of a process that runs agents.

    Args:
        sender: The client that the engine's requests are made with.
        max_outage: Seconds that a call waits for a platform that does not answer.
    """

    runner: RunnerBase
    project: Project
    sender: EncordUserClient
    fixed: dict[type, object]
    max_outage: float
    agents: dict[int, Agent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = Slots(self.runner.limits.in_flight)  # over all the threads that call its queue functions
        self.log = LogObserver()
        self.loop = EventLoop(self.runner.timing)
        # Threads of engines come and go; the main one is there from the beginning to the end.
        self.scope = RunScope(self.fixed, self.loop, thread=threading.main_thread().ident)
        self._lock = threading.Lock()
        self._calls = 0
        self._closed = False
        self._overrides = dict(self.runner.dependency_overrides)

    def gate(self, stop: Stop, **options: Any) -> Gate:
        """Return a way to the platform, for one call: all calls of the process share its slots."""
        runner = self.runner
        options = {"max_outage": self.max_outage, "slots": self.slots, **options}
        return Gate(stop, timing=runner.timing, limits=runner.limits, **options)

    def enter(self) -> bool:
        """Begin a call. Return False if the connection is closed."""
        self.loop.revive()  # an agent of an earlier call may have ended it
        with self._lock:  # between the look and the count, another thread may close the connection
            self._calls += not self._closed
            return not self._closed

    def leave(self) -> None:
        """End a call."""
        with self._lock:
            self._calls -= 1
            last = self._closed and not self._calls
        if last:  # not under the lock: a teardown may take long, and may use the runner
            try:
                self._tear_down()
            except Exception:
                logger.exception("What lives as long as the process could not be torn down.")

    def bundle_saves(self) -> None:
        """Hand out the client whose requests are heard of, from now on."""
        if self.fixed[EncordUserClient] is not self.sender:
            self.fixed = {**self.fixed, EncordUserClient: self.sender}
            self.scope.values = self.fixed

    def agent(self, registered: RegisteredAgent) -> Agent:
        """Return an agent bound to its stage, once per process."""
        with self._lock:
            if id(registered) not in self.agents:  # it was decorated after the connection was made
                self.agents[id(registered)] = self.runner._bind(registered, self.project, num_retries=0)
            if self._overrides != self.runner.dependency_overrides:
                self._overrides = dict(self.runner.dependency_overrides)
                for one in self.runner.agents:
                    if (bound := self.agents.get(id(one))) is not None:
                        self.agents[id(one)] = replace(bound, plan=self.runner._plan_with_overrides(one))
            return self.agents[id(registered)]

    def close(self, report: RunReport | None = None) -> None:
        """Tear down, at the end of the last call."""
        with self._lock:
            self._closed = True
            in_use = self._calls
        if not in_use:  # else the last call does it: what it uses must not go while it runs
            self._tear_down(report)

    def _tear_down(self, report: RunReport | None = None) -> None:
        """Tear down; twice is harmless."""
        try:
            tear_down(self.scope, report)
        finally:
            self.loop.close()
