"""The connection that agents run with: one per call of a `Runner`, or per process that serves queue functions."""

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
from encord_agents.core.tracebacks import described, marked
from encord_agents.tasks.dependencies import OtherProjects
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.engine.events import Events
from encord_agents.tasks.engine.execute import Executor
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.load import Loader
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
        bundle_saves: Give agents the engine's client, so that held saves go out before their other requests.
        thread, one_at_a_time: As for a `RunScope`.

    Attributes:
        scope: The run-scoped dependencies, and the values, by type, that all tasks share.
        sender: The client that the engine sends its requests with.
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
        self.agents: dict[RegisteredAgent, Agent] = {}
        others = OtherProjects(partial(open_project, self.sender, stop=stop, max_outage=max_outage))
        client = self.sender if bundle_saves else runner.client
        fixed: dict[type, object] = {Project: project, EncordUserClient: client, OtherProjects: others}
        self.log = LogObserver()
        self.loop = EventLoop(runner.timing)
        self.scope = RunScope(fixed, self.loop, thread=thread, one_at_a_time=one_at_a_time)
        self._max_outage = max_outage
        self._slots = Slots(runner.limits.in_flight)  # shared by all threads that call its queue functions
        self._lock = threading.Lock()
        self._calls = 0
        self._closed = False
        self._overrides = dict(runner.dependency_overrides)

    def gate(self, stop: Stop, *, max_outage: float | None = None, grace: float | None = None) -> Gate:
        """Return a gate to the platform for one call. All calls share the connection's slots.

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
            executor: Makes the executor for its attempts.
            options: Further options of `StageRun`.
        """
        loader = Loader(agent, self.project, self.sender, gate)
        own_saves = OwnSaves(gate, loader, bundle_saves, dry_run)
        attempts = executor(self.scope, own_saves)
        return StageRun(agent, self.project, self.sender, gate, events, attempts, dry_run=dry_run, **options)

    def enter(self) -> bool:
        """Begin a call. Return False if the connection is closed."""
        self.loop.revive()  # an agent of an earlier call may have ended it
        with self._lock:  # between the check and the count, another thread could close the connection
            self._calls += not self._closed
            return not self._closed

    def leave(self) -> None:
        """End a call. If the connection is closed, the last one tears it down."""
        with self._lock:
            self._calls -= 1
            last = self._closed and not self._calls
        if last:  # not under the lock: a teardown may take long, and may use the runner
            try:
                self._tear_down()
            except Exception:
                logger.exception("What lives as long as the process could not be torn down.")

    def bundle_saves(self) -> None:
        """Give agents the engine's client from now on, so that held saves go out before their other requests."""
        # Replaced, not changed in place: attempts in other threads may be reading it.
        self.scope.values = {**self.scope.values, EncordUserClient: self.sender}

    def agent(self, registered: RegisteredAgent) -> Agent:
        """Return an agent bound to its stage. It is bound once per process."""
        with self._lock:
            if registered not in self.agents:  # decorated after the connection was made, or a stage's second function
                self.agents[registered] = self.runner._bind(registered, self.project, num_retries=0)
            if self._overrides != self.runner.dependency_overrides:
                self._overrides = dict(self.runner.dependency_overrides)
                for one, bound in self.agents.items():
                    self.agents[one] = replace(bound, plan=self.runner._plan_with_overrides(one))
            return self.agents[registered]

    def close(self, report: RunReport | None = None) -> None:
        """Tear down now, or at the end of the last call in progress."""
        with self._lock:
            self._closed = True
            in_use = self._calls
        if not in_use:  # otherwise the last call does it: its dependencies must last until it ends
            self._tear_down(report)

    def _tear_down(self, report: RunReport | None = None) -> None:
        """Tear down. A second call is harmless."""
        try:
            tear_down(self.scope, report)
        finally:
            self.loop.close()


def tear_down(scope: RunScope, report: RunReport | None = None) -> None:
    """Close a scope. Record exceptions of its teardowns in the log and the report: they come too late to fail the run.

    Raises:
        KeyboardInterrupt: It was interrupted; the other teardowns were run all the same. It may be called again.
    """
    try:
        scope.close()
    finally:
        while scope.errors:
            name, exception = scope.errors.pop(0)
            logger.error(
                "%s(), which is made once per run, raised when it was torn down. What the run did stands.\n%s",
                *(name, marked(exception)),
            )
            if report is not None:
                report.teardown_errors.append(f"{name}(): {described(exception)}")
