"""Agents on Celery, with its broker in memory and a worker in a thread: what is sent, retried, and told.

What real brokers and worker processes do when one of them goes is in celery_workers/.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from uuid import UUID

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
from celery.worker import state
from encord.exceptions import AuthenticationError, EncordException
from encord.objects import LabelRowV2
from encord.workflow.stages.agent import AgentTask
from tests.brokers import PATIENCE, until
from tests.ports import free_port

from encord_agents.exceptions import PrintableError, UnknownStageError
from encord_agents.integrations.celery import AgentTasksFailed, StageStatus, enqueue, register, status
from encord_agents.integrations.celery.adapter import adapter_of
from encord_agents.integrations.celery.timing import Timing
from encord_agents.local import Fault
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

NOBODY = "11111111-1111-4111-8111-111111111111"
"""A project that is not asked for."""
numbers = itertools.count()


def new_app(broker: str = "memory://", **settings: Any) -> Celery:
    """An app with a queue of its own; the broker in memory is one for all apps of the process."""
    app = Celery(f"agents-{next(numbers)}", broker=broker, set_as_current=False)
    app.conf.task_default_queue = app.main
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    app.conf.update(settings)
    return app


def new_runner() -> QueueRunner:
    runner = QueueRunner(NOBODY)

    @runner.stage("Pre-label")
    def pre_label() -> str:
        return "complete"

    return runner


@dataclass
class Line:
    """A runner for the world's project, an app, and how the messages that a worker took have ended."""

    world: World
    runner: QueueRunner
    app: Celery = field(default_factory=new_app)
    done: list[dict[str, int]] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)
    retried: list[Any] = field(default_factory=list)

    def agent(self, function: Callable[..., Any], stage: str = "Pre-label", **options: Any) -> None:
        self.runner.stage(stage, **options)(function)

    def register(self, **options: Any) -> None:
        register(self.runner, self.app, **{"retry_delay": 0.01, **options})

    def work(self, messages: int) -> None:
        """Have a worker take messages until so many have ended."""
        with self.listening(), working(self.app):
            assert until(lambda: len(self.done) + len(self.failed) >= messages), (self.done, self.failed, self.retried)

    def go(self, function: Callable[..., Any], tasks: int, **options: Any) -> None:
        """Serve Pre-label, send what waits there as one batch, and work."""
        self.agent(function, **options)
        self.register()
        self.world.project.add_placeholders(tasks, title="file {index}")
        assert enqueue(self.app) == tasks
        self.work(1)

    @contextmanager
    def listening(self) -> Iterator[None]:
        def done(result: dict[str, int], **_: object) -> None:
            self.done.append(result)

        def failed(exception: Exception, **_: object) -> None:
            self.failed.append(exception)

        def retried(reason: Any, **_: object) -> None:
            self.retried.append(reason)

        signals.task_success.connect(done)
        signals.task_failure.connect(failed)
        signals.task_retry.connect(retried)
        try:
            yield
        finally:
            signals.task_success.disconnect(done)
            signals.task_failure.disconnect(failed)
            signals.task_retry.disconnect(retried)

    @property
    def pre_label(self) -> StageStatus:
        return status(self.app)[0]


@contextmanager
def working(app: Celery, **options: Any) -> Iterator[None]:
    """A worker in a thread, which leaves logging as it is."""

    def leave_it(**_: object) -> None: ...

    signals.setup_logging.connect(leave_it)
    try:
        with start_worker(app, perform_ping_check=False, **{"pool": "solo", **options}) as worker:
            yield
            # A warm shutdown, without the two times two seconds of waiting for messages, and one for the timer.
            worker.timer.call_repeatedly(0.05, leave_it)
            state.should_stop = 0
            app.control.broadcast("ping")
            app.control.broadcast("ping")
            assert worker.blueprint.shutdown_complete.wait(PATIENCE)
    finally:
        state.should_stop = None
        signals.setup_logging.disconnect(leave_it)


@pytest.fixture
def line(world: World) -> Iterator[Line]:
    runner = QueueRunner(world.project.project_hash, user_client=world.client, max_outage=2)
    yield Line(world, runner)
    runner.close()


# Registering


def test_registering_makes_no_request_and_starts_nothing(line: Line) -> None:
    """A module with agents is imported by everybody: that costs neither a request nor a connection nor a thread."""
    line.agent(lambda: "complete")
    before = set(threading.enumerate())
    register(line.runner, new_app(f"redis://127.0.0.1:{free_port()}/0"), poll_every=60).finalize()
    assert set(threading.enumerate()) <= before
    assert line.world.requests() == []


