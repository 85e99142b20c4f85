"""Queue functions: a task as JSON in, what became of it as JSON out, and each task's trouble its own."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import multiprocessing
import os
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID, uuid4

import numpy as np
import pytest
from encord.exceptions import AuthenticationError
from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.exceptions import (
    CredentialsError,
    ProjectError,
    TasksFailedError,
    UnknownPathwayError,
    UnknownStageError,
)
from encord_agents.local import Fault
from encord_agents.local.keys import new_key
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.dependencies import dep_single_frame
from encord_agents.tasks.engine.dead_letter import FAILURES_IN_A_ROW
from encord_agents.tasks.models import NO_TASK, TaskAgentReturnStruct, TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def queue(world: World) -> Iterator[QueueRunner]:
    """A queue runner for the world's project."""
    runner = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=2)
    yield runner
    runner.close()


def specs(world: World, stage: str = "Pre-label") -> list[str]:
    """Return the tasks that wait in a stage, in the form that an engine gets."""
    project = world.client.get_project(world.project.project_hash)
    found: Any = project.workflow.get_stage(name=stage, type_=AgentStage)
    return [task.model_dump_json() for task in found.get_tasks()]


def parsed(answer: str) -> TaskCompletionResult:
    return TaskCompletionResult.model_validate_json(answer)


