"""The ways to run an agent, for tests of promises that hold in all of them.

``@pytest.mark.parametrize("driver", DRIVERS, ids=str)`` and ``driver.run(world, function)`` run one agent over the
tasks in Pre-label and tell what became of them. `Processes` is apart: a worker process imports the agent, so it must be
a function at the top level of a test module.
"""

from __future__ import annotations

import copy
import functools
import importlib
import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests import preloaded

from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World

    from encord_agents.tasks.engine.report import RunReport

__all__ = ["BUNDLING", "DRIVERS", "RUNNERS", "Driver", "Processes", "Told"]

MAX_OUTAGE = 5.0


@dataclass
class Told:
    """What a driver told of a run.

    Attributes:
        counts: Tasks by outcome: moved, held, failed, skipped; what is zero is left out.
        errors: Of each failed task, its error as text.
        failures: The same by the task's title.
        report: The report, from drivers that make one.
    """

    counts: dict[str, int]
    errors: list[str] = field(default_factory=list)
    report: RunReport | None = None
    failures: dict[str, str] = field(default_factory=dict)


class Driver(ABC):
    """One way to run an agent over the tasks that wait in Pre-label."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.options = options

    def __str__(self) -> str:
        return self.name

    def having(self, **options: Any) -> Self:
        """Return the same driver with further options: those of a runner's call, of `drain`, of `register`, or of a
        `QueueRunner` whose functions are called."""
        other = copy.copy(self)
        other.options = {**self.options, **options}
        return other

    @abstractmethod
    def run(self, world: World, function: Callable[..., Any], *, num_retries: int = 0, **stage_options: Any) -> Told:
        """Run an agent until every task has its outcome, retries included.

        Args:
            stage_options: Those of ``stage(...)``, and ``observers``, of drivers that make a report.
        """


class ByRunner(Driver):
    """A `Runner`, called with this driver's options; ``as_async`` makes a coroutine function of a plain agent."""

    def __init__(self, name: str, *, as_async: bool = False, **options: Any) -> None:
        super().__init__(name, **options)
        self.as_async = as_async

    def run(self, world: World, function: Callable[..., Any], *, num_retries: int = 0, **stage_options: Any) -> Told:
        observers = stage_options.pop("observers", ())
        runner = world.agent(_as_async(function) if self.as_async else function, **stage_options)
        runner.observers += observers
        return _told(runner(progress="none", num_retries=num_retries, max_outage=MAX_OUTAGE, **self.options))


class ByQueueFunction(Driver):
    """A queue function, called with all tasks at once, and again with those that may be tried again."""

    def run(self, world: World, function: Callable[..., Any], *, num_retries: int = 0, **stage_options: Any) -> Told:
        with closing(_queue(world, **self.options)) as runner:
            queue_function = runner.stage("Pre-label", **stage_options)(function)
            left = list(queue_function.waiting())
            ended = {}
            for attempt in range(num_retries + 1):
                if not left:
                    break
                answer = TaskCompletionResult.model_validate_json(queue_function(left, final=attempt == num_retries))
                ended |= {result.task_uuid: result for result in answer.results}
                again = {str(uuid) for uuid, result in ended.items() if result.retryable}
                left = [spec for spec in left if any(uuid in spec for uuid in again)]
        outcomes = Counter(result.outcome for result in ended.values())
        failures = {str(one.data_title): one.error or "" for one in ended.values() if one.outcome == "failed"}
        errors = [one.error or "" for one in ended.values() if one.outcome == "failed"]
        return Told(dict(outcomes), errors, failures=failures)


class ByThreads(Driver):
    """`QueueRunner.drain` over an executor of two threads."""

    def run(self, world: World, function: Callable[..., Any], *, num_retries: int = 0, **stage_options: Any) -> Told:
        with closing(_queue(world)) as runner, ThreadPoolExecutor(2) as pool:
            runner.observers += stage_options.pop("observers", ())
            runner.stage("Pre-label", **stage_options)(function)
            return _told(runner.drain(executor=pool, progress="none", num_retries=num_retries, **self.options))