def test_each_stage_is_a_celery_task(line: Line) -> None:
    """Named after the project and the stage as written, with the agent in its description; and one polls."""
    stage = UUID("22222222-2222-4222-8222-222222222222")

    @line.runner.stage(stage)
    def by_uuid() -> str:
        return "complete"

    line.agent(lambda: "complete")
    assert register(line.runner, line.app) is line.app
    line.app.finalize()
    prefix = f"encord_agents.{line.world.project.project_hash}."
    ours = {name: task for name, task in line.app.tasks.items() if name.startswith("encord_agents.")}
    assert set(ours) == {f"{prefix}stage.{stage}", f"{prefix}stage.Pre-label", f"{prefix}poll"}
    assert "by_uuid()" in ours[f"{prefix}stage.{stage}"].__doc__


def test_registering_again_adds_what_is_new(line: Line) -> None:
    """Numbers are the last ones given, and functions that were decorated meanwhile are served, too."""
    line.agent(lambda: "complete")
    line.register(batch_size=1)
    line.agent(lambda: "ok", stage="Triage")
    line.register(batch_size=7)
    (registration,) = adapter_of(line.app).registrations
    assert registration.batch_size == 7
    assert [name.rpartition(".")[2] for name in registration.functions] == ["Pre-label", "Triage"]


def test_two_runners_of_one_project_are_refused(line: Line) -> None:
    """They would be polled under one name: all functions of a project belong to one runner."""
    line.agent(lambda: "complete")
    line.register()
    other = QueueRunner(line.world.project.project_hash)
    other.stage("Triage")(lambda: "ok")
    with pytest.raises(PrintableError, match="one runner"):
        register(other, line.app)


CALLS: dict[str, Callable[[Celery, dict[str, Any]], None]] = {
    "update": lambda app, settings: app.conf.update(settings),
    "object": lambda app, settings: app.config_from_object(settings),
    "attributes": lambda app, settings: [setattr(app.conf, *pair) for pair in settings.items()] and None,
}


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_settings_are_defaults(call: str, first: bool) -> None:
    """Late acknowledgement and its kin are set where the user says nothing, and never override what the user says.

    What makes a stage's task safe is set on that task, for other tasks of the app may not be made to run twice.
    """
    own = {"task_acks_late": False, "worker_prefetch_multiplier": 4}
    app = Celery("settings", broker="memory://", set_as_current=False)
    if first:
        CALLS[call](app, own)
    register(new_runner(), app)
    if not first:
        CALLS[call](app, own)
    conf = app.conf
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier) == (False, 4)
    assert not conf.task_reject_on_worker_lost
    assert conf.worker_cancel_long_running_tasks_on_connection_loss is True  # a broker that is no Redis
    assert not conf.beat_schedule
    app.finalize()
    assert all(not task.acks_late for name, task in app.tasks.items() if name.startswith("encord_agents."))
    assert app.tasks[f"encord_agents.{NOBODY}.stage.Pre-label"].reject_on_worker_lost is True


def test_settings_where_the_user_says_nothing() -> None:
    """Messages are acknowledged when their tasks are done, and a worker takes no more than it works on."""
    app = register(new_runner(), Celery("bare", broker="memory://", set_as_current=False))
    assert app.conf.worker_prefetch_multiplier == 1
    app.finalize()
    stage = app.tasks[f"encord_agents.{NOBODY}.stage.Pre-label"]
    assert (stage.acks_late, stage.reject_on_worker_lost) == (True, True)
    assert not app.tasks[f"encord_agents.{NOBODY}.poll"].acks_late


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_other_tasks_of_the_app_are_left_alone(first: bool) -> None:
    """A mail that is sent by the same app is not sent twice because a worker was lost."""
    app = Celery("mails", broker="memory://", set_as_current=False)

    def mail() -> None: ...

    if first:
        app.task(name="mail", shared=False)(mail)
    register(new_runner(), app)
    if not first:
        app.task(name="mail", shared=False)(mail)
    app.finalize()
    assert not app.tasks["mail"].acks_late
    assert not app.tasks["mail"].reject_on_worker_lost
    assert not app.conf.task_acks_late
    assert not app.conf.task_reject_on_worker_lost