def complete(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    """An agent that marks a row, sets a priority and moves the task on."""
    from tests.conftest import World

    World.mark(label_row)
    return TaskAgentReturnStruct("complete", label_row, 0.25)


def test_one_task(world: World, queue: QueueRunner) -> None:
    """Text in, text out: labels are saved, the priority is set, the task moves, and the answer has single values."""
    (unit,) = world.project.add_placeholders(1)
    (spec,) = specs(world)
    answer = parsed(queue.stage("Pre-label")(complete)(spec))
    task_uuid = UUID(json.loads(spec)["uuid"])
    stage = next(queue.get_agent_stages())
    pathway = next(p.uuid for p in stage.pathways if p.name == "complete")
    assert (answer.task_uuid, answer.stage_uuid, answer.success) == (task_uuid, stage.uuid, True)
    assert (answer.pathway, answer.error) == (pathway, None)
    (result,) = answer.results
    assert (result.task_uuid, result.outcome, result.pathway) == (task_uuid, "moved", pathway)
    assert result.data_title is not None
    assert world.count("Done") == 1
    assert world.marks(unit) == [0.25]


@pytest.mark.parametrize("form", ["text", "texts", "dict", "dicts", "task", "tasks", "a list as text", "a tuple"])
def test_forms_of_a_task(world: World, queue: QueueRunner, form: str) -> None:
    """JSON text, a dict, the task itself, and lists of each, also as text, are all understood. The answer about one
    task has single values, as in 0.2.10."""
    world.project.add_placeholders(1)
    texts = specs(world)
    project = world.client.get_project(world.project.project_hash)
    stage: Any = project.workflow.get_stage(name="Pre-label", type_=AgentStage)
    spec: Any = {
        "text": texts[0],
        "texts": texts,
        "dict": json.loads(texts[0]),
        "dicts": [json.loads(texts[0])],
        "task": next(iter(stage.get_tasks())),
        "tasks": list(stage.get_tasks()),
        "a list as text": json.dumps([json.loads(texts[0])]),
        "a tuple": tuple(texts),
    }[form]
    answer = parsed(queue.stage("Pre-label")(lambda: "complete")(spec))
    (moved,) = answer.results
    assert moved.outcome == "moved"
    assert (answer.task_uuid, answer.success, answer.pathway) == (moved.task_uuid, True, moved.pathway)
    assert world.count("Done") == 1


def test_trouble_is_a_tasks_own(world: World, queue: QueueRunner) -> None:
    """Of three, one that raises leaves two saved and moved; the answer says which is which, in order."""
    world.project.add_placeholders(3, title="file {index}")
    given = specs(world)
    titles = [json.loads(spec)["data_title"] for spec in given]

    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        if label_row.data_title == titles[1]:
            raise ValueError("bad pixels")
        return TaskAgentReturnStruct("complete", label_row)

    answer = parsed(agent(given))
    uuids = [UUID(json.loads(spec)["uuid"]) for spec in given]
    assert answer.task_uuid == uuids
    assert answer.success == [uuids[0], uuids[2]]
    assert isinstance(answer.pathway, list)
    assert len(answer.pathway) == 2
    assert answer.error == f"{titles[1]}: ValueError: bad pixels"
    assert [result.outcome for result in answer.results] == ["moved", "failed", "moved"]
    failed = answer.results[1]
    assert (failed.task_uuid, failed.phase, failed.retryable) == (uuids[1], "agent", True)
    assert failed.traceback is not None
    assert 'raise ValueError("bad pixels")' in failed.traceback
    assert world.count("Done") == 2
    assert world.count("Pre-label") == 1


def test_exceptions_that_cannot_be_told(world: World, queue: QueueRunner, caplog: pytest.LogCaptureFixture) -> None:
    """An exception without a message, or with one that cannot be encoded, is a failure like any other."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raised = {"mute": MuteError(), "half": OSError("bad\udcff.jpg")}
    for title in raised:
        world.project.add_placeholders(1, title=title)

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        raise raised[task.data_title]

    one, other = specs(world)
    (mute,) = parsed(agent(one)).results
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    caplog.set_level("CRITICAL")  # the test's own log is sent between processes, and has to be encoded
    (half,) = parsed(agent(other)).results
    assert (mute.outcome, mute.phase, mute.retryable) == ("failed", "agent", True)
    assert "MuteError: (its message cannot be shown" in str(mute.error)
    assert (half.outcome, half.error, half.data_title) == ("failed", "OSError: bad\\udcff.jpg", "half")
    with ThreadPoolExecutor(1) as pool:
        report = queue.drain(executor=pool, num_retries=0, progress="none")
    assert report.failed == 2
    assert str(report).encode()
    assert json.loads(report.to_json())["failed"] == 2


def test_one_call_is_one_attempt(world: World, queue: QueueRunner) -> None:
    """Retries are the engine's."""
    world.project.add_placeholders(1)
    calls = []

    @queue.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        calls.append(task)
        raise RuntimeError

    for _ in range(2):
        assert parsed(agent(specs(world)[0])).success is False
    assert len(calls) == 2


def test_a_task_that_stays(world: World, queue: QueueRunner) -> None:
    """An agent that names no pathway leaves its task where it is: a success without a pathway."""
    world.project.add_placeholders(1)
    answer = parsed(queue.stage("Pre-label")(lambda: None)(specs(world)[0]))
    assert (answer.success, answer.pathway, answer.error) == (True, None, None)
    assert answer.results[0].outcome == "held"
    assert world.count("Pre-label") == 1


def test_an_unknown_pathway_is_an_answer(world: World, queue: QueueRunner) -> None:
    """Also on the very first task, where a Runner would stop: an answer, with the pathways there are."""
    world.project.add_placeholders(1)
    answer = parsed(queue.stage("Pre-label")(lambda: "compleet")(specs(world)[0]))
    assert answer.success is False
    assert answer.results[0].phase == "pathway"
    assert answer.error is not None
    assert "UnknownPathwayError" in answer.error
    assert "Did you mean 'complete'?" in answer.error


def test_a_task_that_has_left(world: World, queue: QueueRunner) -> None:
    """A redelivered task that has moved is skipped: its agent is not called, and the answer says so."""
    world.project.add_placeholders(1)
    (spec,) = specs(world)
    calls = []
    agent = queue.stage("Pre-label")(lambda: calls.append(1) or "complete")  # type: ignore[func-returns-value]
    agent(spec)
    answer = parsed(agent(spec))
    assert calls == [1]
    assert answer.success is False
    assert (answer.results[0].outcome, answer.results[0].retryable) == ("skipped", False)
    assert answer.error is not None
    assert "not in stage 'Pre-label'" in answer.error


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("{no json", "not JSON"),
        ("12", "of type int"),
        ("{}", "no valid 'uuid'"),
        ({"uuid": "x", "data_hash": "y"}, "no valid 'uuid'"),
        ({"uuid": str(uuid4())}, "no valid 'data_hash'"),
        (None, "of type NoneType"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\ud800", "not JSON"),
        ({"uuid": "\ud800"}, "no valid 'uuid'"),
    ],
)
def test_what_is_no_task(world: World, queue: QueueRunner, spec: Any, says: str) -> None:
    """A malformed specification is an answer that says what is wrong with it, and what to give."""
    answer = parsed(queue.stage("Pre-label")(lambda: "complete")(spec))
    assert answer.success is False
    assert answer.error is not None
    assert says in answer.error
    assert "task.model_dump_json()" in answer.error
    assert (answer.results[0].outcome, answer.results[0].phase, answer.results[0].retryable) == (
        "failed",
        "spec",
        False,
    )


