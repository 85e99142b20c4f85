"""An agent may raise or return any object: only its own task fails, with a report, and the others are done."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, RUNNERS, Driver, Processes
from tests.misbehaving import EXCEPTIONS, PATHWAYS, VALUES, leave, refuse

from encord_agents.core import tracebacks
from encord_agents.exceptions import DependencyError
from encord_agents.tasks import Depends
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

PLACES = ("inject", "agent", "teardown", "cause", "context", "group", "exit", "after")


def misbehave(title: str, place: str) -> None:
    """Raise what a task's title asks for, if it asks for it in this place."""
    wanted, _, kind = title.partition(" ")
    if wanted != place or kind not in EXCEPTIONS:
        return
    error = EXCEPTIONS[kind]()
    if place == "cause":
        raise ValueError(f"because of {kind}") from error
    if place == "context":
        try:
            raise error
        except BaseException:
            raise ValueError(f"while in {kind}")  # noqa: B904
    if place == "group":
        raise BaseExceptionGroup(f"with {kind}", [error, ValueError("other")])
    if place == "exit":
        sys.exit(error)  # type: ignore[arg-type]
    raise error


def dependency(task: AgentTask) -> Iterator[str]:
    misbehave(task.data_title, "inject")
    yield task.data_title
    misbehave(task.data_title, "teardown")


def second(task: AgentTask, title: Annotated[str, Depends(dependency)]) -> Iterator[None]:
    """Raises in its teardown, after the agent raised."""
    try:
        yield
    finally:
        misbehave(title, "after")


def agent(task: AgentTask, title: Annotated[str, Depends(dependency)], _: Annotated[None, Depends(second)]) -> Any:
    place, _, kind = title.partition(" ")
    if place == "return":
        return VALUES[kind]()
    if place == "pathway":
        return PATHWAYS[kind]()
    for here in ("agent", "cause", "context", "group", "exit"):
        misbehave(title, here)
    if place == "after":
        raise EXCEPTIONS[kind]()
    return "complete"


def add_tasks(world: World, titles: list[str]) -> None:
    for number, title in enumerate(titles):
        world.project.add_placeholders(1, title=title)
        if number % 3 == 0:
            world.project.add_placeholders(2, title=f"good {number}-{{index}}")


def check(world: World, driver: Driver, titles: list[str]) -> None:
    """Each of these tasks fails and is told with what it was, and the others are moved."""
    add_tasks(world, titles)
    ways = [f"pathway {kind}" for kind in PATHWAYS]
    add_tasks(world, ways)
    told = driver.run(world, agent)
    good = len(world.titles("Done"))
    assert sorted(world.titles("Pre-label")) == sorted(titles)
    assert sorted(told.failures) == sorted(titles)
    assert told.counts == {"moved": good, "failed": len(titles)}
    for title, error in told.failures.items():
        kind = title.partition(" ")[2]
        assert kind in error or title.startswith("return"), (title, error)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_rows_of_every_kind(world: World, driver: Driver) -> None:
    """A row that refuses to be written down fails its task; one that only cannot be counted is saved."""
    world.project.add_placeholders(6)
    refusing = {1: ("to_encord_dict", refuse), 2: ("save", leave), 3: ("get_object_instances", leave)}

    def agent(task: AgentTask, label_row: LabelRowV2) -> TaskAgentReturnStruct:
        number = int(task.data_title[6:11])
        if number in refusing:
            setattr(label_row, *refusing[number])
        return TaskAgentReturnStruct("complete", label_row)

    told = driver.run(world, agent)
    assert told.counts == {"moved": 4, "failed": 2}
    assert "refused" in told.failures["image-00001.png"]
    assert "SystemExit" in told.failures["image-00002.png"]