def test_annotations_of_tasks() -> None:
    """Annotations that the user sets for a stage's task by name win too."""
    name = f"encord_agents.{NOBODY}.stage.Pre-label"
    app = register(new_runner(), new_app(task_annotations={name: {"acks_late": False}}))
    app.finalize()
    assert app.tasks[name].acks_late is False
    assert app.tasks[name].reject_on_worker_lost is True


def test_settings_under_a_prefix() -> None:
    """As Django's users write them."""
    app = Celery("django", broker="memory://", set_as_current=False)
    register(new_runner(), app)
    app.config_from_object({"CELERY_TASK_ACKS_LATE": False}, namespace="CELERY")
    assert app.conf.worker_prefetch_multiplier == 1
    app.finalize()
    stage = app.tasks[f"encord_agents.{NOBODY}.stage.Pre-label"]
    assert (stage.acks_late, stage.reject_on_worker_lost) == (False, True)


def test_settings_under_their_old_names() -> None:
    """As Celery still takes them."""
    app = Celery("old", broker="memory://", set_as_current=False)
    register(new_runner(), app)
    app.config_from_object({"CELERY_ACKS_LATE": False, "CELERY_TASK_SERIALIZER": "json"})
    app.finalize()
    assert app.tasks[f"encord_agents.{NOBODY}.stage.Pre-label"].acks_late is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch_size": 0}, "batch_size=0 is out of range: it must be from 1 to 100"),
        ({"batch_size": 101}, "batch_size=101 is out of range: it must be from 1 to 100"),
        ({"max_retries": -1}, "max_retries=-1 is out of range: it must be at least 0"),
        ({"retry_delay": -0.5}, "retry_delay=-0.5 is out of range: it must be at least 0"),
        ({"poll_every": 0.5}, "poll_every=0.5 is out of range: it must be at least 1"),
        ({"retry_delay": float("nan")}, "retry_delay=nan is out of range"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, Any], said: str) -> None:
    """They are refused when registering, with what they must be."""
    with pytest.raises(PrintableError, match=said):
        register(new_runner(), new_app(), **arguments)


def test_a_runner_without_functions() -> None:
    """Nothing would ever be done: say so, and what comes first."""
    with pytest.raises(PrintableError, match=r"no function yet\. Decorate them"):
        register(QueueRunner(NOBODY), new_app())