def test_what_is_no_task_among_tasks(world: World, queue: QueueRunner) -> None:
    """In a list it is the trouble of its own place only; one named twice is done once; an empty list is no trouble."""
    world.project.add_placeholders(2)
    one, other = specs(world)
    agent = queue.stage("Pre-label")(lambda: "complete")
    answer = parsed(agent([one, "nonsense", other, one]))
    assert [result.outcome for result in answer.results] == ["moved", "failed", "moved", "moved"]
    assert isinstance(answer.task_uuid, list)
    assert answer.task_uuid[1] == NO_TASK
    assert world.requests("actions") == ["actions"]
    nothing = parsed(agent([]))
    assert (nothing.task_uuid, nothing.success, nothing.results) == ([], [], [])


def test_what_cannot_even_be_shown(world: World, queue: QueueRunner) -> None:
    """A specification may be anything: its answer says what it was."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    world.project.add_placeholders(1)
    agent = queue.stage("Pre-label")(lambda: "complete")
    answer = parsed(agent([Mute(), *specs(world)]))  # type: ignore[list-item]
    assert [result.outcome for result in answer.results] == ["failed", "moved"]
    assert "<Mute that cannot be shown" in str(answer.results[0].error)


def test_unknown_tasks_are_their_own_trouble(world: World, queue: QueueRunner) -> None:
    """A task of another project, or of none, does not keep the others from being done."""
    world.project.add_placeholders(1)
    stranger = {"uuid": str(uuid4()), "data_hash": str(uuid4())}
    answer = parsed(queue.stage("Pre-label")(lambda: "complete")([stranger, *specs(world)]))
    assert answer.results[0].outcome in ("skipped", "failed")
    assert answer.results[0].error
    assert answer.results[1].outcome == "moved"


def test_an_exception_for_those_who_want_one(world: World, queue: QueueRunner) -> None:
    """With ``raise_on_failure=True`` a failure raises once the others are written, which a second call skips."""
    world.project.add_placeholders(3)
    given = specs(world)
    bad = json.loads(given[0])["data_hash"]

    @queue.stage("Pre-label", raise_on_failure=True)
    def agent(task: AgentTask) -> str:
        if str(task.data_hash) == bad:
            raise ValueError("bad")
        return "complete"

    with pytest.raises(TasksFailedError, match="1 of 3 tasks failed") as raised:
        agent(given)
    assert world.count("Done") == 2
    result = pickle.loads(pickle.dumps(raised.value)).report
    assert [one.outcome for one in result.results] == ["failed", "moved", "moved"]
    assert [(one.task_uuid, one.error) for one in result.failures] == [(result.task_uuid[0], "ValueError: bad")]
    assert str(raised.value) == f"1 of 3 tasks failed:\n  - {result.failures[0].data_title} (agent): ValueError: bad"
    with pytest.raises(TasksFailedError):
        agent(given)
    assert [one.outcome for one in parsed(agent(given[1:])).results] == ["skipped", "skipped"]


def test_the_failure_pathway_is_for_the_final_call(world: World, queue: QueueRunner) -> None:
    """A task that failed goes down the failure pathway only when it will not be tried again."""
    world.project.add_placeholders(1)
    (spec,) = specs(world)

    @queue.stage("Pre-label", failure_pathway="review")
    def agent() -> str:
        raise ValueError("bad")

    first = parsed(agent(spec, final=False))
    assert (first.success, first.pathway, first.results[0].retryable) == (False, None, True)
    assert world.count("Pre-label") == 1
    last = parsed(agent(spec, final=True))
    assert (last.success, last.results[0].outcome, last.results[0].retryable) == (False, "failed", False)
    assert last.pathway is not None
    assert world.count("Review") == 1


def test_giving_up_is_final(world: World, queue: QueueRunner) -> None:
    """An exception in `give_up_on` is not retryable, and sends the task down the failure pathway at once."""
    world.project.add_placeholders(1)

    @queue.stage("Pre-label", failure_pathway="review", give_up_on=(ValueError,))
    def agent() -> str:
        raise ValueError("bad")

    answer = parsed(agent(specs(world)[0], final=False))
    assert answer.results[0].retryable is False
    assert world.count("Review") == 1


def test_an_agent_that_always_fails_empties_no_stage(world: World, queue: QueueRunner) -> None:
    """After 20 failures in a row the agent is to blame: tasks stay in their stage until one succeeds."""
    world.project.add_placeholders(FAILURES_IN_A_ROW + 5)
    broken = True

    @queue.stage("Pre-label", failure_pathway="review")
    def agent() -> str:
        if broken:
            raise ValueError("bad")
        return "complete"

    agent(specs(world))
    assert world.count("Review") == FAILURES_IN_A_ROW - 1
    given = specs(world)
    assert len(given) == 6
    broken = False
    agent(given[0])
    broken = True
    agent(given[1])
    assert world.count("Review") == FAILURES_IN_A_ROW


@pytest.mark.parametrize("length", [1, 10, 100])
def test_requests_do_not_grow_with_the_list(world: World, queue: QueueRunner, length: int) -> None:
    """Beyond connecting once: one request each for tasks, label rows, initialise, items, save, priorities and moves."""
    world.project.add_placeholders(length)

    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2, item: StorageItem) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct("complete", label_row, 0.5)

    given = specs(world)
    _ = queue.project
    world.platform.journal.clear()
    assert len(parsed(agent(given)).results) == length
    counts = Counter(world.requests())
    assert max(counts.values()) == 1, counts
    assert len(counts) <= 7, counts
    assert world.count("Done") == length


def test_some_rows_new(world: World, queue: QueueRunner) -> None:
    """Rows without labels are created by a request of their own, so initialising may take two."""
    world.project.add_placeholders(10)

    @queue.stage("Pre-label")
    def save(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct(None, label_row)

    given = specs(world)
    save(given[:5])
    world.platform.journal.clear()
    save(given)
    counts = Counter(world.requests())
    assert sum(counts.values()) <= 5, counts


def test_more_than_a_hundred(world: World, queue: QueueRunner) -> None:
    """A longer list is done a hundred at a time."""
    world.project.add_placeholders(150)
    agent = queue.stage("Pre-label")(lambda: "complete")
    answer = parsed(agent(specs(world)))
    assert [result.outcome for result in answer.results] == ["moved"] * 150
    assert world.requests("actions") == ["actions"] * 2


def test_two_tasks_of_one_row_are_not_at_work_together(world: World, queue: QueueRunner) -> None:
    """The second is loaded when the first is written, so no labels are lost."""
    (unit,) = world.project.add_placeholders(1)
    world.project.add_task(unit)

    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row, x=0.1 * (1 + len(label_row.get_object_instances())))
        return TaskAgentReturnStruct("complete", label_row)

    answer = parsed(agent(specs(world)))
    assert [result.outcome for result in answer.results] == ["moved", "moved"]
    assert world.marks(unit) == pytest.approx([0.1, 0.2])


def test_importing_makes_no_request(world: World) -> None:
    """Making a runner and decorating talk to nobody, and what is wrong is told at the first use, each time."""
    world.platform.journal.clear()
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    agent = runner.stage("No such stage")(lambda: "complete")
    assert world.requests() == []
    uses: list[Callable[[], object]] = [lambda: agent("{}"), lambda: runner.project, runner.get_agent_stages]
    for use in uses:
        with pytest.raises(UnknownStageError, match="No such stage"):
            use()


def test_connecting_happens_once(world: World, queue: QueueRunner) -> None:
    """Two requests for the project, however many calls follow, from however many threads."""
    world.project.add_placeholders(8)
    agent = queue.stage("Pre-label")(lambda: "complete")
    given = specs(world)
    world.platform.journal.clear()
    with ThreadPoolExecutor(4) as pool:
        answers = [parsed(answer) for answer in pool.map(agent, given)]
    assert all(answer.success for answer in answers)
    before_tasks = [kind for kind in world.requests() if kind not in ("tasks", "actions")]
    assert len(before_tasks) == 2, before_tasks


def test_no_project() -> None:
    """The error says what to write, and a hash that is none is refused at once."""
    with pytest.raises(ProjectError, match="QueueRunner\\(project_hash="):
        QueueRunner()
    with pytest.raises(ProjectError, match="is not a project hash"):
        QueueRunner("nonsense")


def test_an_unknown_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set-up errors raise at the first use, as the SDK raises them, with advice."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENCORD_SSH_KEY", new_key())
    runner = QueueRunner(world.project.project_hash)
    agent = runner.stage("Pre-label")(lambda: "complete")
    with pytest.raises(AuthenticationError) as raised:
        agent("{}")
    assert "does not know this key" in "".join(raised.value.__notes__)


def test_no_credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client and without a key in the environment: told at the first use, not at import."""
    for name in ("ENCORD_SSH_KEY", "ENCORD_SSH_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    runner = QueueRunner(world.project.project_hash)
    agent = runner.stage("Pre-label")(lambda: "complete")
    with pytest.raises(CredentialsError):
        agent("{}")


def test_calling_the_runner_says_how_to_run_it(world: World, queue: QueueRunner) -> None:
    """Three ways, each a line to write."""
    with pytest.raises(NotImplementedError) as raised:
        queue()
    for way in ("runner.drain(", "encord_agents.integrations.celery", "get_agent_stages()"):
        assert way in str(raised.value)


def test_stages_once_in_order(world: World, queue: QueueRunner) -> None:
    """`get_agent_stages` yields each registered stage once, as it was defined."""
    queue.stage("Triage")(lambda: "ok")
    queue.stage("Pre-label")(lambda: "complete")
    queue.stage("Triage", overwrite=True)(lambda: "ok")
    assert [stage.title for stage in queue.get_agent_stages()] == ["Triage", "Pre-label"]
    with pytest.warns(UserWarning, match="'Triage' is served by .* already"):
        queue.stage("Triage")(lambda: "ok")
    assert [stage.title for stage in queue.get_agent_stages()] == ["Triage", "Pre-label"]


def test_a_stage_after_connecting(world: World, queue: QueueRunner) -> None:
    """A function decorated later works too, and a mistake is told when it is made."""
    assert queue.project.project_hash
    world.project.add_placeholders(1)
    agent = queue.stage("Pre-label")(lambda: "complete")
    assert parsed(agent(specs(world)[0])).success is True
    with pytest.raises(UnknownStageError):
        queue.stage("Nowhere")(lambda: None)


def test_literal_return_types_are_checked(world: World, queue: QueueRunner) -> None:
    """A `Literal` that is no pathway is a set-up error."""

    @queue.stage("Pre-label")
    def agent() -> Literal["nowhere"]:
        return "nowhere"

    with pytest.raises(UnknownPathwayError):
        agent("{}")


def test_the_callback_runs_once_per_process(world: World) -> None:
    """After everything is checked, before any task; it sees the project; what it raises passes, and is tried again."""
    world.project.add_placeholders(2)
    seen: list[str] = []

    def callback(runner: QueueRunner) -> None:
        seen.append(str(runner.project.project_hash))
        if len(seen) == 1:
            raise RuntimeError("not yet")

    runner = QueueRunner(world.project.project_hash, user_client=world.client, pre_execution_callback=callback)
    agent = runner.stage("Pre-label")(lambda: "complete")
    given = specs(world)
    with pytest.raises(RuntimeError, match="not yet"):
        agent(given[0])
    assert world.count("Pre-label") == 2
    agent(given[0])
    agent(given[1])
    assert seen == [world.project.project_hash] * 2
    runner.close()


def test_run_scoped_dependencies_live_as_long_as_the_process(world: World, queue: QueueRunner) -> None:
    """Made once for all calls, torn down by `close`, and made anew by the next call."""
    world.project.add_placeholders(3)
    happened: list[str] = []

    def model(project: Project) -> Iterator[str]:
        happened.append("made")
        yield project.title
        happened.append("gone")

    @queue.stage("Pre-label")
    def agent(loaded: Annotated[str, Depends(model, scope="run")]) -> str:
        happened.append("used")
        return "complete"

    one, other, third = specs(world)
    agent(one)
    agent(other)
    assert happened == ["made", "used", "used"]
    queue.close()
    queue.close()
    assert happened[-1] == "gone"
    agent(third)
    assert happened[-2:] == ["made", "used"]


def test_async_agents_are_awaited_together(world: World, queue: QueueRunner) -> None:
    """The coroutines of a list wait beside each other."""
    world.project.add_placeholders(5)
    barrier = asyncio.Barrier(5)

    @queue.stage("Pre-label")
    async def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        async with asyncio.timeout(20):
            await barrier.wait()
        return TaskAgentReturnStruct("complete", label_row)

    assert [result.outcome for result in parsed(agent(specs(world))).results] == ["moved"] * 5


def test_files(world: World, queue: QueueRunner, tmp_path: Path) -> None:
    """Frames and files are there during the attempt, and removed after the call."""
    from PIL import Image

    path = tmp_path / "red.png"
    Image.new("RGB", (8, 6), (255, 0, 0)).save(path)
    world.project.add_images([path])
    shapes = []

    @queue.stage("Pre-label")
    def agent(frame: Annotated[np.ndarray[Any, Any], Depends(dep_single_frame)]) -> str:
        shapes.append((frame.shape, frame[0, 0].tolist()))
        return "complete"

    assert parsed(agent(specs(world)[0])).success is True
    assert shapes == [((6, 8, 3), [255, 0, 0])]


def test_trouble_of_the_platform_is_retryable(world: World, queue: QueueRunner) -> None:
    """A platform that does not come back in time makes an answer, not an exception: try again later."""
    world.project.add_placeholders(2)
    given = specs(world)
    agent = queue.stage("Pre-label")(lambda: "complete")
    _ = queue.project
    world.platform.faults.add(Fault("actions", status=503, times=None))
    answer = parsed(agent(given))
    assert answer.success == []
    assert all(result.retryable for result in answer.results)
    world.platform.faults.clear()
    assert [result.outcome for result in parsed(agent(given)).results] == ["moved"] * 2


def test_it_is_the_users_function(world: World, queue: QueueRunner) -> None:
    """Name, doc and the function itself stay at hand; the signature is that of the call."""

    def agent(task: AgentTask) -> str:
        """Say where."""
        return "complete"

    function = queue.stage("Pre-label")(agent)
    assert function.agent is agent
    assert function.__wrapped__ is agent  # type: ignore[attr-defined]
    assert (function.__name__, function.__doc__) == ("agent", "Say where.")
    assert list(inspect.signature(function).parameters) == ["json_strs", "final"]
    assert function.stage == "Pre-label"
    assert queue.agents[0].callable is agent


def test_it_stacks_under_a_task_of_celery(world: World, queue: QueueRunner) -> None:
    """``@app.task`` above ``@runner.stage(...)`` makes a task that takes what the function takes, and no less."""
    celery = pytest.importorskip("celery")
    app = celery.Celery("agents", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    world.project.add_placeholders(1)

    @app.task
    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2) -> str:
        return "complete"

    assert agent.name.endswith(".agent")
    with pytest.raises(TypeError, match="json_strs"):
        agent.delay()
    (spec,) = specs(world)
    assert parsed(agent.delay(spec).get()).success is True
    assert world.count("Done") == 1


def test_it_pickles_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function at the top level of a module is sent as its name; the other process imports it."""
    (tmp_path / "some_agents.py").write_text(
        "from encord_agents.tasks import QueueRunner\n"
        f"runner = QueueRunner('{uuid4()}')\n"
        "@runner.stage('Pre-label')\n"
        "def agent() -> str:\n    return 'complete'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import some_agents  # type: ignore[import-not-found]

    assert pickle.loads(pickle.dumps(some_agents.agent)) is some_agents.agent
    del sys.modules["some_agents"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_inherits_no_connection(world: World, queue: QueueRunner) -> None:
    """A forked process connects for itself, even while the parent's threads are connecting."""
    world.project.add_placeholders(2)
    one, other = specs(world)
    agent = queue.stage("Pre-label")(lambda: "complete")
    agent(one)
    queue._lock.acquire()  # another thread of the parent is just connecting
    world.platform.journal.clear()
    try:
        child = os.fork()
        if child == 0:
            os._exit(0 if parsed(agent(other)).success is True else 1)
        _, status = os.waitpid(child, 0)
    finally:
        queue._lock.release()
    assert status == 0
    assert len([kind for kind in world.requests() if kind not in ("tasks", "actions")]) == 2
    assert world.count("Done") == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_tears_nothing_down(world: World, queue: QueueRunner, tmp_path: Path) -> None:
    """A forked process leaves its parent's run-scoped dependencies as they are."""
    world.project.add_placeholders(2)
    weights = tmp_path / "weights"

    def model() -> Iterator[Path]:
        weights.touch()
        try:
            yield weights
        finally:
            weights.unlink()

    @queue.stage("Pre-label")
    def agent(loaded: Annotated[Path, Depends(model, scope="run")]) -> str:
        assert loaded.exists()
        return "complete"

    one, other = specs(world)
    agent(one)
    child = os.fork()
    if child == 0:
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert weights.exists()
    assert parsed(agent(other)).success is True
    queue.close()
    assert not weights.exists()


POOL_AGENTS = """
import os

from encord_agents.tasks import QueueRunner

runner = QueueRunner(os.environ["TEST_PROJECT"])


@runner.stage("Pre-label")
def agent() -> str:
    return "complete"
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_process_pools(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A queue function goes to a process pool of any kind, and its process connects for itself."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    monkeypatch.setenv("TEST_PROJECT", world.project.project_hash)
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "pool_agents.py").write_text(POOL_AGENTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    world.project.add_placeholders(2)
    one, other = specs(world)
    agents = importlib.import_module("pool_agents")
    try:
        assert parsed(agents.agent(one)).success is True  # this process is connected when the pool is made
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            assert parsed(pool.submit(agents.agent, other).result(60)).success is True
    finally:
        agents.runner.close()
        del sys.modules["pool_agents"]


def test_closing_in_the_middle_of_a_call(world: World, queue: QueueRunner) -> None:
    """A call's dependencies are torn down when it is over, though another thread has closed the runner meanwhile."""
    world.project.add_placeholders(3)
    happened: list[str] = []

    def model() -> Iterator[str]:
        happened.append("made")
        yield "model"
        happened.append("gone")

    @queue.stage("Pre-label")
    def agent(loaded: Annotated[str, Depends(model, scope="run")]) -> str:
        if "used" not in happened:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(queue.close).result(20)
        happened.append("used")
        return "complete"

    answer = parsed(agent(specs(world)))
    assert [result.outcome for result in answer.results] == ["moved"] * 3
    assert happened == ["made", "used", "used", "used", "gone"]
    world.project.add_placeholders(1)
    assert parsed(agent(specs(world)[0])).success is True
    assert happened[5:] == ["made", "used"]


def test_overrides_at_any_time(world: World, queue: QueueRunner) -> None:
    """Dependencies that are overridden after the first call are used from then on, until they are not any more."""
    world.project.add_placeholders(3)
    seen: list[str] = []

    def model() -> str:
        return "model"

    @queue.stage("Pre-label")
    def agent(loaded: Annotated[str, Depends(model)]) -> str:
        seen.append(loaded)
        return "complete"

    one, other, third = specs(world)
    agent(one)
    queue.dependency_overrides[model] = lambda: "another"
    agent(other)
    queue.dependency_overrides.clear()
    agent(third)
    assert seen == ["model", "another", "model"]


def test_no_task_before_the_callback_is_over(world: World) -> None:
    """Another thread's call waits for it."""
    world.project.add_placeholders(2)
    happened: list[str] = []
    one, other = specs(world)

    with ThreadPoolExecutor(1) as thread:
        calls: list[Any] = []

        def callback(runner: QueueRunner) -> None:
            assert runner.project.project_hash == world.project.project_hash
            calls.append(thread.submit(agent, other))
            assert parsed(agent(one)).success is True  # its own thread may go on
            with pytest.raises(TimeoutError):
                calls[0].result(0.3)
            happened.append("ready")

        runner = QueueRunner(world.project.project_hash, user_client=world.client, pre_execution_callback=callback)
        agent = runner.stage("Pre-label")(lambda: happened.append("run") or "complete")  # type: ignore[func-returns-value]
        _ = runner.project
        assert parsed(calls[0].result(20)).success is True
    assert happened == ["run", "ready", "run"]
    runner.close()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", ["tasks", "rows", "actions"])
def test_what_is_not_permitted_is_not_retryable(
    world: World, queue: QueueRunner, number: int, status: int, kind: str
) -> None:
    """A refused key, or a missing right, will be refused again: of one task as of several."""
    world.project.add_placeholders(number)
    given = specs(world)

    @queue.stage("Pre-label")
    def agent(label_row: LabelRowV2) -> str:
        return "complete"

    _ = queue.project
    envelope: Any = {"action": "envelope", "error": {401: "AUTHENTICATION_ERROR", 403: "AUTHORISATION_ERROR"}[status]}
    world.platform.faults.add(Fault(kind, times=None, status=status, **(envelope if kind == "rows" else {})))
    answer = parsed(agent(given))
    assert [(result.outcome, result.retryable) for result in answer.results] == [("failed", False)] * number


def test_a_long_life(world: World, queue: QueueRunner) -> None:
    """A process that answers for months keeps no list of the tasks that stayed."""
    world.project.add_placeholders(3)
    agent = queue.stage("Pre-label")(lambda: None)
    agent(specs(world))
    assert queue._connection is not None
    assert [bound.history.known for bound in queue._connection.agents.values()] == [set()]
