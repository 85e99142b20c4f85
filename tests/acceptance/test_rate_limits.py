"""A service that agents call may want quiet: it gets it, and no task is lost over that."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, RUNNERS, Driver, Processes

from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World

TASKS = 30
QUIET = 0.4
IN_FLIGHT = 4
"""Attempts that any of the drivers has under way at once: they may have begun when the first one is refused."""


class RateLimitError(Exception):
    """As the clients of hosted models raise it."""

    def __init__(self, after: float | None) -> None:
        super().__init__("429 Too Many Requests")
        self.status_code = 429
        self.retry_after = after


@dataclass
class Service:
    """Refuses everything from its first call on for a while, and says for how long.

    Attributes:
        told: Whether it says for how long.
        disturbed: Calls that came although an earlier one had been refused, and before the time that it named.
    """

    told: bool = True
    until: float | None = None
    refused: int = 0
    disturbed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self) -> str:
        with self.lock:
            now = time.monotonic()
            if self.until is None:
                self.until = now + QUIET
            elif now < self.until:
                self.disturbed += 1
            if now < self.until:
                self.refused += 1
                raise RateLimitError(self.until - now + 0.01 if self.told else None)
        return "complete"


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_service_gets_its_quiet(world: World, driver: Driver) -> None:
    """While one task waits for as long as the service said, the others of the stage do, too; then all of them move."""
    world.project.add_placeholders(TASKS)
    service = Service()
    told = driver.run(world, service.call, num_retries=1)
    assert told.counts == {"moved": TASKS}
    assert service.disturbed <= IN_FLIGHT
    if told.report is not None:
        assert told.report.attempts == TASKS + service.refused


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_task_alone_waits(world: World, driver: Driver) -> None:
    """Its next attempt does not come before the service wants it, whoever sends it again."""
    world.project.add_placeholders(1)
    service = Service()
    assert driver.run(world, service.call, num_retries=1).counts == {"moved": 1}
    assert (service.refused, service.disturbed) == (1, 0)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_service_that_does_not_say_how_long(world: World, driver: Driver) -> None:
    """429 alone is waited for from half a second on: longer than this one needs."""
    world.project.add_placeholders(TASKS)
    service = Service(told=False)
    assert driver.run(world, service.call, num_retries=1).counts == {"moved": TASKS}
    assert service.disturbed <= IN_FLIGHT


def service_of_processes() -> str:
    """Refuses from the first call on for a while, which is when a directory was made; notes each call it refuses."""
    folder = Path(os.environ["ENCORD_AGENTS_TEST_SERVICE"])
    with suppress(FileExistsError):
        (folder / "since").mkdir()
    left = (folder / "since").stat().st_ctime + QUIET - time.time()
    if left > 0:
        with (folder / "refused").open("a") as file:
            file.write("x")
        raise RateLimitError(left + 0.01)
    return "complete"


def test_a_service_gets_its_quiet_from_processes(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker is refused once, not once for each task that it has."""
    world.project.add_placeholders(TASKS)
    monkeypatch.setenv("ENCORD_AGENTS_TEST_SERVICE", str(tmp_path))
    told = Processes(tmp_path, batch_size=5).run(world, service_of_processes, num_retries=3)
    assert told.counts == {"moved": TASKS}
    assert len((tmp_path / "refused").read_text()) <= 2


@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_after_the_quiet_one_attempt_probes(world: World, driver: Driver) -> None:
    """A service that is still not well costs one attempt at a time, not one of each worker."""
    world.project.add_placeholders(TASKS)
    refusals = 12
    lock = threading.Lock()
    calls: list[str] = []

    def agent(task: AgentTask) -> str:
        with lock:
            calls.append(task.data_title)
            if len(calls) <= refusals:
                raise RateLimitError(0.01)
        return "complete"

    told = driver.run(world, agent, num_retries=refusals)
    assert told.counts == {"moved": TASKS}
    assert told.report is not None
    assert told.report.attempts == TASKS + refusals
    # Those that the service has refused come first, so no other task is disturbed.
    workers = driver.options.get("max_workers", 1)
    assert len(set(calls[:refusals])) <= workers + 1