def test_beat_polls_where_all_see_the_same_marks() -> None:
    """With Redis, polling is a Celery task in beat's schedule, beside what the user has there."""
    own = {"task": "theirs", "schedule": 3600}
    app = register(new_runner(), new_app("redis://127.0.0.1:1/0", beat_schedule={"own": own}), poll_every=60)
    name = f"encord_agents.{NOBODY}.poll"
    assert app.conf.beat_schedule["own"] == own
    assert app.conf.beat_schedule[name] == {"task": name, "schedule": 60, "options": {"expires": 60}}
    assert not app.conf.worker_cancel_long_running_tasks_on_connection_loss


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"task_time_limit": 7200}, True),
        ({"task_soft_time_limit": 7200}, True),
        ({"task_time_limit": 7200, "broker_transport_options": {"visibility_timeout": 9000}}, False),
        ({"task_time_limit": 600}, False),
        ({"task_time_limit": 7200, "broker_url": "memory://"}, False),
        ({"task_time_limit": 7200, "broker_url": ["amqp://127.0.0.1:1", "amqp://127.0.0.1:2"]}, False),
        ({}, False),
    ],
)
def test_a_visibility_timeout_that_is_too_short(
    settings: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis would deliver a batch again that is allowed to run for longer: a warning says so."""
    app = Celery("limits", broker="redis://127.0.0.1:1/0", set_as_current=False)
    register(new_runner(), app)
    app.conf.update(settings)
    with caplog.at_level(logging.WARNING):
        app.finalize()
        assert app.conf.worker_prefetch_multiplier == 1
    assert ("visibility_timeout" in caplog.text) == warned
    assert "Error" not in caplog.text
    assert "raised" not in caplog.text


# Working


def test_what_is_sent_is_done(line: Line) -> None:
    """Each task is labelled, gets its priority, is moved, and is counted; then nothing is in flight."""

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        line.world.mark(label_row)
        return TaskAgentReturnStruct("complete", label_row, 0.5)

    line.go(agent, 5)
    assert line.done == [{"moved": 5}]
    assert line.world.count("Done") == 5
    for task in line.world.project.tasks("Done"):
        assert line.world.marks(task.data_hash) == [0.25]
        assert line.world.project.priority(task.data_hash) == 0.5
    assert line.pre_label == StageStatus("Pre-label", waiting=0, in_flight=0, done=5, failed=0)


def test_an_app_that_reads_no_json(line: Line) -> None:
    """Tasks are sent, tried again and counted in the serialization that the app accepts."""
    line.app = new_app(task_serializer="pickle", result_serializer="pickle", accept_content=["pickle"])
    calls: Counter[str] = Counter()

    def agent(task: AgentTask) -> str:
        calls[task.data_title] += 1
        if calls["file 1"] == 1:
            raise ValueError("not yet")
        return "complete"

    line.go(agent, 2)
    assert line.done == [{"moved": 2}]


def test_only_what_failed_is_tried_again(line: Line) -> None:
    """Of a batch of five, the one that raises is retried alone, and the end counts all of them."""
    calls: Counter[str] = Counter()

    def agent(task: AgentTask) -> str:
        calls[task.data_title] += 1
        if task.data_title == "file 2" and calls["file 2"] < 3:
            raise ValueError("not yet")
        return "complete"

    line.go(agent, 5)
    assert calls == {"file 0": 1, "file 1": 1, "file 2": 3, "file 3": 1, "file 4": 1}
    assert line.done == [{"moved": 5}]
    assert len(line.retried) == 2
    assert line.world.count("Done") == 5


def test_retries_come_to_an_end(line: Line) -> None:
    """After ``max_retries`` the task is a failure, whose result says which, where and why; the others are done."""
    calls: Counter[str] = Counter()

    def agent(task: AgentTask) -> str:
        calls[task.data_title] += 1
        if task.data_title == "file 1":
            raise ValueError("bad pixels")
        return "complete"

    line.go(agent, 3)
    assert calls["file 1"] == 4
    (error,) = line.failed
    assert isinstance(error, AgentTasksFailed)
    assert str(error) == (
        "1 task failed for good. The others of the batch: 2 moved.\nfile 1 (in agent): ValueError: bad pixels"
    )
    assert line.pre_label == StageStatus("Pre-label", waiting=0, in_flight=0, done=2, failed=1)


def test_what_another_attempt_cannot_help_is_not_tried_again(line: Line) -> None:
    """With one of ``give_up_on``: one call, and a failure that says why."""
    calls: Counter[str] = Counter()

    def agent(task: AgentTask) -> str:
        calls[task.data_title] += 1
        raise KeyError("hopeless")

    line.go(agent, 2, give_up_on=(KeyError,))
    assert set(calls.values()) == {1}
    assert line.retried == []
    assert str(line.failed[0]).startswith("2 tasks failed for good.\nfile 0 (in agent): KeyError: 'hopeless'")


def test_refused_labels_are_not_sent_again(line: Line) -> None:
    """The platform said no: that task fails, its agent is not called again, the others are saved and moved."""
    units = line.world.project.add_placeholders(1, title="refused")
    line.world.project.refuse_row(units[0], "No such class.")
    calls: Counter[str] = Counter()

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        calls[label_row.data_title] += 1
        line.world.mark(label_row)
        return TaskAgentReturnStruct("complete", label_row)

    line.agent(agent)
    line.register()
    line.world.project.add_placeholders(2, title="file {index}")
    assert enqueue(line.app) == 3
    line.work(1)
    assert calls["refused"] == 1
    assert line.retried == []
    assert "refused (in save)" in str(line.failed[0])
    assert line.world.count("Done") == 2


def test_raising_on_failure_changes_nothing_here(line: Line) -> None:
    """A stage with ``raise_on_failure=True`` is retried and told as any other: only what failed, and why."""
    calls: Counter[str] = Counter()

    def agent(task: AgentTask) -> str:
        calls[task.data_title] += 1
        if task.data_title == "file 1":
            raise ValueError("bad pixels")
        return "complete"

    line.go(agent, 2, raise_on_failure=True)
    assert calls == {"file 0": 1, "file 1": 4}
    assert "file 1 (in agent): ValueError: bad pixels" in str(line.failed[0])


def test_the_failure_pathway_is_for_the_last_attempt(line: Line) -> None:
    """A task stays while it is tried again, and goes down the failure pathway when it has failed for good."""
    stages: list[int] = []

    def agent() -> str:
        stages.append(line.world.count("Pre-label"))
        raise ValueError("bad pixels")

    line.go(agent, 1, failure_pathway="review")
    assert stages == [1, 1, 1, 1]
    assert line.world.count("Review") == 1
    assert "1 task failed for good" in str(line.failed[0])
    assert line.pre_label.failed == 0, "it has left the stage"


def test_held_tasks(line: Line) -> None:
    """An agent that names no pathway leaves its task in the stage. It counts as done, and waits to be sent again."""
    line.go(lambda: None, 1)
    assert line.done == [{"held": 1}]
    assert line.pre_label == StageStatus("Pre-label", waiting=1, in_flight=0, done=1, failed=0)
    assert enqueue(line.app) == 1


def test_a_message_that_comes_twice(line: Line) -> None:
    """The second time its tasks have moved: they are skipped, and their agent is not called."""
    calls: list[str] = []

    def agent(task: AgentTask) -> str:
        calls.append(task.data_title)
        return "complete"

    line.agent(agent)
    line.register()
    line.world.project.add_placeholders(3)
    assert enqueue(line.app) == 3
    assert enqueue(line.app) == 0
    assert enqueue(line.app, again=True) == 3
    line.work(2)
    assert line.done == [{"moved": 3}, {"skipped": 3}]
    assert len(calls) == 3


def test_a_message_whose_tasks_are_at_work(line: Line) -> None:
    """Two threads of a worker have the same batch: the second looks again later, and finds nothing to do."""
    going, most = 0, 0
    lock = threading.Lock()
    looked = threading.Event()

    def agent() -> str:
        nonlocal going, most
        with lock:
            going += 1
            most = max(going, most)
        looked.wait(10)
        with lock:
            going -= 1
        return "complete"

    line.agent(agent)
    line.register()
    adapter_of(line.app).timing = Timing(look_again=0.05)
    line.world.project.add_placeholders(1)
    assert enqueue(line.app) == enqueue(line.app, again=True) == 1
    with line.listening(), working(line.app, pool="threads", concurrency=2):
        assert until(lambda: {} in line.done)  # the one that found the task busy, and sent it on
        looked.set()
        assert until(lambda: {"skipped": 1} in line.done)
    assert {"moved": 1} in line.done
    assert most == 1


def test_set_up_that_is_wrong(line: Line) -> None:
    """A refused key is nobody's own trouble: tried again, then raised, and the tasks are left as they are."""
    line.agent(lambda: "complete")
    line.register(max_retries=2)
    line.world.project.add_placeholders(2)
    assert enqueue(line.app) == 2
    line.runner.close()
    line.world.platform.faults.add(Fault(status=401, times=None))
    line.work(1)
    line.world.platform.faults.clear()
    assert len(line.retried) == 2
    (error,) = line.failed
    assert isinstance(error, AuthenticationError)
    assert line.pre_label == StageStatus("Pre-label", waiting=2, in_flight=0, done=0, failed=0)


def test_a_platform_that_does_not_answer(line: Line) -> None:
    """An outage that is longer than ``max_outage`` is waited out by retries: then the batch is done."""
    runner = QueueRunner(line.world.project.project_hash, user_client=line.world.client, max_outage=0)
    line.runner = runner
    line.agent(lambda: "complete")
    line.register()
    line.world.project.add_placeholders(2)
    assert enqueue(line.app) == 2
    line.world.platform.faults.add(Fault(status=503, times=1))
    line.work(1)
    runner.close()
    assert line.done == [{"moved": 2}]
    assert len(line.retried) == 1


def test_run_scoped_dependencies_live_as_long_as_the_worker(line: Line) -> None:
    """They are made once for all messages, and torn down when the worker ends."""
    said: list[str] = []

    def model() -> Iterator[str]:
        said.append("made")
        yield "model"
        said.append("closed")

    def agent(loaded: Annotated[str, Depends(model, scope="run")]) -> str:
        said.append(loaded)
        return "complete"

    line.agent(agent)
    line.register(batch_size=2)
    line.world.project.add_placeholders(4)
    enqueue(line.app)
    line.work(2)
    assert said == ["made", *["model"] * 4, "closed"]


@pytest.mark.parametrize(("batch_size", "tasks", "most"), [(100, 200, 0.08), (10, 100, 0.7)])
def test_requests(line: Line, batch_size: int, tasks: int, most: float) -> None:
    """An agent that takes a label row and returns a struct: so many requests for each task, at most."""

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        line.world.mark(label_row)
        return TaskAgentReturnStruct("complete", label_row, 0.5)

    line.agent(agent)
    line.register(batch_size=batch_size)
    line.world.project.add_placeholders(tasks)
    assert enqueue(line.app) == tasks
    line.world.platform.journal.clear()
    line.work(tasks // batch_size)
    assert line.world.count("Done") == tasks
    assert len(line.world.requests()) / tasks <= most


# Sending


@pytest.fixture
def stages(line: Line) -> Line:
    """Two stages that are served; five tasks wait in the first, one in the second."""
    line.agent(lambda: "complete")
    line.agent(lambda: "ok", stage="Triage")
    line.register(batch_size=2)
    units = line.world.project.add_placeholders(6)
    line.world.project.move(line.world.task_of(units[0]), "Triage")
    return line


def test_all_stages_are_sent(stages: Line) -> None:
    """In order of definition; what is in flight is not sent a second time."""
    assert enqueue(stages.app) == 6
    assert enqueue(stages.app) == 0
    assert [(found.waiting, found.in_flight) for found in status(stages.app)] == [(0, 5), (0, 1)]
    stages.work(4)
    assert [(found.in_flight, found.done) for found in status(stages.app)] == [(0, 5), (0, 1)]


@pytest.mark.parametrize("by", ["title", "uuid", "uuid as text"])
def test_one_stage_is_sent(stages: Line, by: str) -> None:
    """Named by its title or its uuid."""
    uuid = [*stages.runner.get_agent_stages()][1].uuid
    assert enqueue(stages.app, stage={"title": "Triage", "uuid": uuid, "uuid as text": str(uuid)}[by]) == 1


def test_some_are_sent(stages: Line) -> None:
    """At most so many, over all stages; the others wait for the next time."""
    assert enqueue(stages.app, max_tasks=3) == 3
    assert enqueue(stages.app, max_tasks=1) == 1
    assert stages.pre_label.waiting == 1
    assert enqueue(stages.app, max_tasks=10) == 2


@pytest.mark.parametrize("number", [0, -1])
def test_fewer_than_one_cannot_be_sent(stages: Line, number: int) -> None:
    """It is refused, and nothing is sent."""
    with pytest.raises(PrintableError, match="out of range"):
        enqueue(stages.app, max_tasks=number)


def test_after_a_purge(stages: Line) -> None:
    """Tasks that are marked as in flight, but no longer in the queue, are sent on request."""
    assert enqueue(stages.app) == 6
    stages.app.control.purge()
    assert enqueue(stages.app) == 0
    assert enqueue(stages.app, again=True) == 6


def test_what_failed_lately_is_sent_by_hand(line: Line) -> None:
    """Polling leaves it alone; who enqueues wants it tried again."""

    def agent() -> str:
        raise KeyError("hopeless")

    line.go(agent, 1, give_up_on=(KeyError,))
    poll = line.app.tasks[f"encord_agents.{line.world.project.project_hash}.poll"]
    assert poll() == 0
    assert enqueue(line.app) == 1


def test_polling_sends_what_waits(stages: Line) -> None:
    """The Celery task that polls sends all stages, and what comes later the next time."""
    poll = stages.app.tasks[f"encord_agents.{stages.world.project.project_hash}.poll"]
    assert poll() == 6
    assert poll() == 0
    stages.world.project.add_placeholders(1)
    assert poll() == 1


def test_an_unknown_stage(stages: Line) -> None:
    """The error names those that are served."""
    with pytest.raises(PrintableError, match=r"No function serves stage 'Nope'.*'Pre-label', 'Triage'"):
        enqueue(stages.app, stage="Nope")


def test_a_stage_that_the_project_does_not_have(line: Line) -> None:
    """A misspelt stage is found when tasks are sent, before any worker does."""
    line.agent(lambda: "complete", stage="Pre-lable")
    line.register()
    with pytest.raises(UnknownStageError, match="Pre-label"):
        enqueue(line.app)


@pytest.mark.parametrize("call", [enqueue, status])
def test_an_app_without_agents(call: Callable[[Celery], object]) -> None:
    """Say what to call."""
    with pytest.raises(PrintableError, match=r"has no agents: call .*register\(runner, app\)"):
        call(new_app())


def test_a_platform_that_refuses_is_told(line: Line) -> None:
    """Nothing is sent, and nothing is marked as sent."""
    line.agent(lambda: "complete")
    line.register()
    line.world.project.add_placeholders(2)
    line.world.platform.faults.add(Fault(status=401, times=None))
    with pytest.raises(EncordException):
        enqueue(line.app)
    line.world.platform.faults.clear()
    assert enqueue(line.app) == 2


def test_a_broker_that_is_not_there(line: Line) -> None:
    """Tasks that could not be sent are not marked as sent."""
    line.app = new_app(f"amqp://127.0.0.1:{free_port()}//", task_publish_retry=False, broker_connection_timeout=1)
    line.agent(lambda: "complete")
    line.register()
    line.world.project.add_placeholders(2)
    with pytest.raises(Exception, match="refused"):
        enqueue(line.app)
    assert line.pre_label.waiting == 2


# The command

Command: TypeAlias = Callable[..., tuple[int, str]]
AGENTS = """
import os
from celery import Celery
from encord_agents.integrations.celery import register
from encord_agents.tasks import QueueRunner

runner = QueueRunner(os.environ["PROJECT"])

@runner.stage("Pre-label")
def pre_label() -> str:
    return "complete"

celery_app = register(runner, Celery("agents", broker="memory://"))
other = Celery("other", broker="memory://")
number = 5
"""


@pytest.fixture
def command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """``encord-agents celery ...`` beside an agents.py: its exit code, and all that it prints."""
    from encord_agents.cli import main

    module = f"agents_{next(numbers)}"
    (tmp_path / f"{module}.py").write_text(AGENTS, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import not_installed_anywhere\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    monkeypatch.setenv("PROJECT", world.project.project_hash)
    monkeypatch.setenv("COLUMNS", "100")
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str]:
        words = tuple(word.replace("agents:", f"{module}:") for word in words)
        monkeypatch.setattr(sys, "argv", ["encord-agents", "celery", *words])
        with pytest.raises(SystemExit) as exit_:
            main.main()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), (printed.out + printed.err).replace(module, "agents")

    yield run
    if module in sys.modules:
        sys.modules.pop(module).runner.close()


def test_enqueue_by_hand(world: World, command: Command) -> None:
    """It prints what was sent of each stage, and in all; and what was left out."""
    world.project.add_placeholders(3)
    assert command("enqueue", "agents:celery_app", "--max-tasks", "1") == (0, "Pre-label: 1 sent\n1 task sent.\n")
    code, printed = command("enqueue", "agents:celery_app")
    assert (code, printed.splitlines()[:2]) == (0, ["Pre-label: 2 sent", "2 tasks sent."])
    assert "1 in the queue or at work already: left out. If the queue was purged, use --again." in printed
    assert command("enqueue", "agents:celery_app", "--again", "--stage", "Pre-label")[1].endswith("3 tasks sent.\n")


def test_status_where_marks_are_not_shared(world: World, command: Command) -> None:
    """Only what the platform knows is shown, and why."""
    world.project.add_placeholders(3)
    code, printed = command("status", "agents:celery_app")
    assert code == 0
    assert [line.split() for line in printed.splitlines() if "Pre-label" in line] == [["Pre-label", "3"]]
    assert "known only if the broker or the result backend is a Redis" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("enqueue", "nowhere:app"), "There is no module 'nowhere' here"),
        (("status", "nowhere.deeper:app"), "There is no module 'nowhere.deeper' here"),
        (("status", ":app"), "Say where the Celery app is as MODULE:APP"),
        (("enqueue", "agents:app"), "has no Celery app 'app'. It has: celery_app, other."),
        (("enqueue", "agents:number"), "has no Celery app 'number'"),
        (("enqueue", "agents:other"), "has no agents: call"),
        (("enqueue", "agents:celery_app", "--stage", "Nope"), "No function serves stage 'Nope'"),
    ],
)
def test_what_is_wrong_with_a_command(command: Command, words: tuple[str, ...], said: str) -> None:
    """One message that says what to write, exit code 2, no traceback."""
    code, printed = command(*words)
    assert code == 2
    assert said in printed
    assert "Traceback" not in printed


def test_a_module_that_cannot_be_imported(command: Command) -> None:
    """An import error inside the user's module is shown unchanged."""
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        command("enqueue", "broken:app")