def test_a_dry_run_of_rows_that_cannot_be_counted(world: World) -> None:
    """Says the same of them as the run would do."""
    world.project.add_placeholders(3)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        label_row.get_object_instances = leave  # type: ignore[method-assign]
        return TaskAgentReturnStruct("complete", label_row)

    assert world.run(agent, dry_run=True).moved == 3


@pytest.mark.parametrize("driver", [*RUNNERS, DRIVERS[5]], ids=str)
def test_async_observers(world: World, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    """They would do nothing, since nobody awaits them, and that is said once."""
    world.project.add_placeholders(3)

    async def watch(event: object) -> None: ...

    assert driver.run(world, lambda: "complete", observers=[watch]).counts == {"moved": 3}
    (message,) = [record.getMessage() for record in caplog.records if "observer" in record.getMessage()]
    assert "watch raised TypeError: it is async" in message


RAISED = [f"{place} {kind}" for kind in EXCEPTIONS for place in PLACES]
RETURNED = [f"return {kind}" for kind in VALUES]


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_raised_and_returned(world: World, driver: Driver) -> None:
    """In a dependency, the agent, a teardown; as such, as cause, context, member of a group, and where the exit is."""
    check(world, driver, [*RAISED, *RETURNED])


def test_over_processes(world: World, tmp_path: Path) -> None:
    """Exceptions that cannot be pickled or shown reach the parent as text."""
    check(world, Processes(tmp_path), [f"agent {kind}" for kind in EXCEPTIONS] + RETURNED[:3])


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_in_a_run_scoped_dependency(world: World, driver: Driver) -> None:
    """One that is made in the end costs attempts, whatever it raised before."""
    world.project.add_placeholders(3)
    left = list(EXCEPTIONS.values())

    def model() -> str:
        if left:
            raise left.pop()()
        return "complete"

    def agent(made: Annotated[str, Depends(model, scope="run")]) -> str:
        return made

    assert driver.run(world, agent, num_retries=len(left)).counts == {"moved": 3}


@pytest.mark.parametrize("driver", [*RUNNERS, DRIVERS[5]], ids=str)
def test_what_ends_a_run_says_where(world: World, driver: Driver) -> None:
    """A run-scoped dependency that is never made ends the run; the error's cause is what it raised, and where."""
    assert str(DRIVERS[5]) == "drain"
    world.project.add_placeholders(3)
    for kind in EXCEPTIONS.values():

        def model(kind: Callable[[], BaseException] = kind) -> None:
            raise kind()

        def agent(made: Annotated[None, Depends(functools.partial(model), scope="run")]) -> None: ...

        with pytest.raises(DependencyError) as caught:
            driver.run(world, agent)
        cause = tracebacks.cause_of(caught.value)
        assert cause is not None
        assert type(cause) is kind
        trace = tracebacks.traceback_of(cause)
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        assert trace is not None
        assert trace.tb_frame.f_code.co_name == "model"


@pytest.mark.parametrize("driver", [*RUNNERS, DRIVERS[5]], ids=str)
def test_observers_of_every_kind(world: World, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    """One that raises is logged, once, under its name; the run, its report and the other observers go on."""
    world.project.add_placeholders(3)
    seen: list[object] = []

    def broken(kind: str) -> Callable[[object], None]:
        def observer(event: object) -> None:
            raise EXCEPTIONS[kind]()

        observer.__qualname__ = f"observer_of_{kind}"
        return observer

    def bad() -> None:
        raise EXCEPTIONS["Frozen"]()

    told = driver.run(world, bad, observers=[*map(broken, EXCEPTIONS), sys.exit, seen.append])
    assert told.counts == {"failed": 3}
    assert any(type(event).__name__ == "TaskFinished" for event in seen)
    complaints = [record.getMessage() for record in caplog.records if "raised" in record.getMessage()]
    assert len(complaints) == len(EXCEPTIONS) + 1
    for kind in EXCEPTIONS:
        assert sum(f"The observer observer_of_{kind} raised {kind}" in message for message in complaints) == 1