@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_a_stop_ends_the_wait(world: World, driver: Driver) -> None:
    """However long a service wants quiet: what was not attempted is still in its stage, and counts as nothing."""
    from encord_agents.tasks.engine.stop import Stop

    world.project.add_placeholders(5)
    stop = Stop()
    runner = world.agent(_stops_and_raises(stop, is_async=driver.as_async))  # type: ignore[attr-defined]
    report = runner(progress="none", stop=stop, **driver.options)
    assert (report.tasks, report.failed) == (0, 0)
    assert world.count("Pre-label") == 5


def _stops_and_raises(stop: Any, *, is_async: bool) -> Any:
    def agent() -> str:
        threading.Timer(0.2, stop.request).start()
        raise RateLimitError(60.0)

    async def agent_async() -> str:
        return agent()

    return agent_async if is_async else agent


def test_what_is_given_up_on_holds_nobody_back(world: World) -> None:
    """An exception in `give_up_on` is never worth another attempt, so nothing waits for it."""
    world.project.add_placeholders(5)

    def agent() -> str:
        raise RateLimitError(60.0)

    report = world.agent(agent, give_up_on=(RateLimitError,))(progress="none")
    assert (report.failed, report.attempts) == (5, 5)


@pytest.mark.parametrize("wrapped", ["group", "cause"])
def test_what_is_given_up_on_may_be_wrapped(world: World, wrapped: str) -> None:
    """As `asyncio.TaskGroup` and tenacity do it: the exception is not worth another attempt, nor does anything wait."""
    world.project.add_placeholders(5)

    async def ask() -> str:
        raise RateLimitError(3600.0)

    async def agent() -> str:
        if wrapped == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(ask())
        try:
            return await ask()
        except RateLimitError as error:
            raise RuntimeError("tried") from error

    report = world.agent(agent, give_up_on=(RateLimitError,))(progress="none", num_retries=3)
    assert (report.failed, report.attempts) == (5, 5)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_quota_that_is_used_up_is_not_waited_for(world: World, driver: Driver) -> None:
    """No waiting mends it, although its status is that of a rate limit. The tasks stay where they are, for another
    time: a person who looks at one of them could not mend it either."""
    world.project.add_placeholders(TASKS, title="file {index}")

    def agent(task: AgentTask) -> str:
        if task.data_title != "file 0":
            error = RateLimitError(3600.0)
            error.code = "insufficient_quota"  # type: ignore[attr-defined]
            raise error
        return "complete"

    told = driver.run(world, agent, num_retries=1, failure_pathway="review")
    assert told.counts == {"moved": 1, "failed": TASKS - 1}
    assert world.count("Review") == 0


def test_a_rate_limit_sends_no_task_down_the_failure_pathway(world: World) -> None:
    """It is nothing that a person could see to; those tasks stay where they are."""
    world.project.add_placeholders(3, title="file {index}")

    def agent(task: AgentTask) -> str:
        if task.data_title != "file 0":
            raise RateLimitError(0.001)
        return "complete"

    report = world.agent(agent, failure_pathway="review")(progress="none", num_retries=1)
    assert (report.moved, report.failed, world.count("Review")) == (1, 2, 0)


def test_a_queue_function_tells_when_to_come_back(world: World) -> None:
    """Engines can obey it: for each task that was refused, and for no other."""
    world.project.add_placeholders(3, title="file {index}")

    def agent(task: AgentTask) -> str:
        if task.data_title == "file 2":
            raise RateLimitError(30.0)
        if task.data_title == "file 1":
            raise ValueError
        return "complete"

    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    function = runner.stage("Pre-label")(agent)
    answer = TaskCompletionResult.model_validate_json(function([*function.waiting()]))
    after = {result.data_title: result.retry_after for result in answer.results}
    assert (after["file 0"], after["file 1"]) == (None, None)
    assert after["file 2"] is not None
    assert 0 < after["file 2"] <= 30.0
    runner.close()


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_an_exception_that_raises_when_it_is_asked(world: World, driver: Driver) -> None:
    """It is that task's failure, and no more."""

    class MuteError(Exception):
        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name) if name.startswith("__") else RuntimeError(name)

    def agent(task: AgentTask) -> str:
        if task.data_title == "file 1":
            raise MuteError
        return "complete"

    world.project.add_placeholders(3, title="file {index}")
    assert driver.run(world, agent).counts == {"moved": 2, "failed": 1}
