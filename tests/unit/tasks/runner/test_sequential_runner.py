"""A runner: what is checked, in which order, before and after its stages' turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.exceptions import PrintableError, ProjectError, UnknownStageError
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.engine.events import StageStarted
from encord_agents.tasks.engine.stop import Stop

if TYPE_CHECKING:
    from tests.conftest import World


def test_it_has_the_names_of_earlier_versions() -> None:
    """Both are the same class."""
    from encord_agents.tasks.runner import SequentialRunner

    assert Runner is SequentialRunner


@pytest.mark.parametrize("arguments", [(), (None,)])
def test_the_order_of_checks(world: World, arguments: tuple[Any, ...]) -> None:
    """Numbers, the project, that there is an agent, its stage; then the callback, and only then a stage's turn."""
    seen: list[Any] = []
    runner = Runner(*arguments, user_client=world.client, pre_execution_callback=seen.append)
    runner.observers.append(lambda event: seen.append(event) if isinstance(event, StageStarted) else None)
    with pytest.raises(PrintableError, match="task_batch_size=0"):
        runner(task_batch_size=0)
    with pytest.raises(ProjectError, match="has no project"):
        runner()
    hash_ = world.project.project_hash
    with pytest.raises(PrintableError, match="has no agent"):
        runner(project_hash=hash_)
    runner.stage("Nowhere")(lambda: "complete")
    with pytest.raises(UnknownStageError):
        runner(project_hash=hash_)
    assert seen == []
    runner.agents.clear()
    runner.stage("Pre-label")(lambda: "complete")
    runner(project_hash=hash_, progress="none")
    assert seen[0] is runner
    assert isinstance(seen[1], StageStarted)


def test_a_callback_that_raises(world: World) -> None:
    """Its exception passes, and no task is taken."""

    def callback(_: Runner) -> None:
        raise LookupError("no model")

    runner = world.runner(pre_execution_callback=callback)
    runner.stage("Pre-label")(lambda: "complete")
    world.project.add_placeholders(1)
    with pytest.raises(LookupError, match="no model"):
        runner(progress="none")
    assert world.count("Pre-label") == 1
    assert runner.report is not None


def test_one_stage(world: World) -> None:
    """Only its agent is bound, so others may be another project's."""
    runner = Runner(user_client=world.client)
    runner.stage("Elsewhere")(lambda: "complete")
    runner.stage("Pre-label")(lambda: "complete")
    world.project.add_placeholders(3)
    report = runner.run_stage("Pre-label", project_hash=world.project.project_hash, max_tasks=2)
    assert (report.moved, world.count("Done")) == (2, 2)
    with pytest.raises(PrintableError, match=r"No function serves stage 'Triage'.*'Elsewhere', 'Pre-label'"):
        runner.run_stage("Triage", project_hash=world.project.project_hash)
    with pytest.raises(PrintableError, match="max_tasks=0"):
        runner.run_stage("Pre-label", max_tasks=0)


def test_a_check(world: World) -> None:
    """It says what each agent needs, and runs nothing."""
    runner = world.runner()

    @runner.stage("Pre-label")
    def pre_label(row: LabelRowV2, project: Project) -> str:
        return "complete"

    world.project.add_placeholders(1)
    ((title, _, name, needs),) = runner.check()
    assert (title, name) == ("Pre-label", "pre_label")
    assert "LabelRowV2" in needs
    assert world.count("Pre-label") == 1


@pytest.mark.parametrize("bundle_saves", [False, True])
def test_the_client_of_agents(world: World, bundle_saves: bool) -> None:
    """It is the one that was given; where agents' own saves are held, the engine hears of their other requests."""
    seen: list[EncordUserClient] = []

    def agent(client: EncordUserClient) -> str:
        seen.append(client)
        return "complete"

    world.project.add_placeholders(1)
    runner = world.agent(agent)
    runner(progress="none", bundle_saves=bundle_saves)
    assert seen == [runner._sender if bundle_saves else runner.client]


@pytest.mark.parametrize("fails", [False, True])
def test_run_scoped_dependencies_end_with_the_run(world: World, fails: bool) -> None:
    """However it ends; what a teardown raises is in the report and fails nothing."""
    seen: list[str] = []

    def model() -> Iterator[int]:
        yield 1
        seen.append("torn down")
        raise ValueError("still busy")

    def agent(number: Annotated[int, Depends(model, scope="run")]) -> str:
        return "nowhere" if fails else "complete"

    world.project.add_placeholders(1)
    runner = world.agent(agent)
    if fails:
        with pytest.raises(PrintableError, match="nowhere"):
            runner(progress="none", num_retries=0)
    else:
        assert runner(progress="none").moved == 1
    assert seen == ["torn down"]
    assert runner.report is not None
    assert runner.report.teardown_errors == ["model(): ValueError: still busy"]


def test_a_run_stops_no_other(world: World) -> None:
    """One that ends by itself leaves the stop that it shares alone; a stop that was requested ends it."""
    stop = Stop()

    def fails() -> str:
        raise ValueError

    world.project.add_placeholders(2)
    runner = world.agent(fails)
    report = runner(progress="none", num_retries=0, max_consecutive_failures=1, stop=stop)
    assert "failed" in (report.stopped or "")
    assert not stop.requested
    stop.request()
    assert runner(progress="none", stop=stop).tasks == 0
