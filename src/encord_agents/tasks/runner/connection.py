"""A connection: what agents run with, in a run of one process or in a process that serves queue functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import described, formatted
from encord_agents.tasks.dependencies import OtherProjects
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.events import Events
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.observers import LogObserver
from encord_agents.tasks.engine.own_saves import OwnSaves
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.slots import Slots
from encord_agents.tasks.engine.stage_run import StageRun
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.base import RegisteredAgent, RunnerBase
from encord_agents.tasks.runner.opening import open_project

__all__ = ["Connection", "tear_down"]

logger = get_logger(__name__)


class Connection:
    """The project, client, event loop and run-scoped dependencies that agents run with.

    A call of a `Runner` has one of its own. A process has one for all calls of its queue functions, from the first use
    until it is closed.

    Args:
        max_outage: Seconds that a call waits for a platform that does not answer.
        stop: Ends the wait for other projects that agents ask for.
        bundle_saves: Hand out the client whose requests are heard of.
        thread: As for a `RunScope`, and so is ``one_at_a_time``.

    Attributes:
        scope: The run-scoped dependencies, and the values, by type, that are injected alike for all tasks.
        sender: The client that the engine's requests are made with.
    """

    def __init__(
        self,
        runner: RunnerBase,
        project: Project,
        *,
        max_outage: float,
        stop: Stop | None = None,
        bundle_saves: bool = False,
        thread: int | None = None,
        one_at_a_time: bool = False,
    ) -> None:
        self.runner = runner
        self.project = project
        self.sender = runner._sender
        self.agents: dict[int, Agent] = {}
        others = OtherProjects(partial(open_project, self.sender, stop=stop, max_outage=max_outage))
        client = self.sender if bundle_saves else runner.client
        fixed: dict[type, object] = {Project: project, EncordUserClient: client, OtherProjects: others}
        self.log = LogObserver()
        self.loop = EventLoop(runner.timing)
        self.scope = RunScope(fixed, self.loop, thread=thread, one_at_a_time=one_at_a_time)
        self._max_outage = max_outage
        self._slots = Slots(runner.limits.in_flight)  # over all the threads that call its queue functions
        self._lock = threading.Lock()
        self._calls = 0
        self._closed = False
        self._overrides = dict(runner.dependency_overrides)

    def gate(self, stop: Stop, *, max_outage: float | None = None, grace: float | None = None) -> Gate:
        """Return a way to the platform, for one call: all calls share the connection's slots.

        Args:
            max_outage: ``None``: the connection's.
            grace: As for a `Gate`.
        """
        timing, limits = self.runner.timing, self.runner.limits
        patience = self._max_outage if max_outage is None else max_outage
        return Gate(stop, max_outage=patience, slots=self._slots, grace=grace, timing=timing, limits=limits)

    def stage_run(
        self,
        agent: Agent,
        gate: Gate,
        events: Events,
        *,
        bundle_saves: bool,
        dry_run: bool = False,
        executor: Callable[..., Executor] = Executor,
        **options: Any,
    ) -> StageRun:
        """Return the run of an agent over its stage.

        Args:
            executor: Makes the executor of its attempts.
            options: Further ones of `StageRun`.
        """
        own_saves = OwnSaves(gate, bundle_saves, dry_run)
        attempts = executor(self.scope, own_saves)
        return StageRun(agent, self.project, self.sender, gate, events, attempts, dry_run=dry_run, **options)

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
        self.scope.values = {**self.scope.values, EncordUserClient: self.sender}

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


def tear_down(scope: RunScope, report: RunReport | None = None) -> None:
    """Close a scope, and tell the exceptions of its teardowns in the log and in the report: they come too late to fail
    the run.

    Raises:
        KeyboardInterrupt: It was interrupted; the others were torn down all the same. It may be called again.
    """
    try:
        scope.close()
    finally:
        while scope.errors:
            name, exception = scope.errors.pop(0)
            logger.error(
                "%s(), which is made once per run, raised when it was torn down. What the run did stands.\n%s",
                *(name, formatted(exception).rstrip()),
            )
            if report is not None:
                report.teardown_errors.append(f"{name}(): {described(exception)}")