class ByCelery(Driver):
    """Celery, with its broker in memory and a worker in a thread."""

    def run(self, world: World, function: Callable[..., Any], *, num_retries: int = 0, **stage_options: Any) -> Told:
        from tests.acceptance.test_celery import Line

        from encord_agents.integrations.celery import enqueue, register

        with closing(_queue(world)) as runner:
            line = Line(world, runner)
            line.agent(function, **stage_options)
            register(
                runner, line.app, **{"batch_size": 100, "max_retries": num_retries, "retry_delay": 0.01, **self.options}
            )
            messages = -(-enqueue(line.app) // 100)
            line.work(messages)
        counts = Counter[str]()
        errors: list[str] = []
        for done in line.done:
            counts.update(done)
        for failure in line.failed:
            head, *lines = str(failure).split("\n")
            counts["failed"] += int(head.split()[0])
            errors += _joined(lines)
            for number, outcome in _others(head):
                counts[outcome] += number
        failures = {line.partition(" (in ")[0]: line.partition("): ")[2] for line in errors}
        return Told({outcome: number for outcome, number in counts.items() if number}, errors, failures=failures)


class Processes(Driver):
    """`QueueRunner.drain` over two worker processes.

    Args:
        directory: Where the module with the runner is written.
    """

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__("processes", **options)
        self.directory = directory

    def run(self, world: World, function: Callable[..., Any], *, num_retries: int = 0, **stage_options: Any) -> Told:
        import pytest

        assert "." not in function.__qualname__, "a worker process imports it: define it at the top level of a module"
        name = f"drained_{function.__name__}_{id(self)}"
        options = "".join(f", {key}={value!r}" for key, value in stage_options.items())
        (self.directory / f"{name}.py").write_text(
            "from encord_agents.tasks import QueueRunner\n"
            f"from {function.__module__} import {function.__name__} as agent\n"
            f"runner = QueueRunner({world.project.project_hash!r}, max_outage={MAX_OUTAGE})\n"
            f"drained = runner.stage('Pre-label'{options})(agent)\n"
            # A queue function pickles by its name, in its module.
            f"drained.__module__, drained.__qualname__ = {name!r}, 'drained'\n"
        )
        with preloaded.spawning(), pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(self.directory))
            for key, value in world.platform.environment().items():
                patch.setenv(key, value)
            try:
                with closing(importlib.import_module(name).runner) as runner:
                    return _told(runner.drain(workers=2, progress="none", num_retries=num_retries, **self.options))
            finally:
                sys.modules.pop(name, None)


RUNNERS: list[Driver] = [
    ByRunner("one-by-one", task_batch_size=1),
    ByRunner("window"),
    ByRunner("workers", max_workers=4),
    ByRunner("async", as_async=True, max_workers=3),
]
"""Those that are a `Runner`."""

DRIVERS: list[Driver] = [*RUNNERS, ByQueueFunction("queue-function"), ByThreads("drain"), ByCelery("celery")]
"""All that take any function."""

BUNDLING: list[Driver] = [driver.having(bundle_saves=True) for driver in DRIVERS]
"""The same, sending what agents save by their own hand with the others'."""


def _queue(world: World, **options: Any) -> QueueRunner:
    runner = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=MAX_OUTAGE, **options)
    world.set_numbers(runner)
    return runner


def _as_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def agent(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return agent


def _told(report: RunReport) -> Told:
    counts = {name: getattr(report, name) for name in ("moved", "held", "failed", "skipped") if getattr(report, name)}
    failures = {record.data_title: record.to_dict().get("error", "") for record in report.failures}
    return Told(counts, [record.to_dict().get("error", "") for record in report.failures], report, failures)


def _joined(lines: list[str]) -> list[str]:
    """A message each, of which some have several lines: ``a title (in agent): ValueError: ...`` begins one."""
    messages: list[str] = []
    for line in lines:
        if re.match(r".* \(in \w+\): ", line) or not messages:
            messages.append(line)
        else:
            messages[-1] += f"\n{line}"
    return messages


def _others(head: str) -> list[tuple[int, str]]:
    """The counts in ``2 tasks failed for good. The others of the batch: 3 moved, 1 held.``"""
    if "others of the batch: " not in head:
        return []
    pairs = [part.split() for part in head.rpartition("others of the batch: ")[2].rstrip(".").split(", ")]
    return [(int(number), outcome) for number, outcome in pairs]
