"""A queue runner: when it connects, what a drain is made of, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from encord_agents.exceptions import PrintableError, ProjectError, StageAlreadyAssignedError
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskCompletionResult
from encord_agents.tasks.runner.queue_function import QueueFunction

if TYPE_CHECKING:
    from tests.conftest import World


def drain(runner: QueueRunner, **options: Any) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return runner.drain(executor=executor, progress="none", **options)


def test_a_project_from_the_start() -> None:
    """Processes only import the module, so nobody could give it later."""
    for given in (None, ""):
        with pytest.raises(ProjectError, match="needs its project from the start"):
            QueueRunner(given)
    with pytest.raises(ProjectError, match="is not a project hash"):
        QueueRunner("x")


@pytest.mark.parametrize("value", ["30", None, -5, float("nan")])
def test_an_outage_of_no_length(value: Any) -> None:
    """It is refused at once, not in the first outage."""
    with pytest.raises(PrintableError, match=r"max_outage=.*seconds to wait for a platform that does not answer"):
        QueueRunner("11111111-1111-4111-8111-111111111111", max_outage=value)


def test_it_is_not_called(runner: QueueRunner) -> None:
    """The message has the ways to run it."""
    with pytest.raises(NotImplementedError, match=r"runner\.drain\(workers=4\)"):
        runner()


def test_decorating_makes_no_request(world: World, runner: QueueRunner) -> None:
    """The functions are there, in order of definition; one may be replaced, in its place."""
    world.platform.journal.clear()
    first = runner.stage("Pre-label")(lambda: "complete")
    second = runner.stage("Triage")(lambda: "ok")
    assert runner.functions == [first, second]
    third = runner.stage("Pre-label", overwrite=True)(second)
    assert runner.functions == [third, second]
    assert isinstance(third, QueueFunction)
    assert third.agent is second.agent
    assert runner.project_hash == world.project.project_hash
    assert world.requests() == []


def test_two_functions_of_a_stage(world: World, runner: QueueRunner) -> None:
    """Both can be called, as for two kinds of workers; the first serves a drain. That it may be a mistake is a warning
    where the second is decorated."""
    world.project.add_placeholders(2)
    values = {"on": "cpu"}

    def value() -> str:
        return values["on"]

    def on_cpu() -> str:
        return "complete"

    def on_gpu(on: Annotated[str, Depends(value)]) -> str:
        return "complete" if on == "gpu" else "review"

    first = runner.stage("Pre-label")(on_cpu)
    with pytest.warns(UserWarning, match=r"served by on_cpu\(\) already[\s\S]*on_gpu\(\) can be called") as caught:
        second = runner.stage("Pre-label")(on_gpu)
    assert caught[0].filename == __file__
    assert runner.functions == [first]
    (stage,) = runner.get_agent_stages()
    one, two = stage.get_tasks()
    assert TaskCompletionResult.model_validate_json(second(one)).success
    assert world.count("Review") == 1
    runner.dependency_overrides[value] = lambda: "gpu"
    assert TaskCompletionResult.model_validate_json(second(two)).success
    assert world.count("Done") == 1

    world.project.add_placeholders(1)
    assert drain(runner).moved == 1
    assert world.count("Done") == 2


def test_it_connects_once(world: World, runner: QueueRunner) -> None:
    """At the first use, with all that follows from it."""
    runner.stage("Pre-label")(lambda: "complete")
    stages = runner.get_agent_stages()
    connection = runner._connect()
    assert runner.project is connection.project
    assert [stage.title for stage in stages] == ["Pre-label"]
    assert runner._connect() is connection


def test_a_callback_that_raises(world: World, runner: QueueRunner) -> None:
    """Its exception passes, and the next use tries again; meanwhile the runner may be used in it."""
    seen: list[str] = []

    def callback(given: QueueRunner) -> None:
        seen.append(given.project.title)
        if len(seen) == 1:
            raise ValueError("not yet")

    runner.pre_execution_callback = callback
    runner.stage("Pre-label")(lambda: "complete")
    with pytest.raises(ValueError, match="not yet"):
        _ = runner.project
    assert runner.project.title == seen[0]
    assert len(seen) == 2


def test_a_stage_by_title_and_by_uuid(world: World, runner: QueueRunner) -> None:
    """Once there is a project it shows that two functions serve one stage: the second replaces the first, or it is a
    mistake."""
    uuid = world.client.get_project(world.project.project_hash).workflow.get_stage(name="Pre-label").uuid
    runner.stage("Pre-label")(lambda: "review")
    runner.stage("Triage")(lambda: "ok")
    runner.stage(uuid, overwrite=True)(lambda: "complete")
    world.project.add_placeholders(1)
    report = drain(runner)
    assert [stage.title for stage in report.stages] == ["Pre-label", "Triage"]
    assert world.count("Done") == 1
    other = QueueRunner(world.project.project_hash, user_client=world.client)
    other.stage("Pre-label")(lambda: "review")
    other.stage(uuid)(lambda: "complete")
    with pytest.raises(StageAlreadyAssignedError):
        _ = other.project


def test_a_drain_needs_an_agent(runner: QueueRunner) -> None:
    """Numbers are looked at first."""
    with pytest.raises(PrintableError, match="batch_size=0 is out of range"):
        runner.drain(batch_size=0)
    with pytest.raises(PrintableError, match=r"before calling drain\(\)"):
        runner.drain()


@pytest.mark.parametrize("connected", [False, True])
def test_a_drain_closes_what_it_has_opened(world: World, runner: QueueRunner, connected: bool) -> None:
    """Run-scoped dependencies of this process are torn down at its end, unless the process had connected before."""
    seen: list[str] = []

    def model() -> Iterator[int]:
        yield 1
        seen.append("torn down")

    @runner.stage("Pre-label")
    def agent(number: Annotated[int, Depends(model, scope="run")]) -> str:
        return "complete"

    if connected:
        _ = runner.project
    world.project.add_placeholders(2)
    assert drain(runner).moved == 2
    assert seen == ([] if connected else ["torn down"])
    runner.close()
    runner.close()
    assert seen == ["torn down"]


def test_a_stop_before_the_drain(world: World, runner: QueueRunner) -> None:
    """Nothing is done, and the report says so; a drain that ends by itself stops no other that shares the stop."""
    runner.stage("Pre-label")(lambda: "complete")
    world.project.add_placeholders(1)
    stop = Stop()
    assert drain(runner, stop=stop).moved == 1
    assert not stop.requested
    world.project.add_placeholders(1)
    stop.request()
    report = drain(runner, stop=stop)
    assert (report.tasks, report.stopped) == (0, "asked to stop")
    assert runner.report is report
