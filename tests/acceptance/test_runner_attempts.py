"""An attempt is whole: fresh dependencies, one call, teardown; and what happens when one is not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask

from encord_agents.tasks import Depends
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

WINDOWS = pytest.mark.parametrize("window", [1, 300])


@WINDOWS
def test_the_second_attempt_gets_everything_fresh(world: World, window: int) -> None:
    """A generator is made anew, shared within the attempt, and an iterator is not half used."""
    world.project.add_placeholders(1)
    made: list[int] = []
    seen: list[tuple[int, list[int]]] = []

    def resource() -> Iterator[int]:
        made.append(len(made))
        yield made[-1]

    def numbers() -> Iterator[int]:
        return iter([1, 2, 3])

    def iterating() -> Iterator[Iterator[int]]:
        yield numbers()

    def inner(number: Annotated[int, Depends(resource)]) -> int:
        return number

    def agent(
        number: Annotated[int, Depends(resource)],
        same: Annotated[int, Depends(inner)],
        iterator: Annotated[Iterator[int], Depends(iterating)],
    ) -> str:
        assert number == same
        seen.append((number, list(iterator)))
        if len(seen) == 1:
            raise LookupError
        return "complete"

    report = world.run(agent, task_batch_size=window)
    assert (report.moved, report.attempts) == (1, 2)
    assert made == [0, 1]
    assert seen == [(0, [1, 2, 3]), (1, [1, 2, 3])]


@WINDOWS
def test_teardown_in_reverse_before_the_result_goes_on(world: World, window: int) -> None:
    """Teardown runs on every attempt, in reverse, and before anything is written."""
    world.project.add_placeholders(1)
    log: list[str] = []

    def outer() -> Iterator[str]:
        log.append("+outer")
        yield "outer"
        log.append(f"-outer after {world.platform.journal.count('actions')} moves")

    def inner(value: Annotated[str, Depends(outer)]) -> Iterator[str]:
        log.append("+inner")
        try:
            yield value
        except LookupError:
            log.append("!inner")
            raise
        finally:
            log.append("-inner")

    def agent(value: Annotated[str, Depends(inner)]) -> str:
        log.append("call")
        if log.count("call") == 1:
            raise LookupError
        return "complete"

    assert world.run(agent, task_batch_size=window).moved == 1
    assert log[:5] == ["+outer", "+inner", "call", "!inner", "-inner"]
    assert log[5:] == ["+outer", "+inner", "call", "-inner", "-outer after 0 moves"]


@WINDOWS
@pytest.mark.parametrize("retries", [0, 3])
def test_num_retries(world: World, window: int, retries: int) -> None:
    """`num_retries=3` is 4 attempts and not one more; the last exception is reported."""
    world.project.add_placeholders(1)
    calls: list[int] = []

    def agent() -> None:
        calls.append(len(calls) + 1)
        raise LookupError(f"attempt {len(calls)}")

    report = world.run(agent, num_retries=retries, task_batch_size=window)
    assert len(calls) == retries + 1
    assert (report.failed, report.attempts) == (1, retries + 1)
    assert str(report.failures[0].exception) == f"attempt {retries + 1}"


def test_three_retries_are_the_default(world: World) -> None:
    """Without saying anything, 4 attempts."""
    world.project.add_placeholders(1)
    calls: list[int] = []

    def agent() -> None:
        calls.append(1)
        raise LookupError

    world.agent(agent)(progress="none")
    assert len(calls) == 4


@WINDOWS
@pytest.mark.parametrize("phase", ["inject", "agent", "teardown", "pathway"])
def test_a_good_attempt_after_a_bad_one(world: World, window: int, phase: str) -> None:
    """Retries cover inject, agent, teardown and pathway, and one good attempt is enough."""
    world.project.add_placeholders(2)
    bad = {"image-00001.png"}

    def trouble(task: AgentTask, where: str) -> bool:
        if phase == where and task.data_title in bad:
            bad.clear()
            return True
        return False

    def dependency(task: AgentTask) -> Iterator[None]:
        if trouble(task, "inject"):
            raise LookupError
        yield
        if trouble(task, "teardown"):
            raise LookupError

    def agent(task: AgentTask, dependency: Annotated[None, Depends(dependency)]) -> str:
        if trouble(task, "agent"):
            raise LookupError
        return "nowhere" if trouble(task, "pathway") else "complete"

    report = world.run(agent, num_retries=1, task_batch_size=window)
    assert (report.moved, report.failed, report.attempts) == (2, 0, 3)
    assert all(world.project.moves(task.uuid) == 1 for task in world.project.tasks())


def test_a_teardown_that_raises_after_a_good_call(world: World) -> None:
    """It is a fault: the result is not written."""
    (data_hash,) = world.project.add_placeholders(1)

    def dependency() -> Iterator[None]:
        yield
        raise LookupError("could not close")

    def agent(label_row: LabelRowV2, dependency: Annotated[None, Depends(dependency)]) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct("complete", label_row)

    report = world.run(agent, num_retries=0)
    assert report.failures[0].phase == "teardown"
    assert "could not close" in str(report.failures[0].exception)
    assert world.project.saves(data_hash) == 0
    assert world.count("Pre-label") == 1


def test_swallowing_the_exception_does_not_make_a_success(world: World) -> None:
    """The agent failed, whatever its dependencies make of it."""
    world.project.add_placeholders(1)

    def forgiving() -> Iterator[None]:
        with contextlib.suppress(LookupError):
            yield

    def agent(dependency: Annotated[None, Depends(forgiving)]) -> str:
        raise LookupError("agent")

    report = world.run(agent, num_retries=0)
    assert (report.failed, report.failures[0].phase) == (1, "agent")


def test_the_label_row_stays_the_same(world: World) -> None:
    """Its changes are not rolled back between attempts, and it is not fetched again."""
    world.project.add_placeholders(1)
    rows: list[LabelRowV2] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        rows.append(label_row)
        world.mark(label_row)
        if len(rows) < 3:
            raise LookupError
        return TaskAgentReturnStruct("complete", label_row)

    world.run(agent).raise_for_failures()
    assert rows[0] is rows[1] is rows[2]
    assert len(rows[0].get_object_instances()) == 3
    assert world.platform.journal.count("label_create") == 1


@WINDOWS
@pytest.mark.parametrize("where", ["agent", "dependency"])
def test_keyboard_interrupt(world: World, window: int, where: str) -> None:
    """Finished tasks are written, the interrupted one stays, the report is there, and the interrupt is raised again."""
    hashes = world.project.add_placeholders(6)
    torn_down: list[str] = []

    def dependency(task: AgentTask) -> Iterator[None]:
        if where == "dependency" and task.data_title == "image-00003.png":
            raise KeyboardInterrupt
        yield
        torn_down.append(task.data_title)

    def agent(
        label_row: LabelRowV2, task: AgentTask, dependency: Annotated[None, Depends(dependency)]
    ) -> TaskAgentReturnStruct:
        if task.data_title == "image-00003.png":
            raise KeyboardInterrupt
        return TaskAgentReturnStruct("complete", label_row, 0.5)

    runner = world.agent(agent)
    with pytest.raises(KeyboardInterrupt):
        runner(progress="none", task_batch_size=window)
    assert runner.report is not None
    assert (runner.report.moved, runner.report.failed) == (3, 0)
    assert runner.report.stopped == "interrupted"
    assert runner.report.unwritten == ()
    assert world.count("Done") == 3
    assert [world.project.saves(h) for h in hashes] == [1, 1, 1, 0, 0, 0]
    assert world.titles("Pre-label") == [f"image-{i:05d}.png" for i in (3, 4, 5)]
    assert torn_down == [f"image-{i:05d}.png" for i in (0, 1, 2)]


def test_what_is_never_retried(world: World) -> None:
    """`give_up_on` names the exceptions that another attempt would only raise again."""
    world.project.add_placeholders(1)
    calls: list[int] = []

    def agent() -> None:
        calls.append(1)
        raise LookupError if len(calls) > 1 else OSError

    report = world.agent(agent, give_up_on=(LookupError,))(progress="none")
    assert (len(calls), report.failed) == (2, 1)


# Injection, from end to end


def test_the_runners_client_is_everyones(world: World) -> None:
    """By type, by `dep_client`, and in a run-scoped dependency: it is the one the runner was given."""
    from encord.project import Project
    from encord.user_client import EncordUserClient

    from encord_agents.tasks.dependencies import dep_client

    world.project.add_placeholders(1)
    seen: list[Any] = []

    def of_run(client: EncordUserClient, project: Project) -> EncordUserClient:
        seen.append(project)
        return client

    def agent(
        client: EncordUserClient,
        again: Annotated[EncordUserClient, Depends(dep_client)],
        third: Annotated[EncordUserClient, Depends(of_run, scope="run")],
    ) -> str:
        seen.extend([client, again, third])
        return "complete"

    runner = world.agent(agent)
    assert runner(progress="none").moved == 1
    assert seen[0] is runner.project
    assert all(client is world.client for client in seen[1:])


def test_dependency_overrides(world: World) -> None:
    """For tests: a function to use in place of another, also deeper down, until it is taken out again."""
    world.project.add_placeholders(3)

    def weights() -> str:
        return "complete"

    def model(weights: Annotated[str, Depends(weights)]) -> str:
        return weights

    def agent(model: Annotated[str, Depends(model)]) -> str:
        return model

    runner = world.agent(agent)
    runner.dependency_overrides[weights] = lambda: "review"
    runner(progress="none", max_tasks_per_stage=1)
    runner.dependency_overrides[model] = lambda: "triage"
    runner(progress="none", max_tasks_per_stage=1)
    runner.dependency_overrides.clear()
    runner(progress="none", max_tasks_per_stage=1)
    assert [world.count(stage) for stage in ("Review", "Triage", "Done")] == [1, 1, 1]
